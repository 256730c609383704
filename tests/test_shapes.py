"""Every function of arrays refuses every wrong shape, also while jax traces it."""

import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from dgg_jax import distributions, likelihoods, losses, metrics
from dgg_jax.checks import InvalidInput, shapes
from dgg_jax.graph import graph_information, smoothing, spectral, spectral_labels
from dgg_jax.likelihoods import (
    Bernoulli,
    CenteredStatistics,
    CountStatistics,
    GaussianLikelihood,
    LearnedVarianceGaussian,
    NegativeBinomial,
)
from dgg_jax.losses import (
    aae,
    autoencoder,
    catgan,
    dec,
    dgg,
    elbo,
    gmvae,
    imsat,
    links,
    ltvae,
    siamese,
    spectralnet,
    vade,
)
from dgg_jax.losses.imsat import MutualInformation
from dgg_jax.losses.ltvae import LatentTree, Statistics, Structure
from dgg_jax.types import Gaussian, Graph, Mixture

# S + 1 is named T; all sizes differ, and none is 1.
SIZES = {"B": 9, "D": 7, "K": 3, "L": 2, "M": 4, "S": 5, "T": 6, "W": 8}


class Call(NamedTuple):
    """A function, and the letters of the axes of each array it takes by name."""

    function: Any
    arguments: dict[str, Any]


def gaussian(axes):
    return Gaussian(axes, axes)


def mixture(axes):
    return Mixture(axes, axes)


def perturbation(x, radius, probe):
    return imsat.adversarial_perturbation(
        lambda _, x: jax.nn.log_softmax(x[:, :3]),
        None,
        x,
        radius,
        jax.random.key(0),
        probe=probe,
    )


def of_structure(function):
    """A function of a latent tree, whose structure is integers."""

    def of_integers(structure, **arguments):
        whole = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(int), structure)
        return function(structure=whole, **arguments)

    return of_integers


TREE = {
    "tree": LatentTree("MKK", "MKL", "MKLL"),
    "structure": Structure("M", "M", "L", "L"),
}
STATISTICS = Statistics("MKK", "MKL", "MKLL")
BAYES = {"log_weights": "K", "mixture": mixture("KL")}
CALLS = {
    "expectation": Call(
        distributions.expectation, {"log_probabilities": "K", "values": "K"}
    ),
    "categorical_entropy": Call(
        distributions.categorical_entropy, {"log_probabilities": "K"}
    ),
    "component_log_probs": Call(
        distributions.component_log_probs, {"z": "L", "mixture": mixture("KL")}
    ),
    "expected_component_log_probs": Call(
        distributions.expected_component_log_probs,
        {"posterior": gaussian("L"), "mixture": mixture("KL")},
    ),
    "mixture_log_prob": Call(distributions.mixture_log_prob, {"z": "L", **BAYES}),
    "responsibilities": Call(distributions.responsibilities, {"z": "L", **BAYES}),
    "jensen_shannon": Call(
        distributions.jensen_shannon,
        {"p": gaussian("L"), "q": gaussian("L"), "eps": "ML"},
    ),
    **{
        f"{name}[{axes}]": Call(
            getattr(distributions, name),
            {k: v(axes) if v is gaussian else axes for k, v in arguments.items()},
        )
        for name, arguments in {
            "gaussian_log_prob": {"z": str, "gaussian": gaussian},
            "gaussian_entropy": {"gaussian": gaussian},
            "expected_gaussian_log_prob": {
                "posterior": gaussian,
                "component": gaussian,
            },
            "gaussian_kl": {"q": gaussian, "p": gaussian},
            "sample_gaussian": {"gaussian": gaussian, "eps": str},
        }.items()
        for axes in ("L", "BL", "MBL")
    },
    "corrupt": Call(
        lambda rate: autoencoder.corrupt(jnp.ones(7), jax.random.key(0), rate),
        {"rate": ""},
    ),
    "squared_error": Call(autoencoder.squared_error, {"x": "D", "reconstruction": "D"}),
    "log_soft_assignment": Call(
        dec.log_soft_assignment, {"z": "L", "centers": "KL", "degrees_of_freedom": ""}
    ),
    "target_distribution": Call(dec.target_distribution, {"log_assignments": "BK"}),
    "divergence": Call(dec.divergence, {"log_target": "K", "log_assignment": "K"}),
    "operator_weights": Call(
        dgg.operator_weights, {"weights": "S", "graph_strength": ""}
    ),
    "update_prior": Call(
        dgg.update_prior,
        {
            "log_assignment": "K",
            "neighbor_log_assignments": "SK",
            "weights": "S",
            "graph_strength": "",
        },
    ),
    "jensen_shannon_bound": Call(
        dgg.jensen_shannon_bound,
        {"log_evidence": "", "own_elbo": "", "neighbor_elbo": ""},
    ),
    "latent_terms": Call(
        elbo.latent_terms,
        {"posterior": gaussian("L"), "log_assignment": "K", "mixture": mixture("KL")},
    ),
    "gmvae.log_assignment": Call(
        gmvae.log_assignment,
        {"z": "ML", "log_weights": "K", "mixtures": mixture("MKL")},
    ),
    "mutual_information": Call(imsat.mutual_information, {"log_assignments": "BK"}),
    "adversarial_perturbation": Call(
        perturbation, {"x": "BD", "radius": "B", "probe": ""}
    ),
    "perturbation_divergence": Call(
        imsat.perturbation_divergence,
        {"log_assignment": "K", "perturbed_log_assignment": "K"},
    ),
    "objective": Call(
        imsat.objective,
        {
            "divergence": "",
            "information": MutualInformation("", ""),
            "information_weight": "",
            "marginal_weight": "",
        },
    ),
    "classifier_loss": Call(
        catgan.classifier_loss,
        {
            "information": MutualInformation("", ""),
            "generated": MutualInformation("", ""),
        },
    ),
    "generator_loss": Call(
        catgan.generator_loss, {"generated": MutualInformation("", "")}
    ),
    "critic_loss": Call(aae.critic_loss, {"drawn": "", "encoded": ""}),
    "encoder_loss": Call(aae.encoder_loss, {"encoded": ""}),
    "link_loss": Call(
        links.link_loss,
        {"log_assignment_a": "K", "log_assignment_b": "K", "together": ""},
    ),
    "contrastive_loss": Call(
        siamese.contrastive_loss,
        {"embedding_a": "L", "embedding_b": "L", "is_positive": "", "margin": ""},
    ),
    "loss_of_squared_distance": Call(
        siamese.loss_of_squared_distance,
        {"squared": "BM", "is_positive": "BM", "margin": ""},
    ),
    "squared_distances": Call(spectralnet.squared_distances, {"points": "BL"}),
    "gaussian_affinity": Call(
        lambda embedding: spectralnet.gaussian_affinity(embedding, 2),
        {"embedding": "BL"},
    ),
    "log_density": Call(of_structure(ltvae.log_density), {"z": "L", **TREE}),
    "log_joints": Call(of_structure(ltvae.log_joints), {"z": "L", **TREE}),
    "log_posteriors": Call(of_structure(ltvae.log_posteriors), {"z": "L", **TREE}),
    "expected_statistics": Call(
        of_structure(ltvae.expected_statistics), {"z": "L", **TREE}
    ),
    "statistics_of_labels": Call(
        of_structure(
            lambda labels, **more: ltvae.statistics_of_labels(
                labels=jnp.asarray(labels).astype(int), **more, num_states=3
            )
        ),
        {"z": "L", "labels": "M", "structure": TREE["structure"]},
    ),
    "maximized": Call(
        of_structure(
            lambda statistics, structure: ltvae.maximized(statistics, structure, 0.1)
        ),
        {"statistics": STATISTICS, "structure": TREE["structure"]},
    ),
    "stepwise": Call(
        lambda **arguments: ltvae.stepwise(**arguments, exponent=0.7),
        {"before": STATISTICS, "of_batch": STATISTICS, "step": ""},
    ),
    "moments": Call(of_structure(ltvae.moments), TREE),
    "draw": Call(
        of_structure(
            lambda root, **tree: ltvae.draw(
                **tree, root=jnp.asarray(root).astype(int), key=jax.random.key(0)
            )
        ),
        {"root": "", **TREE},
    ),
    "loss": Call(spectralnet.loss, {"outputs": "BK", "affinity": "BB"}),
    "orthonormalizer": Call(
        spectralnet.orthonormalizer, {"outputs": "BK", "ridge": ""}
    ),
    "vade.log_assignment": Call(vade.log_assignment, {"z": "L", **BAYES}),
    "vade.log_assignment[ML]": Call(vade.log_assignment, {"z": "ML", **BAYES}),
    "mean_field_log_assignment": Call(
        vade.mean_field_log_assignment, {"posterior": gaussian("L"), **BAYES}
    ),
}


def of_likelihood(likelihood, decoded, statistics):
    """Calls of a likelihood."""
    yield "log_prob", Call(likelihood.log_prob, {"x": "D", "decoded": decoded("D")})
    yield "sufficient_statistics", Call(likelihood.sufficient_statistics, {"x": "D"})
    yield (
        "smoothed_log_prob",
        Call(
            likelihood.smoothed_log_prob,
            {"statistics": statistics, "degree": "", "decoded": decoded("D")},
        ),
    )


def with_likelihood(likelihood, decoded, statistics):
    """Calls of all losses that take a likelihood."""

    def partial(function):
        return lambda **arguments: function(**arguments, likelihood=likelihood)

    latent = {"log_assignment": "K", "mixture": mixture("KL")}
    draws = {"x": "D", "decoded": decoded("MD"), "z": "ML"}
    node = {
        "statistics": statistics,
        "degree": "",
        "decoded": decoded("D"),
        "posterior": gaussian("L"),
        "smoothed_log_prior": "K",
        **latent,
    }
    sources = {
        "x": "D",
        "decoded": decoded("TD"),
        "posteriors": gaussian("TL"),
        "log_assignments": "TK",
        "weights": "S",
        "mixture": mixture("KL"),
        "graph_strength": "",
    }
    yield (
        "vae_elbo",
        Call(
            partial(autoencoder.vae_elbo),
            {"x": "D", "decoded": decoded("D"), "posterior": gaussian("L")},
        ),
    )
    yield (
        "ltvae.elbo",
        Call(
            partial(ltvae.elbo),
            {
                "x": "D",
                "decoded": decoded("D"),
                "posterior": gaussian("L"),
                "log_prior": "",
            },
        ),
    )
    yield (
        "elbo",
        Call(
            partial(dgg.elbo),
            {
                "x": "D",
                "decoded": decoded("D"),
                "posterior": gaussian("L"),
                "log_prior": "K",
                **latent,
            },
        ),
    )
    yield "node_objective", Call(partial(dgg.node_objective), node)
    yield "node_terms", Call(partial(dgg.node_terms), node)
    yield "tuple_objective", Call(partial(dgg.tuple_objective), sources)
    yield "tuple_terms", Call(partial(dgg.tuple_terms), sources)
    yield (
        "log_evidence",
        Call(
            partial(dgg.log_evidence),
            {
                **draws,
                "posterior": gaussian("L"),
                "log_prior": "K",
                "mixture": mixture("KL"),
            },
        ),
    )
    yield (
        "gmvae.elbo",
        Call(
            partial(gmvae.elbo),
            {
                **draws,
                "z_posterior": gaussian("L"),
                "w_posterior": gaussian("W"),
                "log_weights": "K",
                "mixtures": mixture("MKL"),
                "information_constraint": "",
            },
        ),
    )


for label, *case in (
    ("Bernoulli", Bernoulli(), str, "D"),
    ("Gaussian", GaussianLikelihood(0.3), str, ("D", "")),
    ("Gaussian, centred", GaussianLikelihood(0.3), str, CenteredStatistics("D", "")),
    ("Learned", LearnedVarianceGaussian(), gaussian, ("D", "D")),
    (
        "Learned, centred",
        LearnedVarianceGaussian(),
        gaussian,
        CenteredStatistics("D", "D"),
    ),
    ("Counts", NegativeBinomial(2.0), str, CountStatistics("D", "D", "", "")),
):
    CALLS |= {f"{name}, {label}": call for name, call in of_likelihood(*case)}
    if label in ("Bernoulli", "Learned"):  # decode an array and a Gaussian
        CALLS |= {f"{name}, {label}": call for name, call in with_likelihood(*case)}

EITHER = "vade.log_assignment"  # of z of shape [L] or [M, L]


def array(axes):
    """Positive numbers, so that they may be weights and variances as well."""
    shape = tuple(SIZES[axis] for axis in axes)
    return np.linspace(0.1, 0.9, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def wrong_shapes(name, call):
    """Each leaf with each wrong shape: its name, that, if of its rank, and all."""
    paths, tree = jax.tree_util.tree_flatten_with_path(call.arguments)
    axes = [axes for _, axes in paths]
    arrays = [array(axes) for axes in axes]
    for i, (path, own) in enumerate(paths):
        shape = arrays[i].shape
        # A count of sources or neighbours must fit the other.
        shared = "".join([*axes[:i], *axes[i + 1 :]])
        shared += "T" * ("S" in shared) + "S" * ("T" in shared)
        twice = {axis for axis in own if own.count(axis) > 1}
        wrong = [
            (*shape[:k], size, *shape[k + 1 :])
            for k, axis in enumerate(own)
            if axis in shared or axis in twice
            for size in (1, shape[k] + 1)
        ]
        wrong.append((1, *shape))
        if own:
            wrong += [shape[1:], shape[:-1]]
        for other in wrong:
            if path[0].key == "z" and name.startswith(EITHER) and other[-1:] == (2,):
                continue
            changed = [*arrays[:i], np.full(other, 0.5, np.float32), *arrays[i + 1 :]]
            label = path[0].key + jax.tree_util.keystr(path[1:])
            same_rank = len(other) == len(shape)
            yield label, other, same_rank, jax.tree.unflatten(tree, changed)


def batched(arguments):
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((11, *leaf.shape), leaf.dtype), arguments
    )


def modes(function):
    """The function as it is, compiled, and mapped over a batch."""
    by_name = lambda arguments: function(**arguments)  # noqa: E731
    yield by_name
    yield lambda arguments: jax.eval_shape(jax.jit(by_name), arguments)
    yield lambda arguments: jax.eval_shape(jax.vmap(by_name), batched(arguments))


@pytest.mark.parametrize("name", CALLS)
def test_wrong_shapes_are_refused(name):
    call = CALLS[name]
    right = jax.tree.map(array, call.arguments)
    compiled, mapped = (mode(right) for mode in list(modes(call.function))[1:])
    for one, many in zip(*map(jax.tree.leaves, (compiled, mapped)), strict=True):
        assert many.shape == (11, *one.shape)
    labels = set()
    for label, shape, same_rank, arguments in wrong_shapes(name, call):
        # Of several draws or sources, a likelihood sees those of one.
        seen = (shape, shape[1:]) if label.startswith("decoded") else (shape,)
        *others, mapped = modes(call.function)
        for mode in [mapped] if label in labels else [*others, mapped]:
            with pytest.raises(InvalidInput) as error:
                mode(arguments)
            message = str(error.value)
            assert any(f"has shape {one}" in message for one in seen), (label, shape)
            assert label.split(".")[0].split("[")[0] in message, (label, shape)
            # Another size is another than that of some other array.
            assert message.count(" has shape (") == 2 or not same_rank, message
        labels.add(label)
    assert len(labels) >= len(call.arguments)


def test_no_public_function_is_forgotten():
    modules = [getattr(losses, name) for name in losses.__all__]
    named = {call.split("[")[0].split(",")[0].split(".")[-1] for call in CALLS}
    for module in (distributions, *modules):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                assert name in named or name == "floor_log", (module.__name__, name)
    # Users' classes check themselves; those of the library are all here.
    classes = inspect.getmembers(likelihoods, lambda item: hasattr(item, "log_prob"))
    assert {name for name, _ in classes} == {
        "Bernoulli",
        "Constant",  # which asks another
        "GaussianLikelihood",
        "InBatches",  # likewise
        "LearnedVarianceGaussian",
        "Likelihood",
        "Masked",  # likewise
        "NegativeBinomial",
    }


def test_a_likelihood_of_the_user_checks_its_own_shapes():
    class Whole:
        def log_prob(self, x, decoded):
            return jnp.sum(x * decoded["scale"]) + decoded["shift"]

    posterior, standard = (
        Gaussian(jnp.zeros(2), jnp.zeros(2)),
        Mixture(jnp.zeros((1, 2)), jnp.zeros((1, 2))),
    )
    decoded = {"scale": jnp.ones((3, 4)), "shift": jnp.ones(())}
    terms = dgg.elbo(
        jnp.ones((3, 4)),
        decoded,
        posterior,
        jnp.zeros(1),
        jnp.zeros(1),
        standard,
        Whole(),
    )
    assert terms.reconstruction == 13.0


def test_the_message_names_both_shapes_and_the_remedy():
    arguments = {
        "posterior": Gaussian(jnp.zeros(2), jnp.zeros(2)),
        "log_assignment": jnp.zeros(3),
        "log_prior": jnp.zeros(3),
        "mixture": Mixture(jnp.zeros((3, 2)), jnp.zeros((3, 2))),
        "likelihood": Bernoulli(),
    }
    with pytest.raises(InvalidInput) as error:
        dgg.elbo(jnp.ones(4), jnp.ones(1), **arguments)
    assert str(error.value) == (
        "decoded has shape (1,), x has shape (4,): both must be [D]. Make D the same."
    )
    with pytest.raises(InvalidInput) as error:
        dgg.elbo(jnp.ones((5, 4)), jnp.ones((5, 4)), **arguments)
    assert str(error.value) == (
        "x has shape (5, 4), decoded has shape (5, 4): both must be [D]. Over a batch, "
        "map the function with jax.vmap."
    )
    arguments["mixture"] = Mixture(jnp.zeros((3, 2)), jnp.zeros((3, 1)))
    with pytest.raises(InvalidInput) as error:
        dgg.elbo(jnp.ones(4), jnp.ones(4), **arguments)
    assert str(error.value) == (
        "mixture.logvar has shape (3, 1), posterior.mean has shape (2,): they must be "
        "[K, L] and [L]. Make L the same."
    )
    arguments["mixture"] = Mixture(jnp.zeros(2), jnp.zeros(2))
    with pytest.raises(InvalidInput) as error:
        dgg.elbo(jnp.ones(4), jnp.ones(4), **arguments)
    assert str(error.value) == (
        "mixture.mean has shape (2,), posterior.mean has shape (2,): they must be "
        "[K, L] and [L]. Add the axes that are missing."
    )


# The axes by hand


@pytest.mark.parametrize(
    "arguments",
    [
        {"a": (np.zeros(()), "")},
        {"a": (3.0, ""), "b": (True, "")},
        {"a": (np.zeros((0, 3)), "S K"), "b": (np.zeros(0), "S")},
        {"a": (np.zeros(2), "S"), "b": (np.zeros((3, 4)), "1+S L")},
        {"a": (np.zeros(2), "... L"), "b": (np.zeros(2), "... L")},
        {"a": (np.zeros((5, 4, 2)), "... L"), "b": (np.zeros((5, 4, 3)), "... K")},
        {"a": ([np.zeros((3, 9)), np.zeros(3)], "M ..."), "b": (np.zeros(3), "M")},
        {"a": ([np.zeros((3, 9)), np.zeros(3)], "1+S ..."), "b": (np.zeros(2), "S")},
        {"a": (np.zeros((3, 2, 9)), "M L ..."), "b": (np.zeros((2, 3)), "L M")},
        {"a": ((), "M ..."), "b": (np.zeros(3), "M")},
        {"a": ((np.zeros(3), 1.0), ("D", ""))},
        {"a": (sparse.eye_array(3), "N N"), "b": (sparse.eye_array(3, 2), "N D")},
    ],
)
def test_right_axes(arguments):
    shapes(**arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"a": (np.zeros(3), "")}, r"a has shape \(3,\): it must be a scalar\. Over"),
        (
            {"a": (np.zeros((3, 4)), "N N")},
            r"a has shape \(3, 4\): it must be \[N, N\]",
        ),
        (
            {"a": (np.zeros(2), "S"), "b": (np.zeros((2, 4)), "1+S L")},
            r"b has shape \(2, 4\), a has shape \(2,\): they must be \[1\+S, L\] and",
        ),
        (
            {"a": (np.zeros((5, 2)), "... L"), "b": (np.zeros((1, 2)), "... L")},
            "Make the leading axes the same",
        ),
        ({"a": (np.zeros(()), "... L")}, "Add the axes that are missing"),
        (
            {"a": ([np.zeros(())], "M ...")},
            r"a has shape \(\): it must be \[M, \.\.\.\]",
        ),
        (
            {"a": ((np.zeros(3), np.zeros(2)), "D")},
            r"a\[1\] has shape \(2,\), a\[0\] has shape \(3,\): both must be \[D\]",
        ),
        ({"a": ((np.zeros(3), np.zeros(2)), ("D", ""))}, r"a\[1\] .* must be a scalar"),
    ],
)
def test_wrong_axes(arguments, text):
    with pytest.raises(InvalidInput, match=text):
        shapes(**arguments)


# Graphs and metrics, of numpy


GRAPH = Graph(np.array([[1], [0], [1]]), np.ones((3, 1)))
TABLE = smoothing.bucket_rows(sparse.eye_array(3, format="csr"))


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        (spectral.affinity_matrix, (GRAPH._replace(weights=np.ones(3)),), r"\(3,\)"),
        (graph_information, (GRAPH, np.zeros(2, int)), r"\(2,\).*\(3, 1\)"),
        (graph_information, (GRAPH, np.zeros((3, 1), int)), r"\(3, 1\).*\(3, 1\)"),
        (spectral_labels, (GRAPH._replace(weights=np.ones((3, 2))), 2, 1, 0), "S the"),
        (spectral.spectral_embedding, (sparse.eye_array(3, 2), 1), r"\(3, 2\)"),
        (
            smoothing.smooth_data,
            (np.zeros((2, 4)), sparse.eye_array(3), Bernoulli()),
            r"operator has shape \(3, 3\), x has shape \(2, 4\)",
        ),
        (
            smoothing.smooth_data,
            (np.zeros(3), sparse.eye_array(3), Bernoulli()),
            "N, D",
        ),
        (smoothing.smoothed_log_prior, (np.zeros((2, 4)), TABLE, TABLE), r"\(2, 4\)"),
        (metrics.thin_clusters, ([[0, 1]], 2), r"\(1, 2\)"),
        (metrics.assignment_perplexity, ([0.0, 0.0],), r"\(2,\)"),
        (metrics.clustering_accuracy, ([0, 1], [0]), r"\(2,\) and \(1,\)"),
        (metrics.clustering_accuracy, ([[0, 1]], [[0, 1]]), r"\(1, 2\)"),
        (metrics.normalized_mutual_info, ([0, 1], [0]), r"\(2,\) and \(1,\)"),
        (metrics.adjusted_rand_index, ([0, 1], [0]), r"\(2,\) and \(1,\)"),
        (
            metrics.most_confident_label_accuracy,
            ([0, 1], [[1.0]]),
            r"\(1, 1\) and \(2,\)",
        ),
    ],
)
def test_graphs_and_metrics_refuse_wrong_shapes(function, arguments, text):
    with pytest.raises(InvalidInput, match=text):
        function(*arguments)
