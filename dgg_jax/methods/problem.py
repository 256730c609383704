"""What a method is given, checked and placed once, and what it answers."""

import dataclasses
import hashlib
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans

from dgg_jax import checks, metrics
from dgg_jax.data.preprocessing import impute, log_normalize
from dgg_jax.log import LOGGER
from dgg_jax.methods.parts import AS_NAMED, Parts
from dgg_jax.placement import devices
from dgg_jax.placement.rows import HostRows, SparseRows, map_blocks, place, threads_for
from dgg_jax.presets import AutoencoderPreset, Preset, TrainingPreset
from dgg_jax.stages import evaluate
from dgg_jax.stages.batch_effects import without_batch_effects
from dgg_jax.stages.confidence import confidence_metrics
from dgg_jax.stages.links import Links
from dgg_jax.training import Metrics, Run, Schedule, State

_SAMPLE = 20_000  # rows on the host, of which the report takes K-means

# Likelihoods whose statistics of sparse rows are sparse.
_OF_SPARSE_ROWS = ("bernoulli", "gaussian")

# A stage draws its random numbers by its number here, whatever the method: methods that
# share a stage and a seed share its result.
_KEYS = (
    "pretrain",
    "graph",
    "initialize",
    "classifier",
    "train",
    "evaluate",
    "embed",
    "cluster",
    "num_clusters",
)


class Outcome(NamedTuple):
    """What a run of a method returns.

    Attributes:
      model: the trained model; None of a method that has none.
      state: the last one, with "labels" [N].
      records: name, seconds and metrics of every stage.
    """

    model: Any
    state: State
    records: list[Metrics]


@dataclasses.dataclass(frozen=True, eq=False)  # arrays compare to no single bool
class Problem:
    """Data to cluster, and everything that is known and wanted.

    Attributes:
      x: rows [N, D], where training takes them from; of rows in batches [N, D + M],
        each followed by the one-hot vector of its batch.
      points: the same [N, D] as distances compare them: of counts the logarithms of
        shares, with an estimate of each value that is missing, and without what a row
        has of its batch.
      misses_values: whether values of x are missing, which are NaN.
      preset: all settings.
      runner: checkpoints and callbacks.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      parts: networks or likelihood in place of those that the preset names.
      neighbors: nearest neighbours that are known, indices and distances [N, k].
      start: a model to train on.
      image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row, or None.
      feature_shape: of one data point before it was flattened, which convolutions need.
      column_scale: [D], what columns were divided by before they came here.
      known: clusters [N] of rows that are known, -1 elsewhere; or None.
      links: pairs of rows that must be together, or must not; or None.
      sample_weight: how much each row counts in what is minimised and in moments, with
        a mean of 1, [N]; None: all alike.
      batch: that a row was measured in, in 0..M-1, int32 [N]; or None.
      is_test: rows [N] that are scored, not trained on; None trains on all and scores
        all.
    """

    x: np.ndarray | SparseRows | HostRows
    points: np.ndarray | SparseRows | HostRows
    misses_values: bool
    preset: Any
    runner: Run
    seed: int = 0
    y: np.ndarray | None = None
    parts: Parts = AS_NAMED
    neighbors: tuple[np.ndarray, np.ndarray] | None = None
    start: Any = None
    image_shape: tuple[int, ...] | None = None
    feature_shape: tuple[int, ...] | None = None
    column_scale: np.ndarray | None = None
    known: np.ndarray | None = None
    links: Links | None = None
    sample_weight: np.ndarray | None = None
    batch: np.ndarray | None = None
    is_test: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        x: np.ndarray | sparse.csr_array | SparseRows | HostRows,
        preset: Preset,
        *,
        runner: Run | None = None,
        neighbors: tuple[np.ndarray, np.ndarray] | None = None,
        image_shape: tuple[int, ...] | None = None,
        sample_weight: np.ndarray | None = None,
        batch: np.ndarray | None = None,
        **known: Any,
    ) -> Self:
        """Checks the data and places them.

        Args:
          x: real numbers, shape [N, D], or a sparse matrix, whose rows a method with an
            autoencoder makes dense by the batch.
          preset: all settings.
          runner: checkpoints and callbacks; by default in memory only.
          neighbors: see ``Problem``.
          image_shape: see ``Problem``.
          sample_weight: how much each row counts, [N], on any scale.
          batch: labels of the batches that rows were measured in, [N].
          **known: other fields of a Problem.

        Raises:
          InvalidInput: if x cannot be clustered so, or something does not fit it.
        """
        likelihood = getattr(preset, "likelihood", None)
        has_counts = preset.has_counts
        by_batch = isinstance(preset, AutoencoderPreset)
        if sparse.issparse(x):
            x = sparse.csr_array(x, dtype=np.float32)
            x = x if by_batch else x.toarray()
        else:
            x = np.asarray(x) if by_batch else np.ascontiguousarray(x, np.float32)
        checks.data_matrix(
            x,
            preset.num_clusters,
            unit_interval=likelihood == "bernoulli",
            may_miss=preset.may_miss,
        )
        misses_values = preset.may_miss and checks.missing(x)
        components = getattr(preset, "principal_components", 0)
        if misses_values and 0 < components < x.shape[1]:
            raise checks.InvalidInput(
                f"principal_components={components} need rows whose values are all "
                "there, and x misses some (NaN); use 0, or impute them."
            )
        if has_counts:
            checks.counts(x)
        if neighbors is not None:
            neighbors = checks.neighbors(*neighbors, num_points=x.shape[0])
        sample_weight = checks.sample_weight(sample_weight, x.shape[0])
        if sample_weight is not None:
            _check_that_enough_count(sample_weight, preset.num_clusters)
        is_test = known.get("is_test")
        if is_test is not None and (
            np.shape(is_test) != (x.shape[0],) or len(set(is_test)) < 2
        ):
            raise checks.InvalidInput(
                f"is_test must mark some but not all of the {x.shape[0]} rows of x, "
                f"got shape {np.shape(is_test)} with "
                f"{np.count_nonzero(is_test)} marked."
            )
        if is_test is not None and sample_weight is not None:
            raise checks.InvalidInput(
                "sample_weight weighs rows of training, with is_test there are others "
                "that are scored; leave one of them out."
            )
        _check_shuffle(preset, x.shape[0])
        if image_shape is not None:
            checks.image_shape(image_shape, x.shape[1], "image_shape")
            image_shape = tuple(map(int, image_shape))
        told = checks.batch(batch, x.shape[0])
        num_batches = 0 if told is None else len(told[1])
        if by_batch:
            x = place(
                x,
                # Of rows in batches there are statistics for each.
                preset.device_memory_share * 2 / (1 + max(1, num_batches)),
                getattr(preset, "num_neighbors", 0),
                may_stay_sparse=likelihood in _OF_SPARSE_ROWS,
            )
        precision = getattr(preset, "precision", "float32")
        if precision != "float32" and jax.default_backend() == "cpu":
            LOGGER.warning(
                "precision=%s: a CPU computes in float32 all the same.", precision
            )
        points = x
        if misses_values:
            points = _estimated(x, known.get("parts", AS_NAMED))
        elif has_counts:
            on_host = isinstance(x, HostRows)
            points = log_normalize(x.source if on_host else x)
            points = HostRows(points) if on_host else points
        batch = None
        if told is not None:
            batch = told[0]
            x, points = _in_batches(x, points, batch, known.get("seed", 0))
            parts = known.get("parts", AS_NAMED)
            known["parts"] = dataclasses.replace(parts, num_batches=num_batches)
        return cls(
            x,
            points,
            misses_values,
            preset,
            runner or Run(),
            neighbors=neighbors,
            image_shape=image_shape,
            sample_weight=sample_weight,
            batch=batch,
            **known,
        )

    @property
    def num_batches(self) -> int:
        """M, of the batches that rows were measured in; 0 if there are none."""
        return self.parts.num_batches

    @property
    def num_features(self) -> int:
        """D, columns of the data."""
        return self.x.shape[1] - self.num_batches

    def batch_identity(self) -> Metrics:
        """What depends on batches depends on, for runs that share it."""
        if self.batch is None:
            return {}
        return {"batch": hashlib.sha256(self.batch.tobytes()).hexdigest()}

    def without_batch_effects(self, points: np.ndarray) -> np.ndarray:
        """Points of all rows [N, M] without what they have of batches, if any."""
        if self.batch is None:
            return points
        return without_batch_effects(points, self.batch, self.seed)

    @property
    def trained(self) -> np.ndarray:
        """Which rows are trained on, [N]."""
        if self.is_test is None:
            return np.ones(self.x.shape[0], bool)
        return ~np.asarray(self.is_test)

    @property
    def scored(self) -> np.ndarray:
        """Which rows are scored, [N]: those of the test, or all."""
        return self.trained if self.is_test is None else ~self.trained

    def key(self, stage: str) -> jax.Array:
        """The random key of a stage."""
        return jax.random.fold_in(jax.random.key(self.seed), _KEYS.index(stage))

    def numpy_seed(self, stage: str, restart: int = 0) -> int:
        """The seed of what numpy and scikit-learn draw in a stage."""
        entropy = (self.seed, _KEYS.index(stage), restart)
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def kmeans(self, stage: str) -> KMeans:
        """K-means of as many starts as the preset's restarts, drawn by a stage."""
        return KMeans(
            self.preset.num_clusters,
            n_init=self.preset.restarts,
            random_state=self.numpy_seed(stage),
        )

    def scores(self, labels: np.ndarray | None) -> Metrics:
        """ACC, NMI and ARI of labels [N]; None without true ones."""
        return evaluate.label_metrics(self.y, labels)


def _check_that_enough_count(sample_weight: np.ndarray, num_clusters: int) -> None:
    """Refuses more clusters than rows that have a weight.

    Raises:
      InvalidInput: naming both.
    """
    count = np.count_nonzero(sample_weight)
    if count < num_clusters:
        raise checks.InvalidInput(
            f"num_clusters={num_clusters} exceeds the {count} rows whose sample_weight "
            "is above 0; ask for fewer clusters."
        )


def _in_batches(
    x: np.ndarray | SparseRows | HostRows,
    points: np.ndarray,
    batch: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows, each followed by the one-hot vector of its batch, and points without it.

    Raises:
      InvalidInput: if the rows do not lie on the device, dense.
    """
    if not isinstance(x, np.ndarray):
        raise checks.InvalidInput(
            "with batch, x and the statistics of each batch must fit into "
            "device_memory_share of the device's memory, and do not; keep fewer "
            "columns, raise it, or use a device with more."
        )
    return with_batches(x, batch), without_batch_effects(points, batch, seed)


def with_batches(
    x: np.ndarray, batch: np.ndarray, num_batches: int | None = None
) -> np.ndarray:
    """Rows x [N, D], each followed by the one-hot vector of its batch, [N, D + M].

    Args:
      x: dense.
      batch: in 0..M-1, [N].
      num_batches: M; None: all are there.
    """
    one_hot = np.eye(num_batches or batch.max() + 1, dtype=np.float32)[batch]
    return np.concatenate([x, one_hot], axis=1)


def _estimated(x: np.ndarray | SparseRows | HostRows, parts: Parts) -> np.ndarray:
    """Rows with an estimate of each value that is missing.

    Raises:
      InvalidInput: if rows that miss values are of a kind, or parts, that cannot.
    """
    if parts.own:
        raise checks.InvalidInput(
            f"x misses values, which {parts.own[0]}, a part of your own, does not know "
            "of; impute them, or leave it out."
        )
    if not isinstance(x, np.ndarray):
        raise checks.InvalidInput(
            "x misses values and is too large for device_memory_share of the device's "
            "memory; impute them."
        )
    return impute(x)


def clustered(problem: Problem, labels: np.ndarray) -> tuple[State, Metrics]:
    """What a last stage returns of hard clusters [N]: the scores, and any collapse."""
    log_assignment = evaluate.log_one_hot(labels, problem.preset.num_clusters)
    balance = evaluate.balance_metrics(labels, log_assignment)
    return {"labels": labels}, problem.scores(labels) | balance


def softly_clustered(
    problem: Problem, log_assignment: np.ndarray
) -> tuple[State, Metrics]:
    """As ``clustered``, of ln gamma [N, K], which tells the labels."""
    labels = log_assignment.argmax(axis=1).astype(np.int32)
    balance = evaluate.balance_metrics(labels, log_assignment)
    confidence = confidence_metrics(problem.y, labels, np.exp(log_assignment))
    entries = {"labels": labels, "log_assignment": log_assignment}
    return entries, problem.scores(labels) | balance | confidence


def confident_scores(problem: Problem, log_assignment: np.ndarray) -> Metrics:
    """ACC, NMI, ARI and GMVAE's own score (erratum E62), never mixed.

    Args:
      problem: tells which rows are scored.
      log_assignment: ln gamma of all rows, [N, K].
    """
    labels = log_assignment.argmax(axis=1).astype(np.int32)
    if problem.y is None:
        confidence = confidence_metrics(None, labels, np.exp(log_assignment))
        return problem.scores(None) | {"confident_label_accuracy": None} | confidence
    scored = problem.scored
    y, log_assignment = np.asarray(problem.y)[scored], log_assignment[scored]
    scores = evaluate.label_metrics(y, labels[scored])
    scores |= confidence_metrics(y, labels[scored], np.exp(log_assignment))
    # By logarithms: many probabilities are 1 in float32.
    confident = metrics.most_confident_label_accuracy(y, log_assignment)
    return scores | {"confident_label_accuracy": confident}


def _check_shuffle(preset: Preset, num_points: int) -> None:
    """Checks before any work that all batches can be of the devices' own rows."""
    if getattr(preset, "shuffle", "all") != "device":
        return
    for field in dataclasses.fields(preset):
        if field.name.endswith("batch_size"):
            size = getattr(preset, field.name)
            devices.check_own_batches(field.name, size, num_points)


def training_schedule(preset: TrainingPreset) -> Schedule:
    """The schedule of a method's own training."""
    return Schedule(
        preset.epochs,
        preset.batch_size,
        preset.learning_rate,
        decay=preset.decay,
        decay_epochs=preset.decay_epochs,
        weight_decay=preset.weight_decay,
        floor=getattr(preset, "learning_rate_floor", 0.0),
        optimizer=preset.optimizer,
        shuffle=preset.shuffle,
    )


def kmeans_metrics(
    problem: Problem, embedding: np.ndarray | HostRows, stage: str
) -> Metrics:
    """What K-means of an embedding reaches: for the report, if there are labels.

    Of HostRows, the means are those of a sample.
    """
    if problem.y is None:
        return problem.scores(None)
    seed = problem.numpy_seed(stage)
    kmeans = KMeans(problem.preset.num_clusters, n_init=3, random_state=seed)
    weights = problem.sample_weight
    if not isinstance(embedding, HostRows):
        with threads_for(len(embedding)):
            return problem.scores(kmeans.fit_predict(embedding, sample_weight=weights))
    sample = np.random.default_rng(seed).permutation(len(embedding))[:_SAMPLE]
    sample.sort()  # a disk is read in order
    weights = None if weights is None else weights[sample]
    kmeans.fit(embedding[sample], sample_weight=weights)
    return problem.scores(map_blocks(kmeans.predict, embedding))
