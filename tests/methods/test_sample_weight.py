"""Weights of rows: what they multiply; a row of weight 2 is as one there twice."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgg_jax import methods, presets
from dgg_jax.checks import InvalidInput
from dgg_jax.distributions import responsibilities
from dgg_jax.likelihoods import GaussianLikelihood, Masked
from dgg_jax.losses import dgg as dgg_losses
from dgg_jax.losses import vade as vade_losses
from dgg_jax.losses.autoencoder import vae_elbo
from dgg_jax.losses.links import link_loss
from dgg_jax.methods import dec, dgg, dgg_steps, gmvae, imsat, two_stage, vade
from dgg_jax.methods.pretrained import autoencoder_identity
from dgg_jax.methods.problem import Problem
from dgg_jax.networks import Classifier, Network, Networks, NormalizedClassifier
from dgg_jax.placement.rows import HostRows, sparse_rows
from dgg_jax.presets import DECPreset, DGGPreset, GMVAEPreset, IMSATPreset
from dgg_jax.stages.links import Links
from dgg_jax.stages.pretrain import AutoencoderLoss, LayerLoss, VaeLoss
from dgg_jax.training import Rows, TrainState
from dgg_jax.types import Gaussian, Graph, Mixture
from tests.methods.test_dgg import BRIEF as DGG
from tests.methods.test_vade import BRIEF as VADE
from tests.methods.toy import blobs
from tests.trees import assert_same

REPEATS = np.array([2, 0, 1, 3, 1, 1])
WEIGHTS = REPEATS / REPEATS.mean()
COPIES = np.repeat(np.arange(len(REPEATS)), REPEATS)  # the row that each is one of
K, L, D = 3, 2, 2  # clusters, latents, columns
LIKELIHOOD = GaussianLikelihood(0.5)
EVERYONE, KEY = jnp.arange(len(REPEATS)), jax.random.key(0)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def rows():
    return np.random.default_rng(3).normal(size=(len(REPEATS), D))


def encode(params, x):
    """A posterior without noise, so that a row and its copy draw the same z."""
    mean = jnp.tanh(x @ params["kernel"])
    return Gaussian(mean, jnp.full_like(mean, -80.0))


def networks():
    return Networks(
        encode,
        lambda params, z: z @ params["kernel"],
        lambda params, z: jax.nn.log_softmax(z @ params["classifier"]["kernel"]),
    )


def parameters():
    random = np.random.default_rng(0)
    return {
        "encoder": {"kernel": random.normal(size=(D, L))},
        "decoder": {"kernel": random.normal(size=(L, D))},
        "classifier": {"kernel": random.normal(size=(L, K))},
        "mixture": Mixture(random.normal(size=(K, L)), random.normal(size=(K, L))),
        "logits": random.normal(size=K),
    }


def value_and_grad(loss, data, num_rows):
    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, output), gradient = compiled(parameters(), data, jnp.arange(num_rows), KEY)
    return value, gradient, output


def assert_as_repeated(loss, weighted, repeated):
    """A full batch of weighted rows has the loss and gradient of one with copies."""
    value, gradient, output = value_and_grad(loss, weighted, len(REPEATS))
    expected, of_copies, others = value_and_grad(loss, repeated, len(COPIES))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9),
        gradient,
        of_copies,
    )
    for name, metric in output.metrics.items():
        np.testing.assert_allclose(metric, others.metrics[name], rtol=1e-6, atol=1e-9)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 0.1


def both_rows():
    x = rows()
    return Rows(x, LIKELIHOOD, WEIGHTS), Rows(x[COPIES], LIKELIHOOD)


def linear(params, h):
    return h @ params["kernel"]


@pytest.mark.parametrize("loss", ["autoencoder", "vae"])
def test_pretraining_is_as_with_copies(x64, loss):
    losses = {
        "autoencoder": AutoencoderLoss(networks(), 0.0),
        "vae": VaeLoss(networks()),
    }
    assert_as_repeated(losses[loss], *both_rows())


@pytest.mark.parametrize("outermost", [True, False])
def test_layers_are_as_with_copies(x64, outermost):
    params = {
        "inner": parameters()["encoder"],
        "outer": {"kernel": np.ones((L, D)), "bias": np.full(D, 0.1)},
    }
    loss = LayerLoss(linear, outermost, 0.0)
    weighted, repeated = both_rows()
    value, _ = loss(params, weighted, EVERYONE, KEY)
    expected, _ = loss(params, repeated, jnp.arange(len(COPIES)), KEY)
    np.testing.assert_allclose(value, expected, rtol=1e-9)


@pytest.mark.parametrize("held", [False, True])
def test_vade_is_as_with_copies(x64, held):
    weighted, repeated = both_rows()
    labels = np.arange(len(REPEATS)) % K if held else None
    loss = vade.VadeLoss(networks(), "sample", 2, 1.5)
    assert_as_repeated(
        loss,
        ((weighted, labels), 0.7),
        ((repeated, labels[COPIES] if held else None), 0.7),
    )


def test_vade_without_its_kl_term_is_as_with_copies(x64):
    weighted, repeated = both_rows()
    loss = vade.ReconstructionLoss(networks())
    assert_as_repeated(loss, ((weighted, None), 1.0), ((repeated, None), 1.0))
    values = [
        vade.mean_reconstruction(networks(), rows, parameters())
        for rows in (weighted, repeated)
    ]
    assert values[0] == pytest.approx(values[1])


def test_the_loss_of_a_batch_by_hand(x64):
    """The mean over the batch of s_i times -ELBO, not divided by the sum of s."""
    batch, params = jnp.array([3, 1, 0]), parameters()
    mixture, log_weights = params["mixture"], jax.nn.log_softmax(params["logits"])
    elbos, vaes = [], []
    for i in (3, 1, 0):
        x = rows()[i]
        posterior = encode(params["encoder"], x)
        decoded = posterior.mean @ params["decoder"]["kernel"]
        gamma = responsibilities(posterior.mean, log_weights, mixture)
        arguments = x, decoded, posterior
        terms = vade_losses.elbo(*arguments, gamma, log_weights, mixture, LIKELIHOOD)
        elbos.append(float(terms.total))
        vaes.append(float(vae_elbo(*arguments, LIKELIHOOD).total))
    data = Rows(rows(), LIKELIHOOD, WEIGHTS)
    value, _ = VaeLoss(networks())(params, data, batch, KEY)
    expected = -(2.25 * vaes[0] + 0.0 * vaes[1] + 1.5 * vaes[2]) / 3
    assert value == pytest.approx(expected, rel=1e-6)
    loss = vade.VadeLoss(networks(), "sample", 1, 1.0)
    value, output = loss(params, ((data, None), 1.0), batch, KEY)
    expected = -(2.25 * elbos[0] + 0.0 * elbos[1] + 1.5 * elbos[2]) / 3
    assert value == pytest.approx(expected, rel=1e-6)
    assert output.metrics["objective"] == -value
    assert output.rows.shape == (3, K)  # also of a row that does not count


# Neighbours of the six rows. Of row 4 none counts.
GRAPH = Graph(
    np.array([[2, 3], [0, 4], [1, 3], [5, 0], [1, 1], [3, 2]]),
    np.array([[0.5, 0.5], [0.5, 0.5], [0.3, 0.7], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]),
)


def graph_of_copies():
    """Of each copy the neighbours are all copies of its row's, or are itself."""
    rows = []
    for copy, row in enumerate(COPIES):
        near = zip(GRAPH.indices[row], GRAPH.weights[row], strict=True)
        found = [(j, w) for i, w in near for j in np.flatnonzero(i == COPIES)]
        rows.append(found or [(copy, 1.0)])
    widest = max(map(len, rows))
    rows = [row + [(0, 0.0)] * (widest - len(row)) for row in rows]
    indices, weights = np.moveaxis(np.array(rows), 2, 0)
    return Graph(indices.astype(int), weights / weights.sum(axis=1, keepdims=True))


def dense(graph, num_rows):
    matrix = np.zeros((num_rows, num_rows))
    np.add.at(matrix, (np.arange(num_rows)[:, None], graph.indices), graph.weights)
    return matrix


def joint(form, x, graph, known, weights=None, strength=1.6, likelihood=LIKELIHOOD):
    """What a step takes at the start of an epoch of which the table is of now."""
    preset = DGGPreset(objective=form, graph_strength=strength)
    objective = dgg_steps.joint_objective(
        preset, networks(), likelihood, x, graph, known, sample_weight=weights
    )
    loss, data = objective["loss"], objective["data"]
    if form == "node":
        gammas = networks().classify(
            parameters(), encode(parameters()["encoder"], np.nan_to_num(x)).mean
        )
        state = TrainState(0, None, None, gammas)
        data = data, objective["prepare"](state, objective["prepared_from"])
    return loss, data


@pytest.mark.parametrize("strength", [0.0, 1.6, 2.0])
@pytest.mark.parametrize("form", ["node", "tuple"])
def test_dgg_is_as_with_copies(x64, form, strength):
    """The graph of copies has them all as neighbours; known rows are known twice."""
    x, known = rows(), np.array([0, 1, -1, 2, -1, 1])
    weights = WEIGHTS.astype(np.float64)
    loss, weighted = joint(form, x, GRAPH, known, weights, strength)
    copies = x[COPIES], graph_of_copies(), known[COPIES]
    _, repeated = joint(form, *copies, strength=strength)
    # Statistics are sums in float64, kept as float32.
    value, gradient, output = value_and_grad(loss, weighted, len(REPEATS))
    expected, of_copies, others = value_and_grad(loss, repeated, len(COPIES))
    tolerance = {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(value, expected, **tolerance)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **tolerance), gradient, of_copies
    )
    objectives = [one.metrics["objective"] for one in (output, others)]
    np.testing.assert_allclose(*objectives, **tolerance)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient)) > 0.1


@pytest.mark.parametrize("strength", [0.0, 1.6])
def test_both_forms_of_dgg_are_one_objective_with_weights(x64, strength):
    x, known = rows(), np.array([0, 1, -1, 2, -1, 1])
    found = []
    for form in ("node", "tuple"):
        loss, data = joint(form, x, GRAPH, known, WEIGHTS, strength)
        found.append(value_and_grad(loss, data, len(REPEATS)))
    (value, gradient, _), (expected, other, _) = found
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
        gradient,
        other,
    )


@pytest.mark.parametrize("form", ["node", "tuple"])
def test_the_objective_of_dgg_by_hand(x64, form):
    """J = sum of s_i A_ij L(x_i; j), with A of neighbours that count by weights."""
    x, params = rows(), parameters()
    loss, data = joint(form, x, GRAPH, None, WEIGHTS)
    _, _, output = value_and_grad(loss, data, len(x))
    near = dense(GRAPH, 6) * WEIGHTS
    near[4, 4] = 1.0  # none of its neighbours counts
    operator = 0.2 * np.eye(6) + 0.8 * near / near.sum(axis=1, keepdims=True)
    posterior = encode(params["encoder"], x)
    decoded = posterior.mean @ params["decoder"]["kernel"]
    gammas = networks().classify(params, posterior.mean)
    prior = np.log(operator @ np.exp(gammas))
    elbo = jax.jit(functools.partial(dgg_losses.elbo, likelihood=LIKELIHOOD))
    total = 0.0
    for i, j in zip(*np.nonzero(operator), strict=True):
        own = jax.tree.map(lambda field, j=j: field[j], posterior)
        terms = elbo(x[i], decoded[j], own, gammas[j], prior[i], params["mixture"])
        total += WEIGHTS[i] * operator[i, j] * float(terms.total)
    np.testing.assert_allclose(output.metrics["objective"], total / 6, rtol=1e-6)


def test_the_fit_to_labels_is_as_with_copies(x64):
    labels, loss = EVERYONE % K, dgg_steps.LabelLoss(networks(), True)
    found = []
    for who, graph, weights in (
        (EVERYONE, GRAPH, WEIGHTS),
        (COPIES, graph_of_copies(), None),
    ):
        _, operator = dgg_steps.operators(graph, 1.6, weights)
        data = dgg_steps.node_data(rows()[who], operator, LIKELIHOOD)
        data = data._replace(sample_weight=weights)
        found.append(value_and_grad(loss, (data, labels[who], 3.0), len(who)))
    (value, gradient, output), (expected, of_copies, others) = found
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6),
        gradient,
        of_copies,
    )
    followed = [one.metrics["label_log_prob"] for one in (output, others)]
    np.testing.assert_allclose(*followed, rtol=1e-9)


def test_the_classifier_is_fitted_as_with_copies(x64):
    posterior, labels = encode(parameters()["encoder"], rows()), np.arange(6) % K
    loss = dgg_steps.ClassifierLoss(networks().classify, False)
    copies = jax.tree.map(lambda field: field[COPIES], posterior), labels[COPIES]
    assert_as_repeated(loss, (posterior, labels, WEIGHTS), (*copies, None))


def test_a_link_counts_as_its_rows(x64):
    """A pair of rows of weights s and t is one of s t pairs of copies."""
    pairs = np.array([[0, 3], [1, 4], [2, 3], [0, 5], [3, 4], [4, 5]], np.int32)
    links = Links(pairs, np.arange(6) % 2 == 0)
    x, params = rows(), parameters()
    data = dgg_steps.TupleData(x, GRAPH, LIKELIHOOD, links=links, sample_weight=WEIGHTS)
    loss = dgg_steps.TupleLoss(networks(), False, 1.6)
    drawn = dgg_steps._links_of_step(data, EVERYONE, KEY)
    gammas = networks().classify(params, encode(params["encoder"], x).mean)
    values = [
        float(WEIGHTS[a] * WEIGHTS[b] * link_loss(gammas[a], gammas[b], together))
        for (a, b), together in zip(drawn.rows, drawn.together, strict=True)
    ]
    term = dgg_steps._link_term(loss, params, data, EVERYONE, KEY)
    np.testing.assert_allclose(term, 100.0 * 6 / 6 * np.mean(values), rtol=1e-9)
    assert len(set(values)) > 2


def test_gmvae_is_as_with_copies(x64):
    net = gmvae.GmvaeNetworks(
        lambda params, collections, x, train: (
            (encode(params["encoder"], x), encode(params["decoder"], x)),
            collections,
        ),
        lambda params, w: jax.tree.map(
            lambda field: field[None] + w[:, None], params["mixture"]
        ),
        lambda params, collections, z, train: (
            z @ params["decoder"]["kernel"],
            collections,
        ),
    )
    assert_as_repeated(gmvae.GmvaeLoss(net, 2, 0.1, False), *both_rows())


def student(params, x):
    return Gaussian(jnp.tanh(x @ params["kernel"]), None)


def test_dec_is_as_with_copies(x64):
    """Also the target, whose frequencies are sums over rows."""
    params = {"encoder": parameters()["encoder"], "centers": parameters()["mixture"][0]}
    found = []
    for data in both_rows():
        state = TrainState(0, params, None)
        target = dec.Target(student, 1.0, 8)(state, data)
        loss = jax.value_and_grad(dec.DecLoss(student, 1.0), has_aux=True)
        (value, _), gradient = loss(
            params, (data, target), jnp.arange(len(data.x)), KEY
        )
        found.append((target[0], value, gradient))
    (target, *weighted), (of_copies, *repeated) = found
    np.testing.assert_allclose(target[COPIES], of_copies, rtol=1e-9)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12),
        weighted,
        repeated,
    )


@pytest.mark.parametrize("module", [NormalizedClassifier, Classifier])
def test_imsat_is_as_with_copies(x64, module):
    """Also the moments of batch normalisation, and where a row is moved to."""
    module, x = module((5,), K), rows()
    random = np.random.default_rng(1)
    params = module.init(KEY, x)["params"]
    params = jax.tree.map(lambda leaf: leaf + random.normal(size=leaf.shape), params)
    loss = imsat.ImsatLoss(imsat.Classify(Network(module)), 0.1, 4.0, 1.0, 0)
    radius = np.zeros(len(x))  # directions are drawn, of a copy others
    found = [
        jax.value_and_grad(loss, has_aux=True)(params, data, jnp.arange(number), KEY)
        for data, number in (
            ((x, radius, WEIGHTS), len(x)),
            ((x[COPIES], radius[COPIES], None), len(COPIES)),
        )
    ]
    ((value, output), gradient), ((expected, others), of_copies) = found
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    assert output.metrics.keys() == others.metrics.keys()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12),
        gradient,
        of_copies,
    )


def test_a_batch_in_which_no_row_counts_changes_nothing():
    module = NormalizedClassifier((5,), K)
    x = rows().astype(np.float32)
    params = module.init(KEY, x)["params"]
    loss = imsat.ImsatLoss(imsat.Classify(Network(module)), 0.1, 4.0, 1.0)
    data = x, np.ones(len(x), np.float32), WEIGHTS.astype(np.float32)
    loss = jax.value_and_grad(loss, has_aux=True)
    (value, _), gradient = loss(params, data, jnp.array([1, 1]), KEY)
    assert value == 0.0
    for leaf in jax.tree.leaves(gradient):
        np.testing.assert_array_equal(leaf, 0.0)


# Of runs.

RUNS = {
    "dgg": (dgg.run, DGG),
    "dgg, tuple": (dgg.run, dataclasses.replace(DGG, objective="tuple")),
    "vade": (vade.run, VADE),
    "gmvae": (
        gmvae.run,
        GMVAEPreset(
            num_clusters=3, hidden_sizes=(5,), component_hidden_size=4, latent_dim=2
        ),
    ),
    "dec": (
        dec.run,
        DECPreset(num_clusters=3, hidden_sizes=(5,), latent_dim=2, restarts=1),
    ),
    "imsat": (imsat.run, IMSATPreset(num_clusters=3, hidden_sizes=(5,))),
    "kmeans": (two_stage.run, presets.KMeansPreset(num_clusters=3)),
    "ae_kmeans": (
        two_stage.run,
        presets.LatentKMeansPreset(num_clusters=3, hidden_sizes=(5,), latent_dim=2),
    ),
}


def brief(name, **arguments):
    run, preset = RUNS[name]
    epochs = {
        name: 1
        for name in ("epochs", "pretrain_autoencoder_epochs", "embedding_epochs")
        if hasattr(preset, name)
    }
    return run(blobs()[0], dataclasses.replace(preset, **epochs), **arguments).state


@pytest.mark.parametrize("name", RUNS)
def test_equal_weights_are_none_to_the_bit_and_others_matter(name):
    num_rows = len(blobs()[0])
    plain = brief(name)
    assert_same(brief(name, sample_weight=np.full(num_rows, 0.3)), plain)
    weights = np.random.default_rng(0).exponential(size=num_rows)
    weighted = brief(name, sample_weight=weights)
    assert weighted["labels"].shape == (num_rows,)
    # Only their ratios matter.
    assert_same(brief(name, sample_weight=4.0 * weights), weighted)
    if name != "kmeans":  # whose labels are all that it has
        pairs = zip(*map(jax.tree.leaves, (weighted, plain)), strict=True)
        assert any((np.asarray(a) != np.asarray(b)).any() for a, b in pairs)


def test_kmeans_is_scikit_learns():
    x = np.array([[0.0], [1.0], [10.0], [11.0], [30.0]], np.float32)
    preset = presets.KMeansPreset(num_clusters=2, restarts=3)
    near = two_stage.run(x, preset, sample_weight=[1, 1, 1, 1, 0]).state["labels"]
    far = two_stage.run(x, preset, sample_weight=[1, 1, 1, 1, 50]).state["labels"]
    assert near[0] == near[1] != near[2] == near[3] == near[4]
    assert far[0] == far[1] == far[2] == far[3] != far[4]


def test_a_far_cluster_of_weight_0_has_no_share_of_the_mixture():
    x, y = blobs()
    preset = dataclasses.replace(
        VADE,
        num_clusters=2,
        latent_dim=2,
        pretrain_autoencoder_epochs=30,
        label_epochs=5,
        epochs=10,
        learning_rate=1e-2,
        mixture_learning_rate=1e-2,
    )
    weights = np.where(y == 2, 0.0, 1.0)
    model, state, _ = vade.run(x, preset, sample_weight=weights)
    # Each of the others has a component of its own, by halves.
    np.testing.assert_allclose(np.exp(model.log_weights), 0.5, atol=0.05)
    labels = state["labels"]
    assert len(set(labels[y == 0])) == len(set(labels[y == 1])) == 1
    assert labels[y == 0][0] != labels[y == 1][0]
    assert set(labels[y == 2]) <= {0, 1}  # they have labels all the same


def test_a_component_of_rows_that_do_not_count_dwindles():
    """It starts with a point more than it has, of which training keeps less."""
    x, y = blobs()
    weights = np.where(y == 2, 0.0, 1.0)
    problem = Problem.of(x, VADE, sample_weight=weights)
    posterior = Gaussian(x[:, :2], np.zeros((len(x), 2), np.float32))
    start = vade._initial_mixture(problem, None, posterior, 0)
    labels = start["initial_labels"]
    counts = np.bincount(labels, problem.sample_weight, 3)
    np.testing.assert_allclose(
        np.exp(start["logits"]), (counts + 1) / (len(x) + 3), rtol=1e-5
    )


def test_pi_of_dgg_is_the_weighted_mean_gamma():
    _, y = blobs()
    weights = np.where(y == 0, 5.0, 1.0)
    state = brief("dgg", sample_weight=weights)
    # Before calibration, by which probabilities of rows change.
    gammas = np.exp(state.get("raw_log_assignment", state["log_assignment"]))
    expected = np.average(gammas, axis=0, weights=weights)
    np.testing.assert_allclose(np.exp(state["log_weights"]), expected, rtol=1e-4)


def test_the_elbo_that_is_reported_is_by_weights():
    x, y = blobs()
    weights = np.where(y == 0, 5.0, 1.0)
    run, preset = RUNS["vade"]
    _, state, records = run(x, preset, sample_weight=weights)
    expected = np.average(state["elbo"], weights=weights)
    assert records[-1]["elbo"] == pytest.approx(expected, rel=1e-5)
    assert records[-1]["objective"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["host", "sparse", "missing"])
def test_statistics_are_weighted_wherever_rows_live(x64, kind):
    """HostRows stream with the weights of all rows; sparse statistics stay sparse."""
    x = np.abs(rows()).astype(np.float32)
    likelihood = LIKELIHOOD
    if kind == "missing":
        x[0, 1] = np.nan
        likelihood = Masked(LIKELIHOOD)
    _, operator = dgg_steps.operators(GRAPH, 1.6, WEIGHTS)
    where = {"host": HostRows, "sparse": lambda x: sparse_rows(dgg.sparse.csr_array(x))}
    data = dgg_steps.node_data(where.get(kind, np.asarray)(x), operator, likelihood)
    degree = operator.toarray().sum(axis=0)
    np.testing.assert_allclose(data.smoothed.degree, degree, rtol=1e-6)
    assert degree[1] == 0.0  # it does not count, nor is it a neighbour
    assert degree.sum() == pytest.approx(len(x))
    mean = operator.toarray().T @ np.nan_to_num(x)
    statistics = data.smoothed.statistics
    if kind == "missing":
        there = operator.toarray().T @ ~np.isnan(x)
        np.testing.assert_allclose(statistics.degree, there, rtol=1e-6)
        return
    found = statistics.mean[np.arange(len(x))] * degree[:, None]
    np.testing.assert_allclose(found, mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["dgg", "dgg, tuple", "vade", "dec"])
def test_rows_on_the_host_train_with_weights(name, caplog):
    weights = np.random.default_rng(0).exponential(size=len(blobs()[0]))
    run, preset = RUNS[name]
    changes = {"epochs": 1, "pretrain_autoencoder_epochs": 1}
    preset = dataclasses.replace(preset, **changes)
    states = [
        run(
            blobs()[0],
            dataclasses.replace(preset, device_memory_share=share),
            sample_weight=weights,
        ).state
        for share in (0.5, 1e-12)
    ]
    assert "stay on the host" in caplog.text
    np.testing.assert_allclose(
        states[0]["latent_mean"], states[1]["latent_mean"], rtol=1e-3, atol=1e-4
    )


def test_runs_in_one_folder_tell_weights_apart():
    x, _ = blobs()
    weights = np.linspace(1.0, 2.0, len(x))
    identities = [
        autoencoder_identity(Problem.of(x, VADE, sample_weight=one))
        for one in (None, np.ones(len(x)), weights, 2 * weights, weights[::-1])
    ]
    assert identities[0] == identities[1] and "sample_weight" not in identities[0]
    assert identities[2] == identities[3] != identities[0]
    assert identities[4] != identities[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *[
            (name, "DGG, VaDE, GMVAE, DEC or")
            for name in ("spectralnet", "catgan", "aae")
        ],
        *[
            (name, "use kmeans, ae_kmeans or vade")
            for name in ("gmm", "spectral", "ldmgi", "vae_gmm", "siamese_kmeans")
        ],
    ],
)
def test_methods_that_cannot_refuse_weights_that_differ(name, message):
    x, _ = blobs()
    run, preset = methods.method(name).run, presets.for_data(name, x, 3)
    with pytest.raises(InvalidInput, match=f"no sample_weight can weigh.*{message}"):
        run(x, preset, sample_weight=np.arange(len(x)))
    with pytest.raises(InvalidInput, match="finite and at least 0"):
        run(x, preset, sample_weight=-np.ones(len(x)))


@pytest.mark.parametrize(
    ("run", "preset", "message"),
    [
        (vade.run, dataclasses.replace(VADE, init="gmm"), "init=gmm fits"),
        (vade.run, dataclasses.replace(VADE, clustering="em"), "clustering=em fits"),
        (vade.run, dataclasses.replace(VADE, kl_term=False), "kl_term=False fits"),
        (dgg.run, dataclasses.replace(DGG, init="gmm"), "init=gmm fits"),
    ],
)
def test_settings_that_cannot_refuse_weights(run, preset, message):
    x, _ = blobs()
    with pytest.raises(InvalidInput, match=message):
        run(x, preset, sample_weight=np.arange(len(x)))


def test_what_does_not_fit_weights_is_refused():
    x, y = blobs()
    with pytest.raises(InvalidInput, match="num_clusters=3 exceeds the 2 rows whose"):
        vade.run(x, VADE, sample_weight=np.arange(len(x)) < 2)
    with pytest.raises(InvalidInput, match="with is_test there are others"):
        brief("gmvae", sample_weight=np.arange(len(x)), is_test=y == 0)
