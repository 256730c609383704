"""LTVAE: a VAE whose prior is a latent tree, of which each variable is a clustering.

Li, Chen, Poon and Zhang, "Learning latent superstructures in variational autoencoders
for deep multidimensional clustering", ICLR 2019; quoted from memory, for the text was
not at hand. From it are the prior, the alternation of gradients of the ELBO with
stepwise EM of the tree, and the search of its structure by BIC. Ours are the order and
length of these, the moves and how they are tried, that a tree starts as a mixture, and
which variable is the clustering that is reported: K states and, of those that have as
many, the most information of z. ``run`` is the algorithm, its stages follow in order,
then what a step of training minimises.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from dgg_jax import checks
from dgg_jax.distributions import sample_gaussian
from dgg_jax.losses import ltvae
from dgg_jax.losses.ltvae import LatentTree, Statistics, Structure
from dgg_jax.methods import mixture_vae
from dgg_jax.methods.mixture_vae import ELBO_DRAWS
from dgg_jax.methods.parts import AS_NAMED, Parts, autoencoder_networks, likelihood_of
from dgg_jax.methods.pretrained import (
    autoencoder,
    check_parts,
    finite_means,
    latent_means,
    likelihood,
    mean_elbo,
    own_elbo,
    pretrain_and_report,
    with_narrow_posteriors,
)
from dgg_jax.methods.problem import (
    Outcome,
    Problem,
    softly_clustered,
    training_schedule,
)
from dgg_jax.networks import Networks
from dgg_jax.presets import LTVAEPreset
from dgg_jax.stages import evaluate, initialize, latent_trees
from dgg_jax.training import (
    Loss,
    Metrics,
    Run,
    Schedule,
    State,
    StepOutput,
    optimize,
    steps_per_epoch,
)

STAGES = ("pretrain", "initialize", "train", "evaluate")


def run(
    x: np.ndarray | sparse.csr_array,
    preset: LTVAEPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    parts: Parts = AS_NAMED,
    start: "Model | None" = None,
    sample_weight: np.ndarray | None = None,
) -> Outcome:
    """Carries data through all stages of LTVAE.

    Args:
      x: data, float32 of shape [N, D]; rows of a sparse matrix become dense by the
        batch.
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      parts: networks or likelihood in place of those that the preset names.
      start: a model to train on, without pretraining and initialisation.
      sample_weight: refused, unless all are equal; [N].

    Returns:
      The model; the last state, with "labels" [N], "log_assignment" [N, K] and
      "latent_mean" [N, L]; and the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    checks.no_sample_weight(
        sample_weight,
        x.shape[0],
        "LTVAE starts from scikit-learn's Gaussian mixture",
        "DGG, VaDE, GMVAE, DEC or IMSAT",
    )
    problem = Problem.of(
        x, preset, seed=seed, y=y, runner=runner, parts=parts, start=start
    )
    check_parts(problem)
    stage = problem.runner.stage
    if start is None:
        state = stage("pretrain", pretrain_and_report, problem, {})
        state = stage("initialize", initialize_tree, problem, state)
    else:
        state = {"model": state_of(start.params)}
    state = stage("train", train, problem, state)
    state = stage("evaluate", assign, problem, state)
    model = model_of(preset, problem.num_features, state, parts)
    return Outcome(model, state, problem.runner.records)


def networks_of(
    preset: LTVAEPreset, num_features: int, parts: Parts = AS_NAMED
) -> Networks:
    """The model as pure functions of (parameters, batch)."""
    networks = autoencoder_networks(preset, num_features, parts)
    return networks._replace(classify=root_assignment, log_prior=log_prior)


def root_assignment(params: Any, z: jax.Array) -> jax.Array:
    """ln p(y_0 | z) of latents z [..., L], shape [..., K]."""
    assign = jnp.vectorize(
        lambda z: ltvae.log_posteriors(z, params["tree"], params["structure"])[0],
        signature="(l)->(k)",
    )
    return assign(z)


def log_prior(params: Any, z: jax.Array) -> jax.Array:
    """ln p(z) of one z [L]."""
    return ltvae.log_density(z, params["tree"], params["structure"])


class Model(mixture_vae.Model):
    """A trained model, whose params are {"encoder", "decoder", "tree", "structure"}."""

    @property
    def structure(self) -> Structure:
        """What hangs on what; ``latent_trees.described`` draws it."""
        return self.params["structure"]

    def facets(self, x: np.ndarray) -> np.ndarray:
        """The value of each discrete variable, the root's first, of rows x [N, D].

        Returns:
          int32 of shape [N, V], of the V variables that the tree has.

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        posterior, _ = self.infer(x)
        labels = latent_trees.labels_of(
            posterior.mean, self.params["tree"], self.structure
        )
        present = latent_trees.num_facets(self.structure)
        return np.asarray(labels, np.int32)[:, :present]


def state_of(params: Any) -> State:
    """Parameters as nested dicts of arrays, all of them finite: no ln 0."""
    tree = params["tree"]._asdict()
    conditionals = np.exp(tree.pop("log_conditionals"))
    structure = params["structure"]._asdict()
    tree = {"conditionals": conditionals, **tree}
    return {**params, "tree": tree, "structure": structure}


def params_of(state: State) -> Any:
    """Parameters from nested dicts of arrays."""
    with np.errstate(divide="ignore"):
        log_conditionals = np.log(state["tree"]["conditionals"])
    tree = LatentTree(
        log_conditionals, state["tree"]["means"], state["tree"]["whitenings"]
    )
    return {**state, "tree": tree, "structure": Structure(**state["structure"])}


def model_of(
    preset: LTVAEPreset, num_features: int, state: State, parts: Parts = AS_NAMED
) -> Model:
    """The model in the state after the last stage."""
    params = params_of(state["model"])
    return Model(
        preset,
        params,
        np.asarray(params["tree"].log_conditionals[0, 0]),
        networks_of(preset, num_features, parts),
        num_features,
        likelihood_of(preset, parts),
    )


def initialize_tree(problem: Problem, state: State) -> tuple[State, Metrics]:
    """A Gaussian mixture of the latents, as a tree of one variable; reports its labels.

    Its components are diagonal: each coordinate is a pouch of its own.
    """
    preset = problem.preset
    params = {name: state[name] for name in ("encoder", "decoder")}
    if not preset.pretrain_vae_epochs:
        params["encoder"] = with_narrow_posteriors(problem, params["encoder"])
    latents = latent_means(problem, autoencoder(problem), params)
    seed = problem.numpy_seed("initialize")
    mixture = initialize.diagonal_mixture(latents, preset.num_clusters, seed=seed)
    structure = latent_trees.single_root(
        preset.num_clusters, preset.latent_dim, preset.max_facets
    )
    z, rows = drawn_latents(problem, params, problem.key("initialize"))
    labels = np.zeros((len(z), preset.max_facets), np.int32)
    labels[:, 0] = mixture.predict(latents[rows].astype(np.float64))
    tree = latent_trees.fit(
        z,
        latent_trees.of_labels(z, labels, structure, preset.num_clusters),
        structure,
        preset.variance_floor,
    ).tree
    return _assessed(problem, {**params, "tree": tree, "structure": structure})


def drawn_latents(
    problem: Problem, params: Any, key: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """One z ~ q(z | x) of rows drawn at random, [M, L], and which rows these are."""
    rows_key, key = jax.random.split(key)
    num_rows = len(problem.x)
    rows = jax.random.permutation(rows_key, num_rows)[: problem.preset.search_rows]
    encode = autoencoder(problem).encode
    posterior = evaluate.encode_all(encode, params["encoder"], problem.x)
    chosen = jax.tree.map(lambda field: jnp.asarray(field)[rows], posterior)
    eps = jax.random.normal(key, chosen.mean.shape)
    return np.asarray(sample_gaussian(chosen, eps)), np.asarray(rows)


def train(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Searches the structure, trains networks and tree some epochs, and so in turns."""
    preset = problem.preset
    params = params_of(state["model"])
    for turn in range(math.ceil(preset.epochs / preset.search_epochs)):
        search_key, key = jax.random.split(
            jax.random.fold_in(problem.key("train"), turn)
        )
        found = problem.runner.remember(
            f"search_{turn}", functools.partial(_searched, problem, params, search_key)
        )
        params = _epochs(problem, params, _prior_of(problem, found), turn, key)
    return _assessed(problem, params)


def _searched(problem: Problem, params: Any, key: jax.Array) -> dict[str, np.ndarray]:
    """The tree that hill climbing reaches, from the present one, on latents drawn."""
    preset, params = problem.preset, jax.device_get(params)
    z, _ = drawn_latents(problem, params, key)
    structure, floor = params["structure"], preset.variance_floor
    statistics = latent_trees.expected(z, params["tree"], structure)
    start = latent_trees.fit(z, statistics, structure, floor)
    found = latent_trees.search(z, start, floor, preset.search_moves)
    arrays = found.structure._asdict() | found.statistics._asdict()
    return {name: np.asarray(array) for name, array in arrays.items()}


class Prior(NamedTuple):
    """The tree as it is trained: a step takes it, and returns the next.

    Attributes:
      structure: what hangs on what.
      tree: its numbers.
      statistics: the moving average that these are from.
      step: t of stepwise EM.
    """

    structure: Structure
    tree: LatentTree
    statistics: Statistics
    step: jax.Array


def _prior_of(problem: Problem, found: dict[str, np.ndarray]) -> Prior:
    """The tree of a search, whose statistics count as an epoch of batches."""
    preset = problem.preset
    structure = Structure(*(found[name] for name in Structure._fields))
    statistics = Statistics(*(found[name] for name in Statistics._fields))
    tree = ltvae.maximized(statistics, structure, preset.variance_floor)
    batch_size = min(preset.batch_size, len(problem.x))
    step = np.float32(steps_per_epoch(len(problem.x), batch_size))
    return Prior(structure, tree, statistics, step)


def _epochs(
    problem: Problem, params: Any, prior: Prior, turn: int, key: jax.Array
) -> Any:
    """Parameters after the epochs between a search and the next."""
    preset = problem.preset
    trained = optimize(
        f"train_{turn}",
        LTVAELoss(
            networks_of(preset, problem.num_features, problem.parts),
            preset.stepwise_exponent,
            preset.variance_floor,
        ),
        {name: params[name] for name in ("encoder", "decoder")},
        (problem.x, likelihood(problem)),
        key,
        _schedule_of(preset, turn),
        num_points=len(problem.x),
        monitor=problem.runner,
        collections=prior,
    )
    prior = trained.collections
    return {**trained.params, "tree": prior.tree, "structure": prior.structure}


def _schedule_of(preset: LTVAEPreset, turn: int) -> Schedule:
    """The part of the schedule between two searches, its rate as far as it fell."""
    schedule, before = training_schedule(preset), turn * preset.search_epochs
    fallen = preset.decay ** (before // preset.decay_epochs)
    return schedule._replace(
        epochs=min(preset.search_epochs, preset.epochs - before),
        learning_rate=preset.learning_rate * fallen,
    )


def _assessed(problem: Problem, params: Any) -> tuple[State, Metrics]:
    """What a stage returns whose model is now this; reports its root's labels."""
    params = jax.device_get(params)
    networks = networks_of(problem.preset, problem.num_features, problem.parts)
    _, log_assignment = evaluate.infer(networks, params, problem.x)
    labels = np.asarray(log_assignment).argmax(axis=1)
    metrics = problem.scores(labels) | mean_elbo(problem, networks, params)
    metrics["facets"] = latent_trees.num_facets(params["structure"])
    return {"model": state_of(params)}, metrics


def assign(problem: Problem, state: State) -> tuple[State, Metrics]:
    """The root's clusters of every row, the ELBO, and the tree.

    Raises:
      Diverged: if a term of the ELBO is not finite.
    """
    networks = networks_of(problem.preset, problem.num_features, problem.parts)
    params = params_of(state["model"])
    posterior, log_assignment = evaluate.infer(networks, params, problem.x)
    terms = own_elbo(problem, networks, params, None, ELBO_DRAWS)
    entries, metrics = softly_clustered(problem, np.asarray(log_assignment))
    entries |= {
        "log_weights": np.asarray(params["tree"].log_conditionals[0, 0]),
        "latent_mean": np.asarray(posterior.mean),
        "elbo": np.asarray(terms.total),
    }
    metrics |= finite_means(problem, terms)
    metrics["facets"] = latent_trees.num_facets(params["structure"])
    return entries, metrics


@dataclasses.dataclass(frozen=True)
class LTVAELoss(Loss):
    r"""-ELBO of a batch, by which the networks learn, and a step of the tree's EM.

    .. math::
      -\frac{1}{B} \sum_i \left( \ln p(x_i \mid z_i) + \ln p(z_i)
      + H[q(z \mid x_i)] \right), \qquad z_i \sim q(z \mid x_i)

    The tree takes no gradient: the z that are drawn go into its statistics.

    Over (x, likelihood), with ``Prior`` as the collections.

    Attributes:
      networks: the model as pure functions.
      exponent: rho of stepwise EM.
      variance_floor: added to the variances of the tree.
    """

    networks: Networks
    exponent: float
    variance_floor: float

    def __call__(self, params, data, indices, key, prior):
        """The value of a batch; see ``training.Loss``."""
        x, likelihood = data
        x, tree, structure = x[indices], prior.tree, prior.structure
        posterior = self.networks.encode(params["encoder"], x)
        z = sample_gaussian(posterior, jax.random.normal(key, posterior.mean.shape))
        decoded = self.networks.decode(params["decoder"], z)
        log_densities = jax.vmap(ltvae.log_density, (0, None, None))
        terms = jax.vmap(ltvae.elbo, (0, 0, 0, 0, None))(
            x, decoded, posterior, log_densities(z, tree, structure), likelihood
        )
        means = jax.tree.map(jnp.mean, terms)
        statistics = ltvae.stepwise(
            prior.statistics,
            latent_trees.expected(jax.lax.stop_gradient(z), tree, structure),
            prior.step,
            self.exponent,
        )
        prior = Prior(
            structure,
            ltvae.maximized(statistics, structure, self.variance_floor),
            statistics,
            prior.step + 1,
        )
        metrics = {**means._asdict(), "objective": means.total}
        return -means.total, StepOutput(metrics, collections=prior)


def samples_per_cluster(model: Model, num_samples: int, seed: int = 0) -> np.ndarray:
    """E[x | z] at z drawn from p(z | y_0), of each y_0, shape [K, M, D]."""
    num_clusters = model.preset.num_clusters
    roots = np.repeat(np.arange(num_clusters), num_samples)
    z = drawn(model, roots, jax.random.key(seed))
    return model.decode(z).reshape(num_clusters, num_samples, -1)


def drawn(model: Model, roots: np.ndarray, key: jax.Array) -> jax.Array:
    """z from p(z | y_0) of these states of the root [M], shape [M, L]."""
    keys = jax.random.split(key, len(roots))
    draw = jax.jit(jax.vmap(ltvae.draw, (None, None, 0, 0)))
    return draw(model.params["tree"], model.structure, jnp.asarray(roots), keys)
