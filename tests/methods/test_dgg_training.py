"""The joint training: both objectives, the table of gammas, the fit to labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from dgg_jax.graph import knn, neighbor_weights, smoothing_operator
from dgg_jax.likelihoods import Bernoulli, GaussianLikelihood, LearnedVarianceGaussian
from dgg_jax.losses import dgg
from dgg_jax.methods.dgg_steps import (
    LabelLoss,
    NodeLoss,
    TupleData,
    TupleLoss,
    joint_objective,
    node_data,
)
from dgg_jax.networks import Classifier, Decoder, Encoder, Network, Networks
from dgg_jax.presets import DGGPreset
from dgg_jax.training import Monitor, Schedule, optimize
from dgg_jax.types import Gaussian, Mixture

NUM_POINTS, NUM_FEATURES, NUM_LATENT, NUM_CLUSTERS = 24, 5, 2, 3
LIKELIHOODS = {
    "bernoulli": Bernoulli(),
    "gaussian": GaussianLikelihood(0.5),
    "learned": LearnedVarianceGaussian(),
}
TERMS = (
    "reconstruction",
    "latent_prior",
    "latent_entropy",
    "cluster_prior",
    "cluster_entropy",
)
NO_NOISE = -25.0  # a posterior's logvar whose samples are its mean


@pytest.fixture(scope="module")
def x():
    """Three clusters in [0, 1]."""
    rng = np.random.default_rng(0)
    centers = np.array(
        [[0.1, 0.9, 0.5, 0.5, 0.1], [0.9, 0.1, 0.5, 0.1, 0.5], [0.5] * 5]
    )
    x = centers[np.arange(NUM_POINTS) % 3]
    x = x + 0.05 * rng.standard_normal((NUM_POINTS, NUM_FEATURES))
    return np.clip(x, 0.0, 1.0).astype(np.float32)


@pytest.fixture(scope="module")
def graph(x):
    return neighbor_weights(*knn(x, 4), kind="gaussian")


ENCODER = Encoder((8,), NUM_LATENT)
DECODERS = {
    name: Decoder((8,), NUM_FEATURES, learned_variance=name == "learned")
    for name in LIKELIHOODS
}
CLASSIFIER = Classifier((), NUM_CLUSTERS)
NETWORKS = {
    name: Networks(
        Network(ENCODER),
        Network(decoder),
        Network(CLASSIFIER, entry="classifier"),
    )
    for name, decoder in DECODERS.items()
}


def initial(name="bernoulli", seed=0, logvar=None):
    keys = jax.random.split(jax.random.key(seed), 4)
    z = jnp.zeros((1, NUM_LATENT))
    encoder = ENCODER.init(keys[0], jnp.zeros((1, NUM_FEATURES)))["params"]
    # With no bias a point may find all units idle, and its z on a kink of the decoder.
    hidden = {**encoder["hidden_0"], "bias": jnp.full(8, 0.5)}
    encoder = {**encoder, "hidden_0": hidden}
    if logvar is not None:
        bias = jnp.full(NUM_LATENT, logvar)
        encoder = {**encoder, "logvar": {**encoder["logvar"], "bias": bias}}
    return {
        "encoder": encoder,
        "decoder": DECODERS[name].init(keys[1], z)["params"],
        "classifier": CLASSIFIER.init(keys[2], z)["params"],
        "mixture": Mixture(
            jax.random.normal(keys[3], (NUM_CLUSTERS, NUM_LATENT)),
            jnp.zeros((NUM_CLUSTERS, NUM_LATENT)),
        ),
    }


def stacked(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def gammas(params, x, name="bernoulli"):
    """ln f_2 at the posterior means."""
    networks = NETWORKS[name]
    mean = networks.encode(params["encoder"], x).mean
    return networks.classify(params, mean)


def random_table(seed=0):
    logits = np.random.default_rng(seed).standard_normal((NUM_POINTS, NUM_CLUSTERS))
    return special.log_softmax(2.0 * logits, axis=1).astype(np.float32)


def smoothed_log_prior(table, graph, strength):
    """r by dense sums in float64."""
    dense = smoothing_operator(graph, strength).toarray()
    return dense.T @ np.log(dense @ np.exp(np.asarray(table, np.float64)))


class Recorder(Monitor):
    """Metrics and table after every epoch."""

    def __init__(self):
        self.lines, self.tables, self.loops = [], [], set()

    def epoch_end(self, loop, epoch, num_epochs, state, metrics):
        self.loops.add(loop)
        self.lines.append(metrics)
        self.tables.append(jax.tree.map(np.array, state.table))


def losses(name, strength, sampled):
    networks = NETWORKS[name]
    return NodeLoss(networks, sampled), TupleLoss(networks, sampled, strength)


@pytest.mark.parametrize(
    ("name", "strength", "sampled"),
    [("bernoulli", 1.0, True), ("gaussian", 0.5, False), ("learned", 2.0, True)],
)
def test_without_noise_both_forms_agree_in_value_and_gradient(
    x, graph, name, strength, sampled
):
    params = initial(name, logvar=NO_NOISE)
    node, pairs = losses(name, strength, sampled)
    prior = smoothed_log_prior(gammas(params, x, name), graph, strength)
    data = node_data(x, smoothing_operator(graph, strength), LIKELIHOODS[name])
    data = jax.tree.map(jnp.asarray, data)
    prepared = data, jnp.asarray(prior, jnp.float32)
    everyone = jnp.arange(NUM_POINTS)

    def value_and_grad(loss):
        return jax.jit(jax.value_and_grad(loss, has_aux=True))

    (value, output), gradient = value_and_grad(node)(
        params, prepared, everyone, jax.random.key(0)
    )
    (expected, other), other_gradient = value_and_grad(pairs)(
        params,
        TupleData(jnp.asarray(x), graph, LIKELIHOODS[name]),
        everyone,
        jax.random.key(1),
    )
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4),
        gradient,
        other_gradient,
    )
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 0.1
    for term in TERMS:
        np.testing.assert_allclose(
            output.metrics[term], other.metrics[term], rtol=1e-4, atol=1e-5
        )
    for metrics in (output.metrics, other.metrics):
        total = sum(float(metrics[term]) for term in TERMS)
        assert metrics["objective"] == pytest.approx(total, rel=1e-5)
    assert value == -output.metrics["objective"]
    for rows in (output.rows, other.rows):
        np.testing.assert_allclose(rows, gammas(params, x, name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", [0, 1])
def test_the_classifier_sees_samples_or_means(x, graph, form):
    params = initial()
    if form == 0:
        data = node_data(x, smoothing_operator(graph), LIKELIHOODS["bernoulli"])
        data = jax.tree.map(jnp.asarray, data), jnp.zeros((NUM_POINTS, NUM_CLUSTERS))
    else:
        data = TupleData(jnp.asarray(x), graph, LIKELIHOODS["bernoulli"])
    indices = jnp.array([3, 1, 8])
    expected = gammas(params, x)[indices]
    rows = [
        jax.jit(losses("bernoulli", 1.0, sampled)[form])(
            params, data, indices, jax.random.key(0)
        )[1].rows
        for sampled in (False, True)
    ]
    np.testing.assert_allclose(rows[0], expected, rtol=1e-4, atol=1e-5)
    assert (np.abs(rows[1] - expected) > 1e-3).all()


def mirrored(key, rows):
    """Rows with their columns in reverse, for a change that keeps clusters."""
    del key
    return rows[:, ::-1]


@pytest.mark.parametrize("form", ["node", "tuple"])
@pytest.mark.parametrize("weighted", [False, True])
def test_changed_rows_are_to_stay_in_their_clusters(x, graph, form, weighted):
    """R_SAT of IMSAT, of which the clusters themselves are no part."""
    params = initial()
    weights = np.linspace(0.5, 1.5, NUM_POINTS, dtype=np.float32) if weighted else None

    def of_batch(weight, augment, params=params):
        preset = DGGPreset(objective=form, warp_weight=weight)
        told = joint_objective(
            preset,
            NETWORKS["bernoulli"],
            LIKELIHOODS["bernoulli"],
            x,
            graph,
            sample_weight=weights,
            augment=augment,
        )
        data = jax.tree.map(jnp.asarray, told["data"])
        if form == "node":
            data = data, jnp.zeros((NUM_POINTS, NUM_CLUSTERS))
        return told["loss"](params, data, jnp.array([3, 1, 8]), jax.random.key(0))

    (plain, output), (value, with_term) = of_batch(3.0, None), of_batch(3.0, mirrored)
    gamma = np.asarray(gammas(params, x), np.float64)[[3, 1, 8]]
    other = np.asarray(gammas(params, x[:, ::-1]), np.float64)[[3, 1, 8]]
    divergences = np.sum(np.exp(gamma) * (gamma - other), axis=1)
    counts = 1.0 if weights is None else weights[[3, 1, 8]]
    assert divergences.min() > 1e-3
    expected = plain + 3.0 * np.mean(counts * divergences)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert of_batch(0.0, mirrored)[0] == plain
    for metric in output.metrics:  # J is reported without it
        assert with_term.metrics[metric] == output.metrics[metric]

    def gradient(weight, augment):
        def loss(params):
            return of_batch(weight, augment, params)[0]

        return jax.grad(loss)(params)["classifier"]

    # ln q(c | changed x) alone is to move: the gradient is that of a cross-entropy.
    term = jax.tree.map(jnp.subtract, gradient(1.0, mirrored), gradient(1.0, None))

    def cross_entropy(classifier):
        moved = {**params, "classifier": classifier}
        log_q = gammas(moved, x[:, ::-1])[jnp.array([3, 1, 8])]
        return -jnp.mean(counts * jnp.sum(np.exp(gamma) * log_q, axis=1))

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        term,
        jax.grad(cross_entropy)(params["classifier"]),
    )


STRENGTH = 1.5
MODELS = [initial(seed=seed, logvar=NO_NOISE) for seed in (0, 1)]


@pytest.fixture(scope="module", params=["node", "tuple"])
def trained(request, x, graph):
    """Two restarts of full batches without noise: every number is known."""
    tables = np.stack([random_table(0), random_table(1)])
    params, monitor, described = stacked(*MODELS), Recorder(), []
    preset = DGGPreset(
        objective=request.param, graph_strength=STRENGTH, classifier_input="mean"
    )
    objective = joint_objective(
        preset, NETWORKS["bernoulli"], LIKELIHOODS["bernoulli"], x, graph
    )
    state = optimize(
        "train",
        params=params,
        table=tables,
        schedule=Schedule(40, NUM_POINTS, 2e-2, decay=0.9, decay_epochs=30),
        key=jax.random.split(jax.random.key(7), 2),
        num_points=NUM_POINTS,
        monitor=monitor,
        restarts=True,
        describe=lambda state: described.append(1) or {"seen": len(described)},
        **objective,
    )
    assert monitor.loops == {"train"}
    return request.param, params, state, monitor


def test_training_raises_the_objective_of_every_restart(trained):
    _, params, state, monitor = trained
    curve = np.array([line["objective"] for line in monitor.lines])
    assert curve.shape == (40, 2)
    # The first epoch of the node form has random priors: compare with the second.
    assert (curve[-1] > curve[1] + 0.5).all()
    assert [line["seen"] for line in monitor.lines] == list(range(1, 41))
    for line in monitor.lines:
        total = np.sum([line[term] for term in TERMS], axis=0)
        np.testing.assert_allclose(line["objective"], total, rtol=1e-4)
    for before, after in zip(
        jax.tree.leaves(params), jax.tree.leaves(state.params), strict=True
    ):
        for restart in range(2):
            assert (before[restart] != after[restart]).any()
    # The caller's parameters are not donated.
    np.testing.assert_array_equal(params["mixture"].mean[1], MODELS[1]["mixture"].mean)


def test_the_table_holds_the_gammas_of_the_last_visit(trained, x):
    _, _, state, monitor = trained
    for restart, params in enumerate(MODELS):
        first, second = (table[restart] for table in monitor.tables[:2])
        np.testing.assert_allclose(first, gammas(params, x), rtol=1e-4, atol=1e-5)
        assert (first != second).any()
    np.testing.assert_array_equal(state.table, monitor.tables[-1])
    np.testing.assert_allclose(np.exp(state.table).sum(axis=2), 1.0, rtol=1e-5)


def test_the_prior_of_an_epoch(trained, graph):
    """The node form takes it from the table before, the tuple form from now."""
    form, _, _, monitor = trained
    for restart in range(2):
        first, second = (table[restart] for table in monitor.tables[:2])
        before = [random_table(restart), first] if form == "node" else [first, second]
        for table, gamma, line in zip(
            before, [first, second], monitor.lines[:2], strict=True
        ):
            prior = smoothed_log_prior(table, graph, STRENGTH)
            expected = np.sum(np.exp(gamma) * prior) / NUM_POINTS
            assert line["cluster_prior"][restart] == pytest.approx(expected, rel=1e-4)


def test_label_loss_is_the_elbo_at_given_labels_and_the_classifiers_loss(x, graph):
    params = initial(logvar=NO_NOISE)
    labels = np.arange(NUM_POINTS, dtype=np.int32) % 2
    networks, likelihood = NETWORKS["bernoulli"], LIKELIHOODS["bernoulli"]
    loss = LabelLoss(networks, sampled=True)
    data = node_data(x, smoothing_operator(graph), likelihood)
    data = jax.tree.map(jnp.asarray, data)
    indices = jnp.arange(NUM_POINTS)
    (value, output), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        params, (data, jnp.asarray(labels), 3.0), indices, jax.random.key(0)
    )

    posterior = networks.encode(params["encoder"], x)
    decoded = networks.decode(params["decoder"], posterior.mean)
    held = jnp.log(jax.nn.one_hot(labels, NUM_CLUSTERS))
    dense = smoothing_operator(graph).toarray()
    elbo = jax.jit(dgg.elbo, static_argnames="likelihood")
    total = 0.0
    for i, j in zip(*np.nonzero(dense), strict=True):
        own = Gaussian(posterior.mean[j], posterior.logvar[j])
        terms = elbo(
            x[i],
            decoded[j],
            own,
            held[j],
            jnp.zeros(NUM_CLUSTERS),
            params["mixture"],
            likelihood,
        )
        total += dense[i, j] * float(terms.total)
    fit = np.mean(np.asarray(gammas(params, x))[np.arange(NUM_POINTS), labels])
    assert output.metrics["label_log_prob"] == pytest.approx(fit, rel=1e-5)
    assert value == output.metrics["loss"]
    assert value == pytest.approx(-total / NUM_POINTS - 3.0 * fit, rel=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    # The component of no label has nothing to learn.
    np.testing.assert_array_equal(gradient["mixture"].mean[2], 0.0)
    assert (gradient["mixture"].mean[:2] != 0.0).all()


@pytest.mark.slow
def test_fit_to_labels_pulls_the_classifier_to_each_restarts_labels(x, graph):
    truth = np.arange(NUM_POINTS, dtype=np.int32) % 3
    labels = np.stack([truth, (truth + 1) % 3])
    params = stacked(initial(seed=0), initial(seed=1))
    monitor = Recorder()
    data = node_data(x, smoothing_operator(graph), LIKELIHOODS["bernoulli"])
    fitted = optimize(
        "labels",
        LabelLoss(NETWORKS["bernoulli"], sampled=False),
        params,
        (data, labels, 1.0),
        jax.random.split(jax.random.key(0), 2),
        Schedule(100, NUM_POINTS, 3e-2),
        num_points=NUM_POINTS,
        monitor=monitor,
        restarts=True,
        data_axes=(None, 0, None),
    ).params
    assert monitor.loops == {"labels"}
    for restart in range(2):
        own, before = (
            jax.tree.map(lambda leaf, index=restart: leaf[index], tree)
            for tree in (fitted, params)
        )
        predicted = np.argmax(gammas(own, x), axis=1)
        np.testing.assert_array_equal(predicted, labels[restart])
        initially = np.argmax(gammas(before, x), axis=1)
        assert np.mean(initially == labels[restart]) < 0.9
        # Its components have moved to their labels' latents.
        mean = NETWORKS["bernoulli"].encode(own["encoder"], x).mean
        distance = np.linalg.norm(
            np.asarray(mean)[:, None] - np.asarray(own["mixture"].mean)[None], axis=2
        )
        nearest = np.argmin(distance, axis=1)
        assert np.mean(nearest == labels[restart]) > 0.9
    assert (
        np.array(monitor.lines[-1]["loss"]) < np.array(monitor.lines[0]["loss"])
    ).all()
