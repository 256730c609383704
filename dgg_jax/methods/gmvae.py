"""GMVAE: Gaussian mixture variational autoencoders, from data on.

Dilokthanakul et al., "Deep unsupervised clustering with Gaussian mixture variational
autoencoders". ``run`` is the algorithm, its stages follow in order, then what a step of
training minimises.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dgg_jax import checks, metrics
from dgg_jax.distributions import sample_gaussian
from dgg_jax.likelihoods import Likelihood, as_pytree
from dgg_jax.losses import gmvae
from dgg_jax.methods.parts import AS_NAMED, Parts, likelihood_of
from dgg_jax.methods.pretrained import finite_means, likelihood
from dgg_jax.methods.problem import (
    Outcome,
    Problem,
    confident_scores,
    training_schedule,
)
from dgg_jax.networks import (
    MNIST_LAYERS,
    SVHN_LAYERS,
    ComponentNetwork,
    ConvolutionalDecoder,
    ConvolutionalTrunk,
    Decoder,
    DenseTrunk,
    Network,
    PlainTrunk,
    RecognitionNetwork,
    with_precision,
)
from dgg_jax.networks.convolutional import feature_shapes
from dgg_jax.placement import devices
from dgg_jax.presets import GMVAEPreset
from dgg_jax.stages import evaluate
from dgg_jax.stages.evaluate import row_key
from dgg_jax.training import (
    Loss,
    Metrics,
    Rows,
    Run,
    State,
    StepOutput,
    TrainState,
    batch_mean,
    optimize,
)
from dgg_jax.types import Gaussian, GmvaeTerms, Mixture

__all__ = ["Model", "check", "run", "samples_per_cluster"]

STAGES = ("train", "evaluate")
BOUND_DRAWS = 16  # of the final bound
# Modules that may have batch statistics, and so are told whether they are trained.
_TRAINED_OTHERWISE = (RecognitionNetwork, ConvolutionalDecoder)
_CONVOLUTIONS = {"mnist": MNIST_LAYERS, "svhn": SVHN_LAYERS}
_BATCH = 500  # of rows that are evaluated


def run(
    x: np.ndarray,
    preset: GMVAEPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    feature_shape: tuple[int, ...] | None = None,
    is_test: np.ndarray | None = None,
    parts: Parts = AS_NAMED,
    start: "Model | None" = None,
    sample_weight: np.ndarray | None = None,
) -> Outcome:
    """Carries data through the stages of GMVAE.

    Args:
      x: data, float32 of shape [N, D].
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      feature_shape: shape of one data point, which convolutions need.
      is_test: rows [N] that are not trained on, but scored alone, as the paper does;
        by default all rows are trained on and scored.
      parts: networks or likelihood in place of those that the preset names; see
        ``build_networks``.
      start: a model to train on.
      sample_weight: how much each row counts in the bound, [N], without is_test; batch
        normalisation, which convolutions have, knows none.

    Returns:
      The model; the last state, with "labels" [N], "log_assignment" [N, K] and
      "latent_mean" [N, L] of all rows; and the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    num_features = math.prod(np.shape(x)[1:])
    feature_shape = tuple(feature_shape or np.shape(x)[1:])
    if math.prod(feature_shape) != num_features:
        raise checks.InvalidInput(
            f"feature_shape={feature_shape} must have as many values as a row of x, "
            f"{num_features}."
        )
    check(preset, (len(x), *feature_shape))
    problem = Problem.of(
        x,
        preset,
        seed=seed,
        y=y,
        runner=runner,
        parts=parts,
        start=start,
        feature_shape=feature_shape,
        is_test=is_test,
        sample_weight=sample_weight,
    )
    stage = problem.runner.stage
    state = stage("train", train, problem, {})
    state = stage("evaluate", evaluate_model, problem, state)
    model = model_of(preset, problem.num_features, state, parts)
    return Outcome(model, state, problem.runner.records)


def _image_shape(feature_shape: tuple[int, ...]) -> tuple[int, ...]:
    """(H, W, C) of images; grey ones may come without C."""
    return (*feature_shape, 1) if len(feature_shape) == 2 else tuple(feature_shape)


def check(preset: GMVAEPreset, shape: tuple[int, ...]) -> None:
    """Whether the networks of a preset can take the data.

    Args:
      preset: all settings.
      shape: of the data, before their points were flattened: [N, ...].

    Raises:
      InvalidInput: if a convolutional network is asked for and the data are no images
        of a size that it can take.
    """
    if preset.architecture == "dense":
        return
    feature_shape = tuple(shape[1:])
    if len(feature_shape) not in (2, 3):
        raise checks.InvalidInput(
            f"architecture={preset.architecture} is convolutional and needs images; "
            f"a data point here has shape {feature_shape}. Use "
            "architecture=dense."
        )
    layers = _CONVOLUTIONS[preset.architecture]
    feature_shapes(_image_shape(feature_shape), layers)
    if preset.likelihood != "bernoulli":
        raise checks.InvalidInput(
            f"architecture={preset.architecture} decodes Bernoulli logits, got "
            f"likelihood={preset.likelihood}; use likelihood=bernoulli or "
            "architecture=dense."
        )


def build_networks(
    preset: GMVAEPreset, feature_shape: tuple[int, ...], parts: Parts = AS_NAMED
) -> tuple[RecognitionNetwork, ComponentNetwork, nn.Module]:
    """The networks of tables A.1 to A.3 of GMVAE.

    Args:
      preset: names architecture, sizes and likelihood.
      feature_shape: shape of one data point, of product D.
      parts: an encoder here maps x [B, D] to features [B, H], from which dense layers
        make q(z | x) and q(w | x).
    """
    if preset.architecture == "dense":
        trunk = DenseTrunk(preset.hidden_sizes)
        decoder = Decoder(
            preset.hidden_sizes[::-1],
            math.prod(feature_shape),
            learned_variance=preset.likelihood == "learned_gaussian",
        )
    else:
        image_shape = _image_shape(feature_shape)
        layers = _CONVOLUTIONS[preset.architecture]
        trunk = ConvolutionalTrunk(image_shape, layers)
        decoder = ConvolutionalDecoder(image_shape, layers)
    if parts.encoder:
        trunk = PlainTrunk(parts.encoder)
    return (
        RecognitionNetwork(trunk, preset.latent_dim, preset.w_dim),
        ComponentNetwork(
            preset.component_hidden_size, preset.num_clusters, preset.latent_dim
        ),
        parts.decoder or decoder,
    )


class GmvaeNetworks(NamedTuple):
    """The networks as pure functions; collections hold batch statistics, or are ().

    Attributes:
      recognize: from (params, collections, x [B, D], train) to the posteriors of z and
        w, fields [B, L] and [B, w_dim], and the collections after it.
      components: from (params, w [B, w_dim]) to Mixture of [B, K, L].
      decode: from (params, collections, z [B, L], train) to ``decoded`` of the
        likelihood and the collections after it.
    """

    recognize: Callable[..., tuple[tuple[Gaussian, Gaussian], Any]]
    components: Callable[[Any, jax.Array], Mixture]
    decode: Callable[..., tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class NormalizedNetwork:
    """A module that may have batch statistics, as a pure function.

    Attributes:
      entry: where its parameters are, and its statistics.
      module: Flax module.
      precision: of its matrix products.
    """

    entry: str
    module: nn.Module
    precision: str

    def __call__(
        self, params: Any, collections: Any, x: jax.Array, train: bool
    ) -> tuple[Any, Any]:
        """What it returns for a batch, and the collections after it."""
        takes_train = isinstance(self.module, _TRAINED_OTHERWISE)
        flags = {"train": train} if takes_train else {}
        variables = {"params": params[self.entry]}
        if collections:
            variables["batch_stats"] = collections[self.entry]
        with with_precision(self.precision):
            if not (collections and train):
                return self.module.apply(variables, x, **flags), collections
            output, updates = self.module.apply(
                variables, x, **flags, mutable=["batch_stats"]
            )
        return output, {**collections, self.entry: updates["batch_stats"]}


def networks_of(
    preset: GMVAEPreset, feature_shape: tuple[int, ...], parts: Parts = AS_NAMED
) -> GmvaeNetworks:
    """The networks as pure functions of parameters and batch statistics."""
    recognition, components, decoder = build_networks(preset, feature_shape, parts)
    return GmvaeNetworks(
        NormalizedNetwork("recognition", recognition, preset.precision),
        Network(components, preset.precision, "components"),
        NormalizedNetwork("decoder", decoder, preset.precision),
    )


@dataclasses.dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
      preset: its settings.
      params: {"recognition", "components", "decoder"}.
      collections: running statistics of batch normalisation, or ().
      feature_shape: shape of one data point.
      parts: networks or likelihood in place of those that the preset names.
    """

    preset: GMVAEPreset
    params: Any
    collections: Any
    feature_shape: tuple[int, ...]
    parts: Parts = AS_NAMED

    @property
    def networks(self) -> GmvaeNetworks:
        """The networks as pure functions."""
        return networks_of(self.preset, self.feature_shape, self.parts)

    @property
    def likelihood(self) -> Likelihood:
        """p(x | z)."""
        return likelihood_of(self.preset, self.parts)

    @property
    def num_features(self) -> int:
        """D, columns of the data."""
        return math.prod(self.feature_shape)

    def infer(self, x: np.ndarray) -> tuple[Gaussian, np.ndarray]:
        """Posteriors of rows and their cluster probabilities.

        Args:
          x: data scaled as the training data were, shape [N, D].

        Returns:
          q(z | x) with fields [N, L], and ln p(c | x) [N, K] from the means of z and w.

        Raises:
          InvalidInput: if x is not [N, D] with the D of training.
        """
        x = checks.rows(x, self.num_features)
        z, _, log_assignment = infer(self.networks, self.params, self.collections, x)
        return jax.device_get((z, log_assignment))

    def infer_batch(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Means of q(z | x) [B, L] and ln p(c | x) [B, K] of one batch, traceable."""
        z, _, log_assignment = infer_batch(
            self.networks, self.params, self.collections, x
        )
        return z.mean, log_assignment

    def elbo(self, x: np.ndarray, draws: int = BOUND_DRAWS) -> np.ndarray:
        """The plain bound of rows x [N, D], in nats, [N]; the same draws always."""
        terms = bound_terms(
            self.networks,
            as_pytree(self.likelihood),
            self.params,
            self.collections,
            checks.rows(x, self.num_features),
            jax.random.key(0),
            num_samples=draws,
            joint=self.preset.conditional_prior == "joint",
        )
        return np.asarray(terms.total)

    def decode(self, z: np.ndarray) -> np.ndarray:
        """E[x | z] of latents z [N, L], shape [N, D]."""
        decoded, _ = self.networks.decode(
            self.params, self.collections, jnp.asarray(z), False
        )
        return np.asarray(jax.vmap(self.likelihood.mean)(decoded))


def model_of(
    preset: GMVAEPreset, num_features: int, state: State, parts: Parts = AS_NAMED
) -> Model:
    """The model in the state after the last stage."""
    shape = tuple(int(size) for size in state["feature_shape"])
    del num_features  # of the shape
    return Model(preset, state["params"], state.get("collections", ()), shape, parts)


def train(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Maximises the bound; reports the trained model."""
    del state
    preset = problem.preset
    x = problem.x[problem.trained]
    params, collections = _initial(problem)
    networks = networks_of(preset, problem.feature_shape, problem.parts)
    trained = optimize(
        "train",
        GmvaeLoss(
            networks,
            preset.num_samples,
            preset.information_constraint,
            preset.conditional_prior == "joint",
        ),
        params,
        Rows(x, likelihood(problem), problem.sample_weight),
        jax.random.fold_in(problem.key("train"), 1),
        training_schedule(preset),
        num_points=len(x),
        monitor=problem.runner,
        table=np.zeros((len(x), preset.num_clusters), np.float32),
        collections=collections,
        describe=functools.partial(
            _epoch_metrics, problem, networks, problem.x[problem.scored]
        ),
    )
    entries = {"params": trained.params}
    if trained.collections:  # without batch statistics there is nothing to keep
        entries["collections"] = trained.collections
    entries["feature_shape"] = np.asarray(problem.feature_shape)
    _, report = _assessed(problem, entries, draws=1)
    epochs = problem.runner.epochs_of("train")
    if epochs:
        report["objective"] = epochs[-1]["objective"]
    return entries, report


def _initial(problem: Problem) -> tuple[Any, Any]:
    """Parameters and batch statistics to start from."""
    preset, start = problem.preset, problem.start
    if start is not None:
        return start.params, start.collections
    modules = build_networks(preset, problem.feature_shape, problem.parts)
    inputs = {
        "recognition": problem.x[:1],
        "components": np.zeros((1, preset.w_dim), np.float32),
        "decoder": np.zeros((1, preset.latent_dim), np.float32),
    }
    params, collections = {}, {}
    key = jax.random.fold_in(problem.key("train"), 0)
    keys = jax.random.split(key, len(inputs))
    for module, key, (name, x) in zip(modules, keys, inputs.items(), strict=True):
        flags = {"train": False} if isinstance(module, _TRAINED_OTHERWISE) else {}
        variables = module.init(key, x, **flags)
        params[name] = variables["params"]
        if "batch_stats" in variables:
            collections[name] = variables["batch_stats"]
    return params, collections or ()


def evaluate_model(problem: Problem, state: State) -> tuple[State, Metrics]:
    """What the model says of every point; scores of the test rows, if any."""
    return _assessed(problem, state, draws=BOUND_DRAWS)


def _assessed(problem: Problem, state: State, draws: int) -> tuple[State, Metrics]:
    preset = problem.preset
    model = model_of(preset, problem.num_features, state, problem.parts)
    networks, params, collections = model.networks, model.params, model.collections
    z, _, log_assignment = jax.device_get(
        infer(networks, params, collections, problem.x)
    )
    labels = log_assignment.argmax(axis=1).astype(np.int32)
    terms = bound_terms(
        networks,
        likelihood(problem),
        params,
        collections,
        problem.x[problem.scored],
        jax.random.key(0),  # the same draws for every model: they are compared
        num_samples=draws,
        joint=preset.conditional_prior == "joint",
    )
    balance = evaluate.balance_metrics(labels, log_assignment)
    scores = confident_scores(problem, log_assignment)
    entries = {
        "labels": labels,
        "log_assignment": log_assignment,
        "latent_mean": z.mean,
    }
    return entries, scores | finite_means(problem, terms) | balance


def _epoch_metrics(
    problem: Problem, networks: GmvaeNetworks, scored: np.ndarray, state: TrainState
) -> Metrics:
    """Metrics of assignments, once an epoch.

    Those of training come from the table. Where other rows are scored, those of a test,
    these are inferred, and the accuracy of training is named apart.
    """
    log_assignments = devices.gather(state.table)
    labels = log_assignments.argmax(axis=-1)
    counts = np.bincount(labels, minlength=log_assignments.shape[-1])
    described = {"smallest_share": float(counts.min() / counts.sum())}
    if problem.y is None:
        return described
    y = np.asarray(problem.y)
    if problem.is_test is not None:
        accuracy = metrics.clustering_accuracy(y[problem.trained], labels)
        described["training_accuracy"] = accuracy
        *_, inferred = infer(networks, state.params, state.collections, scored)
        log_assignments = np.asarray(inferred)
        labels = log_assignments.argmax(axis=-1)
    y = y[problem.scored]
    return described | {
        "accuracy": metrics.clustering_accuracy(y, labels),
        "confident_label_accuracy": metrics.most_confident_label_accuracy(
            y, log_assignments
        ),
    }


def samples_per_cluster(
    model: Model, num_samples: int, seed: int = 0, w: np.ndarray | None = None
) -> np.ndarray:
    """E[x | z] at z drawn from p(z | w, c), shape [K, M, D].

    Args:
      model: a trained one.
      num_samples: M.
      seed: of the draws.
      w: of all samples, shape [1, w_dim], as figure 5a has it at 0; by default each
        has its own, drawn from the prior.
    """
    w_key, z_key = jax.random.split(jax.random.key(seed))
    if w is None:
        w = jax.random.normal(w_key, (num_samples, model.preset.w_dim))
    shape = (num_samples, model.preset.w_dim)
    components = _components_of(model, jnp.broadcast_to(w, shape))
    eps = jax.random.normal(z_key, components.mean.shape)
    return _decoded(model, sample_gaussian(components, eps))


def style_traversals(model: Model, num_steps: int = 10, seed: int = 0) -> np.ndarray:
    """Figure 5b: E[x | z] at the components' means while w moves, [K, num_steps, D].

    w goes along the arc cos(t) u + sin(t) v, t from 0 to pi / 2, between two draws u
    and v of its prior, which stays as far from 0 as they are.
    """
    u, v = jax.random.normal(jax.random.key(seed), (2, 1, model.preset.w_dim))
    t = jnp.linspace(0.0, 0.5 * jnp.pi, num_steps)[:, None]
    return _decoded(model, _components_of(model, jnp.cos(t) * u + jnp.sin(t) * v).mean)


def _components_of(model: Model, w: np.ndarray) -> Gaussian:
    """p(z | w, c) at each w [M, w_dim], fields [K, M, L]."""
    mixtures = model.networks.components(model.params, w)
    return Gaussian(*(jnp.swapaxes(field, 0, 1) for field in mixtures))


def _decoded(model: Model, z: jax.Array) -> np.ndarray:
    """E[x | z] of z [K, M, L], shape [K, M, D]."""
    decoded = model.decode(z.reshape(-1, z.shape[-1]))
    return decoded.reshape(*z.shape[:2], -1)


def uniform_log_weights(num_clusters: int) -> jax.Array:
    """ln pi_k = -ln K, as section 3.1 of GMVAE fixes it."""
    return jnp.full(num_clusters, -np.log(num_clusters), jnp.float32)


def _normals_of_batch(key, batch_size):
    """Two functions from a shape to standard normal arrays [B, *shape]."""
    return tuple(
        lambda shape, key=key: jax.random.normal(key, (batch_size, *shape))
        for key in jax.random.split(key)
    )


def _normals_of_rows(key, x):
    """The same, a row's draws by its own values alone."""
    keys = jax.vmap(lambda x: jax.random.split(row_key(key, x)))(x)
    return tuple(
        lambda shape, keys=keys[:, index]: jax.vmap(
            lambda key: jax.random.normal(key, shape)
        )(keys)
        for index in range(2)
    )


def _terms(
    networks,
    likelihood,
    params,
    collections,
    x,
    normals,
    *,
    num_samples,
    train,
    **settings,
):
    """Terms of every point [B] for each of the settings of the bound.

    normals draw, for z and for w, arrays [B, ...] from the standard normal.
    """
    (z_posterior, w_posterior), recognition = networks.recognize(
        params, collections, x, train
    )

    def draw(posterior, normal):
        eps = normal((num_samples, posterior.mean.shape[1]))
        return jax.vmap(jax.vmap(sample_gaussian, (None, 0)))(posterior, eps)

    z_normal, w_normal = normals
    z, w = draw(z_posterior, z_normal), draw(w_posterior, w_normal)

    def unflatten(tree):
        return jax.tree.map(
            lambda leaf: leaf.reshape(len(x), num_samples, *leaf.shape[1:]), tree
        )

    decoded, collections = networks.decode(
        params, recognition, z.reshape(-1, z.shape[-1]), train
    )
    mixtures = unflatten(networks.components(params, w.reshape(-1, w.shape[-1])))
    num_clusters = mixtures.mean.shape[2]
    log_weights = uniform_log_weights(num_clusters)
    decoded = unflatten(decoded)

    def bound(information_constraint):
        def of_point(x, decoded, z_posterior, w_posterior, z, mixtures):
            return gmvae.elbo(
                x,
                decoded,
                z_posterior,
                w_posterior,
                z,
                log_weights,
                mixtures,
                likelihood,
                information_constraint,
                **settings,
            )

        return jax.vmap(of_point)(x, decoded, z_posterior, w_posterior, z, mixtures)

    assign = jax.vmap(gmvae.log_assignment, (0, None, 0))
    return bound, assign(z, log_weights, mixtures), collections


@dataclasses.dataclass(frozen=True)
class GmvaeLoss(Loss):
    """Minus the bound of a batch, eq. (4) of GMVAE, or (7) with a constraint.

    The metrics are the terms of the plain bound, so that the cluster prior can be seen
    below the constraint as well (the paper's figure 3). Over Rows, with the table of
    ln p(c | x).

    Attributes:
      networks: the model as pure functions.
      num_samples: M, draws of z and w for a point.
      information_constraint: lambda, in nats.
      joint: see ``losses.gmvae.elbo``.
    """

    networks: GmvaeNetworks
    num_samples: int
    information_constraint: float
    joint: bool

    def __call__(self, params, data, indices, key, collections=()):
        """The value of a batch; see ``training.Loss``."""
        bound, rows, collections = _terms(
            self.networks,
            data.likelihood,
            params,
            collections,
            data.x[indices],
            _normals_of_batch(key, len(indices)),
            num_samples=self.num_samples,
            train=True,
            joint=self.joint,
        )
        constrained, plain = bound(self.information_constraint), bound(0.0)
        weights = data.sample_weight
        objective = batch_mean(constrained.total, weights, indices)
        means = batch_mean(plain, weights, indices)
        metrics = {**means._asdict(), "objective": objective}
        return -objective, StepOutput(metrics, rows=rows, collections=collections)


def in_batches(function: Callable[[Any], Any], rows: Any) -> Any:
    """A function of batches [B, ...] on arrays of N rows, in batches of one size."""
    num_rows = len(jax.tree.leaves(rows)[0])
    size = max(1, min(_BATCH, num_rows))
    num_batches = -(-num_rows // size)

    def fold(leaf):
        # The last batch is filled up with the first rows, which are cut off again.
        padded = jnp.concatenate([leaf, leaf[: num_batches * size - num_rows]])
        return padded.reshape(num_batches, size, *leaf.shape[1:])

    result = jax.lax.map(function, jax.tree.map(fold, rows))
    return jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:num_rows], result
    )


@devices.compiled(static_argnames="networks")
def infer(
    networks: GmvaeNetworks, params: Any, collections: Any, x: np.ndarray
) -> tuple[Gaussian, Gaussian, jax.Array]:
    """Posteriors of z and w, and ln p(c | z, w) of eq. (3) at their means.

    Args:
      networks: the model as pure functions.
      params: of all networks.
      collections: their running statistics, or ().
      x: data, shape [N, D].

    Returns:
      Gaussians with fields [N, L] and [N, w_dim], and log probabilities [N, K].
    """
    return in_batches(lambda x: infer_batch(networks, params, collections, x), x)


def infer_batch(
    networks: GmvaeNetworks, params: Any, collections: Any, x: jax.Array
) -> tuple[Gaussian, Gaussian, jax.Array]:
    """As ``infer``, of one batch x [B, D]."""
    (z, w), _ = networks.recognize(params, collections, x, False)
    mixtures = networks.components(params, w.mean)
    log_weights = uniform_log_weights(mixtures.mean.shape[1])
    assign = jax.vmap(
        lambda z, mixture: gmvae.log_assignment(
            z[None], log_weights, jax.tree.map(lambda field: field[None], mixture)
        )
    )
    return z, w, assign(z.mean, mixtures)


@devices.compiled(static_argnames=("networks", "num_samples", "joint"))
def bound_terms(
    networks: GmvaeNetworks,
    likelihood: Likelihood,
    params: Any,
    collections: Any,
    x: np.ndarray,
    key: jax.Array,
    *,
    num_samples: int,
    joint: bool,
) -> GmvaeTerms:
    """The plain bound of eq. (4) of every point, mean over draws of its own values.

    Args:
      networks: the model as pure functions.
      likelihood: p(x | z).
      params: of all networks.
      collections: their running statistics, or ().
      x: data, shape [N, D].
      key: random key.
      num_samples: M, draws of z and w for a point.
      joint: see ``losses.gmvae.elbo``.

    Returns:
      GmvaeTerms with fields [N], in nats.
    """

    def of_batch(x):
        bound, _, _ = _terms(
            networks,
            likelihood,
            params,
            collections,
            x,
            _normals_of_rows(key, x),
            num_samples=num_samples,
            train=False,
            joint=joint,
        )
        return bound(0.0)

    return in_batches(of_batch, x)
