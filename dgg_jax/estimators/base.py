"""What all estimators share: fit, predict, transform, save."""

import contextlib
import dataclasses
import difflib
import functools
import inspect
import numbers
import os
import pathlib
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import numpy as np
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    clone,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    _num_samples,
    check_is_fitted,
    validate_data,
)

from dgg_jax import checks, methods, metrics, presets
from dgg_jax.data.preprocessing import Scaling, advice_on_scale, check_offset
from dgg_jax.estimators import resuming
from dgg_jax.estimators.inputs import (
    as_array,
    as_float32,
    as_matrix,
    no_number_named,
    shape_of_images,
)
from dgg_jax.log import LOGGER, tell
from dgg_jax.methods import Parts
from dgg_jax.placement import forks
from dgg_jax.progress import Progress
from dgg_jax.stages import cluster_count
from dgg_jax.stages.stability import Stability, repetitions, stability
from dgg_jax.storage import saving
from dgg_jax.training import Diverged, Metrics, Run, State
from dgg_jax.types import Gaussian, Graph
from dgg_jax.version import __version__

if TYPE_CHECKING:
    from dgg_jax.estimators.pictures import Pictures

# (stage, epoch, metrics) -> whether that training loop shall end
Callback = Callable[[str, int, Metrics], bool | None]

_CHECKPOINT_SECONDS = 30.0  # least time between two checkpoints of a loop
_PACKAGE = "dgg_jax.estimators."
SHIFT_AND_SCALE = ("shift", "scale")  # the arrays of a saved Scaling
# What a fitted estimator has said of the rows of its training.
_LEARNED = (
    *("labels_", "probabilities_", "raw_probabilities_"),
    *("embedding_", "elbo_", "graph_", "batch_"),
)


class Clusterer(ClusterMixin, BaseEstimator):
    """What all estimators share.

    A fitted one keeps ``_state``, the arrays of its model, which ``save`` writes.
    """

    _method: ClassVar[str]
    _model_entries: tuple[str, ...] = ("model",)
    _soft = True  # whether clusters have probabilities
    _takes_sparse = False  # whether sparse rows may stay so
    _preprocessing = "none: rows of training as they were given"
    _scaling: Scaling | None = None  # of the file that the command line trained on

    n_clusters: Any
    preset: Any
    random_state: Any
    verbose: Any
    callbacks: Any
    labels_: np.ndarray
    batches_: tuple[str, ...] | None = None

    def __new__(cls, *given: Any, **named: Any) -> Self:
        """Refuses unknown arguments with the class and the name that may be meant."""
        _, *known = parameters = inspect.signature(cls.__init__).parameters
        passes_on = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        for name in named:
            if name not in known and not passes_on:  # as a subclass of a user's may
                near = difflib.get_close_matches(name, known, n=1)
                remedy = f"help({cls.__name__}) lists them."
                if near:
                    remedy = f"did you mean {near[0]!r}?"
                raise TypeError(f"{cls.__name__} has no argument {name!r}; {remedy}")
        return super().__new__(cls)

    def _store(self, arguments: dict[str, Any]) -> None:
        """Keeps what the constructor was given, each under its name, unchanged."""
        arguments.pop("self")
        vars(self).update(arguments)

    @property
    def _takes_missing(self) -> bool:
        """Whether NaN stands for a value that is missing."""
        return presets.preset_class(self._method).takes_missing

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """The arguments of the constructor that are settings of the method."""
        known = presets.settings(presets.preset_class(cls._method))
        return tuple(name for name in cls._get_param_names() if name in known)

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch: Any = None,
        checkpoint_dir: str | os.PathLike | None = None,
    ) -> Self:
        """Trains on the rows of X.

        Args:
          X: array or tensor of any library, scipy.sparse matrix or data frame, shape
            [N, D], images [N, H, W] or [N, H, W, C], a list or column of arrays, or an
            AnnData object; values in [0, 1] for the Bernoulli likelihood.
          y: not used.
          sample_weight: how much each row counts, [N], at least 0, on any scale; None:
            all alike. It multiplies what a row adds to what is minimised; those of
            SpectralNet, CatGAN, AAE and LTVAE, which cannot, must not differ.
          batch: that each row was measured in, [N], for DGG and VaDE; others refuse
            several.
          checkpoint_dir: a folder for checkpoints: the same fit with the same folder
            goes on where it was interrupted, to the same bits.

        Returns:
          The fitted estimator.

        Raises:
          ValueError: if X, sample_weight, batch, checkpoint_dir or a setting cannot be
            used; before any work.
          OSError: if checkpoint_dir cannot be written.
          dgg_jax.training.Diverged: if a loss is not finite.
        """
        arguments = {"batch": batch, **self._arguments()}
        return self._fit(X, sample_weight, checkpoint_dir, **arguments)

    def fit_predict(self, X: Any, y: Any = None, **told: Any) -> np.ndarray:
        """As ``fit`` and then ``labels_``: the cluster of each row, int32 [N].

        Args:
          X: see ``fit``.
          y: see ``fit``.
          **told: further arguments of ``fit``.

        Raises:
          ValueError: see ``fit``.
        """
        return self.fit(X, y, **told).labels_

    def _arguments(self) -> dict[str, Any]:
        """What the method's ``run`` is told besides data, preset and seed."""
        return {}

    def _fit(
        self,
        X: Any,
        sample_weight: Any,
        checkpoint_dir: str | os.PathLike | None,
        **known: Any,
    ) -> Self:
        with contextlib.ExitStack() as opened:
            opened.enter_context(_k_as_n_clusters())
            opened.enter_context(self._as_before_if_not_done())
            X = as_array(X)
            x = self._rows(X, reset=True)
            known["sample_weight"] = checks.sample_weight(sample_weight, x.shape[0])
            known, batches = self._with_batch(known, x.shape[0])
            estimates, num_clusters = self._num_clusters(known.get("start"))
            given = getattr(self, "image_shape", None)
            shown = shape_of_images(X) if given is None else given
            known |= {k: shown for k in ("image_shape", "feature_shape") if k in known}
            image_shape = shown if hasattr(self, "image_shape") else None
            preset = self._preset(x, num_clusters, image_shape, known.get("start"))
            if given is None and image_shape is not None:
                _say_what_is_warped(preset, image_shape)
            if not getattr(self, "warm_start", False):
                self._preprocessing = Clusterer._preprocessing
                self._scaling = None
            method, seed = methods.method(self._method), self._seed()
            stages, shared, folder = method.stages, None, None
            claim = lambda: None  # noqa: E731
            if checkpoint_dir is not None:
                if not isinstance(self.random_state, numbers.Integral):
                    raise checks.InvalidInput(
                        "checkpoint_dir needs an integer random_state, lest a fit that "
                        f"goes on is another; got {self.random_state!r}."
                    )
                folder = pathlib.Path(checkpoint_dir).expanduser()
                told = resuming.identity(type(self).__name__, x, preset, seed, known)
                claim = functools.partial(resuming.claim, folder, told)
            if estimates:
                least = self._least_clusters(known, x.shape[0])
                stages = ("num_clusters", *stages)
                shared = opened.enter_context(tempfile.TemporaryDirectory())
            progress = Progress(stages, say=tell) if self.verbose else None
            if progress:
                opened.callback(progress.close)
            runner = Run(
                folder,
                shared=shared if folder is None else folder / "shared",
                on_lock=claim,
                checkpoint_seconds=_CHECKPOINT_SECONDS,
                on_epoch=self._on_epoch(progress),
                on_stage=progress.stage if progress else None,
            )
            opened.callback(runner.close)
            if progress:
                progress.resume(runner.records)
            if estimates:
                # What K does not depend on.
                others = ("start", "known", "must_link", "cannot_link")
                networks = {k: v for k, v in known.items() if k not in others}
                count = method.count_clusters(x, preset, runner, seed=seed, **networks)
                if not count.is_plateau:
                    warnings.warn(count.describe(), stacklevel=3)
                if least > count.num_clusters:
                    LOGGER.info(
                        f"{least} clusters: y knows of so many, HDBSCAN finds "
                        f"{count.num_clusters}."
                    )
                num_clusters = max(count.num_clusters, least)
                preset = self._preset(x, num_clusters, image_shape)
            _, state, records = method.run(x, preset, seed=seed, runner=runner, **known)
        self.batches_ = batches  # which the model that is kept next consists of
        is_image = shown is not None and checks.is_image(shown)
        self.image_shape_ = tuple(map(int, shown)) if is_image else None
        self._keep(preset, state, records, runner.history)
        if batches is not None:
            self.batch_ = known["batch"]
        thin = metrics.thin_clusters(self.labels_, preset.num_clusters)
        if thin:
            text = metrics.collapse_warning(thin, preset.num_clusters)
            text += "" if preset.has_counts else advice_on_scale(x)
            warnings.warn(text, ConvergenceWarning, stacklevel=3)
        return self

    @contextlib.contextmanager
    def _as_before_if_not_done(self) -> Iterator[None]:
        """A fit that fails, or is interrupted, leaves a fitted model as it was."""
        names = ("n_features_in_", "feature_names_in_", "_preprocessing", "_scaling")
        before = {name: vars(self)[name] for name in names if name in vars(self)}
        try:
            yield
        except BaseException:
            for name in names:
                vars(self).pop(name, None)
            vars(self).update(before)
            raise

    def _with_batch(
        self, known: dict[str, Any], num_rows: int
    ) -> tuple[dict[str, Any], tuple[str, ...] | None]:
        """What a method is told, batches as integers; and what these stand for."""
        known = {**known}
        told = known.pop("batch", None)
        if "batch" not in methods.method(self._method).told:
            checks.no_batch(told, num_rows, type(self).__name__)
            return known, None
        start = known.get("start")
        found = checks.batch(told, num_rows, self.batches_ if start else None)
        if found is None:
            return known, None
        return known | {"batch": found[0]}, found[1]

    def _num_clusters(self, start: Any) -> tuple[bool, int]:
        """Whether K is to be estimated; and K, a stand-in until then."""
        if not isinstance(self.n_clusters, str):
            return False, self.n_clusters
        counts_clusters = presets.preset_class(self._method).counts_clusters
        if self.n_clusters != "auto" or not counts_clusters:
            also = " or 'auto'" * counts_clusters
            raise checks.InvalidInput(
                f"n_clusters must be an integer{also}, got {self.n_clusters!r}; "
                "DGG(n_clusters='auto') estimates it."
            )
        if start is None:
            return True, cluster_count.UNKNOWN
        return False, start.preset.num_clusters

    def _least_clusters(self, known: dict[str, Any], num_rows: int) -> int:
        """The least K that serves what ``fit`` is told, which is checked here."""
        del known, num_rows
        return 1

    def _rows(self, X: Any, *, reset: bool) -> np.ndarray | sparse.csr_array:
        X = as_matrix(X)
        # What float32 does not hold is looked at in float64 before it is cast.
        kind = getattr(X, "dtype", np.float64)
        if getattr(kind, "kind", "") in tuple("mM"):
            raise checks.InvalidInput(
                f"X must be numbers, got {kind}; give the time since a date, as "
                "(X - X.min(axis=0)) / np.timedelta64(1, 'D')."
            )
        is_number = isinstance(kind, np.dtype) and kind.kind in "biuf"
        is_exact = is_number and np.result_type(kind, np.float32) == np.float32
        with no_number_named(X):
            X = validate_data(
                self,
                X,
                reset=reset,
                accept_sparse="csr",
                dtype=np.float32 if is_exact else (np.float64, np.float32),
                order="C",
                ensure_all_finite="allow-nan" if self._takes_missing else True,
                ensure_min_samples=2 if reset else 1,
            )
        rows = as_float32(X)
        self._check_rows(X, reset)
        has_counts = getattr(self, "likelihood", None) == "negative_binomial"
        if reset and not has_counts and not sparse.issparse(X):
            names = getattr(self, "feature_names_in_", None)
            pipeline = f"make_pipeline(StandardScaler(), {type(self).__name__}())"
            check_offset(X, names, f"scale it, as by {pipeline}")
        if not sparse.issparse(rows):
            return np.asarray(rows)
        return sparse.csr_array(rows) if self._takes_sparse else rows.toarray()

    def _check_rows(self, X: np.ndarray | sparse.spmatrix, reset: bool) -> None:
        """Refuses rows that miss values, or are no counts, where the model needs them.

        Raises:
          InvalidInput: naming the first value.
        """
        of_columns = reset and not sparse.issparse(X) and self._takes_missing
        if of_columns:
            checks.missing(X)
        if reset or not self._takes_missing:
            return
        if self.preset_.has_counts:
            checks.counts(X, may_be_empty=True)
        if not sparse.issparse(X):
            checks.empty_rows(X)
        values = X.data if sparse.issparse(X) else X
        own = bool(self._parts().own)
        if values.size and checks.has_nan(values) and (own or sparse.issparse(X)):
            what = "parts of your own do" if own else "sparse rows may"
            raise checks.InvalidInput(
                f"X misses values (NaN), which {what} not; impute them."
            )

    def _preset(
        self,
        x: np.ndarray,
        num_clusters: int,
        image_shape: Sequence[int] | None = None,
        start: Any = None,
    ) -> presets.Preset:
        settings = {name: getattr(self, name) for name in self.settings()}
        for name in ("hidden_sizes", "principal_components"):
            if start is not None and settings.get(name, 0) is None:
                # Networks are as they were, whatever the data are now.
                settings[name] = getattr(start.preset, name)
        if not isinstance(settings.get("likelihood"), str | None):
            settings["likelihood"] = None
        return presets.for_data(
            self._method,
            x,
            num_clusters,
            image_shape=image_shape,
            name=self.preset,
            **settings,
        )

    def _seed(self) -> int:
        if isinstance(self.random_state, numbers.Integral):
            checks.in_range("random_state", self.random_state, 0, 2**32 - 1)
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _on_epoch(self, progress: Progress | None) -> Callable[..., bool]:
        callbacks = self.callbacks
        if callbacks is None or callable(callbacks):
            callbacks = [] if callbacks is None else [callbacks]
        if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
            raise checks.InvalidInput(
                "callbacks must be a function of (stage, epoch, metrics) or a list of "
                f"them, got {callbacks!r}."
            )

        def on_epoch(stage, loop, epoch, num_epochs, metrics):
            if progress:
                progress.epoch(stage, loop, epoch, num_epochs, metrics)
            if not metrics:  # a computation that is no training
                return False
            # Every callback hears of every epoch.
            return any(
                [call(stage, epoch, {"loop": loop} | metrics) for call in callbacks]
            )

        return on_epoch

    def _keep(
        self,
        preset: presets.Preset,
        state: State,
        records: Sequence[Metrics],
        history: Sequence[Metrics],
    ) -> None:
        """Becomes a fitted estimator by the last state of a run."""
        learned = {"labels_": state["labels"]}
        if "log_assignment" in state:
            learned["probabilities_"] = np.exp(state["log_assignment"])
        if "raw_log_assignment" in state:
            learned["raw_probabilities_"] = np.exp(state["raw_log_assignment"])
        if "latent_mean" in state:
            learned["embedding_"] = state["latent_mean"]
        if "elbo" in state:
            learned["elbo_"] = state["elbo"]
        if "graph" in state:
            learned["graph_"] = state["graph"]
        model = {name: state[name] for name in self._model_entries if name in state}
        self._set(preset, model, learned, list(records), list(history))

    def _set(
        self,
        preset: presets.Preset,
        model: State,
        learned: State,
        records: list[Metrics],
        history: list[Metrics],
    ) -> None:
        """Sets the attributes of a fitted estimator, after a run or from a folder."""
        self.preset_, self.stages_, self.history_ = preset, records, history
        self.n_clusters_ = preset.num_clusters
        own = ("train", "train"), ("train", self._method)  # stage and loop
        self.n_iter_ = sum(
            (one["stage"], one["loop"].partition("_")[0]) in own for one in history
        )
        self._state = model
        for name in ("confidence_", *_LEARNED):  # of a former fit
            vars(self).pop(name, None)
        for name, value in learned.items():
            setattr(self, name, Graph(**value) if name == "graph_" else value)
        if "probabilities_" in learned:
            self.confidence_ = self.probabilities_.max(axis=1)
        if "embedding_" in learned:
            self._n_features_out = self.embedding_.shape[1]

    @property
    def model_(self) -> Any:
        """The trained model, for ``dgg_jax.methods`` and one's own jax code."""
        check_is_fitted(self)
        forks.check()
        parts, batches = self._parts(), self.batches_
        if batches is not None:
            parts = dataclasses.replace(parts, num_batches=len(batches))
        return methods.method(self._method).model_of(
            self.preset_, self.n_features_in_, self._state, parts
        )

    def _parts(self) -> Parts:
        """Networks and likelihood of the user's own."""
        return Parts()

    def _infer(self, X: Any, **told: Any) -> tuple[Any, np.ndarray]:
        """Latents and ln q(c | x) of the rows of X; told: of batches, see below."""
        check_is_fitted(self)
        x = self._rows(X, reset=False)
        inferred = self.model_.infer(x, **self._told(x.shape[0], **told))
        for values in jax.tree.leaves(inferred):
            finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            if not finite.all():
                raise checks.InvalidInput(
                    f"the model says nothing finite of row {finite.argmin()} of X, "
                    "whose values lie far outside those of training; leave it out."
                )
        return inferred

    def _told(self, num_rows: int) -> dict[str, Any]:
        """What the model takes beside rows."""
        del num_rows
        return {}

    def _try(self) -> None:
        """Uses the model once: whether arrays and settings fit shows in no other way.

        Raises:
          Exception: of any kind, if they do not.
        """
        told = {} if self.batches_ is None else {"batch": self.batches_[:1]}
        with warnings.catch_warnings():  # names of columns that a row of 0 has not
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            self.predict(np.zeros((1, self.n_features_in_), np.float32), **told)

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of each row, int32 of shape [N]; new rows need no graph.

        Args:
          X: rows scaled as in training, shape [N, D].

        Raises:
          ValueError: if X has other columns than in training.
        """
        return self._infer(X)[1].argmax(axis=1).astype(np.int32)

    @available_if(lambda self: self._soft)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the clusters, shape [N, K]; every row sums to 1.

        Args:
          X: rows scaled as in training, shape [N, D].

        Raises:
          ValueError: if X has other columns than in training.
        """
        return np.exp(self._infer(X)[1])

    @available_if(lambda self: self._soft)
    def rows_to_check(self, n_rows: int = 20) -> np.ndarray:
        """The rows of training whose clusters are least sure, the least sure first.

        Args:
          n_rows: how many, if there are so many.

        Returns:
          Their indices, int64 of shape [n_rows]; ``confidence_`` says how sure.

        Raises:
          ValueError: if n_rows is below 1.
        """
        check_is_fitted(self)
        checks.of_type("n_rows", n_rows, int)
        checks.in_range("n_rows", n_rows, 1)
        return np.argsort(self.confidence_, kind="stable")[:n_rows]

    def stability(self, X: Any, n_repeats: int = 5, batch: Any = None) -> Stability:
        """Fits copies of this estimator to parts of X, and compares the clusters.

        Each copy has another seed and four fifths of the rows, at random. It takes
        n_repeats times as long as ``fit``. Neighbours, weights, known clusters and
        links that ``fit`` was given are not theirs. A copy that cannot be fitted, as
        where its rows have fewer different ones than clusters, is left out, and a
        warning says why.

        Args:
          X: the rows of training, as they were given to ``fit``.
          n_repeats: how many copies.
          batch: as ``fit`` was given it; None: what it was given.

        Returns:
          ``agreement``, the mean adjusted Rand index, ``clusters``, of each cluster how
          much of it is found again [K], and ``consensus``, what all of them have in
          common [N]: ``dgg_jax.stages.stability.Stability``.

        Raises:
          ValueError: if X has other rows or columns than in training, batch is not
            that of training, n_repeats is below 1, or no copy can be fitted.
        """
        check_is_fitted(self)
        checks.of_type("n_repeats", n_repeats, int)
        checks.in_range("n_repeats", n_repeats, 1)
        X = as_array(X)
        X = X.tocsr() if sparse.issparse(X) else X  # of which rows can be taken
        num_rows = _num_samples(X)
        if num_rows != len(self.labels_):
            raise checks.InvalidInput(
                f"X must be the {len(self.labels_):,} rows of training, got "
                f"{num_rows:,} rows."
            )
        validate_data(self, as_matrix(X), reset=False, skip_check_array=True)
        batch = self._batch_of_training(batch)
        repeated = []
        for seed, rows in repetitions(num_rows, n_repeats, self._seed()):
            copy = clone(self).set_params(
                n_clusters=self.preset_.num_clusters, random_state=seed
            )
            told = {} if batch is None else {"batch": batch[rows]}
            try:
                copy.fit(_safe_indexing(X, rows), **told)
            except (checks.InvalidInput, Diverged) as error:
                failed = error
                warnings.warn(f"a repetition is left out: {error}", stacklevel=2)
                continue
            repeated.append((rows, copy.labels_))
        if not repeated:
            raise failed
        labels = self.labels_
        if (labels < 0).any():  # outliers, which are in clusters of the repetitions
            labels = self.probabilities_.argmax(axis=1)
        return stability(labels, repeated, self.preset_.num_clusters)

    def _batch_of_training(self, batch: Any) -> np.ndarray | None:
        """The batch of each row of training as text [N], or None if there was none.

        Raises:
          InvalidInput: if another one is told.
        """
        if self.batches_ is None:
            if checks.batch(batch, len(self.labels_)) is not None:
                raise checks.InvalidInput(
                    "the model was fitted without batch; leave it out, or fit with "
                    "batch."
                )
            return None
        if batch is not None:
            codes, _ = checks.batch(batch, len(self.labels_), self.batches_)
            wrong = codes != self.batch_
            if wrong.any():
                row = int(wrong.argmax())
                raise checks.InvalidInput(
                    f"batch must be that of training, row {row} has "
                    f"{self.batches_[codes[row]]!r} and had "
                    f"{self.batches_[self.batch_[row]]!r}; leave it out."
                )
        return np.array(self.batches_)[self.batch_]

    def annotate(self, adata: Any, key: str | None = None) -> None:
        """Writes what was learned of the rows of training into an AnnData object.

        Args:
          adata: with the cells that were given to ``fit``, in their order.
          key: what the entries are named after; by default the method, as ``dgg``:
            ``obs["dgg"]`` has the clusters, missing for outliers;
            ``obs["dgg_confidence"]`` and ``obsm["X_dgg"]``, the embedding, are there
            where the method has them; ``uns["dgg"]`` has settings, sizes and version.

        Raises:
          ValueError: if adata has another number of cells.
        """
        check_is_fitted(self)
        import pandas as pd  # which anndata has brought

        if not hasattr(adata, "obsm"):
            raise checks.InvalidInput(
                f"adata must be an AnnData object, got {type(adata).__name__}; labels_ "
                "and embedding_ have what it would be given."
            )
        if adata.n_obs != len(self.labels_):
            raise checks.InvalidInput(
                f"adata must have the {len(self.labels_):,} rows of training, got "
                f"{adata.n_obs:,}; predict(adata) has the clusters of others."
            )
        key = self._method if key is None else key
        names = [str(cluster) for cluster in range(self.n_clusters_)]
        adata.obs[key] = pd.Categorical.from_codes(self.labels_, names)
        if hasattr(self, "confidence_"):
            adata.obs[f"{key}_confidence"] = self.confidence_
        if hasattr(self, "embedding_"):
            adata.obsm[f"X_{key}"] = self.embedding_
        settings = dataclasses.asdict(self.preset_).items()
        adata.uns[key] = {
            # What .h5ad files hold: no None, and arrays in place of tuples.
            "params": {
                name: np.asarray(value) if isinstance(value, tuple | list) else value
                for name, value in settings
                if value is not None
            },
            "sizes": adata.obs[key].value_counts(sort=False).to_numpy(),
            "version": __version__,
        }

    @property
    def plot(self) -> "Pictures":
        """Pictures: ``plot.latents()``, ``confusion(y)``, ``samples()``, ``curves()``.

        And ``graph()``. They return figures of matplotlib, which notebooks show:
        ``dgg_jax.estimators.pictures.Pictures``.
        """
        check_is_fitted(self)
        from dgg_jax.estimators.pictures import Pictures  # matplotlib takes its time

        return Pictures(self)

    def report(
        self,
        path: str | os.PathLike,
        X: Any,
        y: Any = None,
        *,
        names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> pathlib.Path:
        """Writes one HTML page: clusters, a map of all rows, rows to check, figures.

        It embeds all that it shows and requests nothing.

        Args:
          path: the file to write, as "report.html".
          X: the rows of training, as they were given to ``fit``.
          y: true classes of the rows, [N], numbers or names, or None.
          names: of the rows, N strings; by default the index of a data frame's, if it
            holds strings.
          class_names: names of the classes 0, 1, ...

        Returns:
          The path.

        Raises:
          ValueError: if X is not the rows of training, or y or names have another
            length.
          OSError: if the file cannot be written.
        """
        check_is_fitted(self)
        from dgg_jax.estimators.reporting import write  # matplotlib takes its time

        return write(self, pathlib.Path(path), X, y, names, class_names)

    def _repr_html_inner(self) -> str:
        diagram = super()._repr_html_inner()
        if not hasattr(self, "labels_"):
            return diagram
        from dgg_jax.estimators.pictures import outcome

        return outcome(self) + diagram

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        shown = super()._repr_mimebundle_(**kwargs)
        if "text/html" in shown:
            shown["text/html"] = self._repr_html_inner()
        return shown

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Saves the fitted estimator as a folder; ``dgg_jax.load`` reads it.

        A class of your own is read as that of this library which it is made from.

        Args:
          path: the folder to make.
          overwrite: whether a saved model there may be replaced.

        Raises:
          FileExistsError: if the path exists, unless it is a model to overwrite.
          OSError: if it cannot be written; what was there before is left whole, as it
            is for readers meanwhile and if the process is killed.
        """
        check_is_fitted(self)
        # Of a class of one's own that which it is made from.
        kind = next(c for c in type(self).__mro__ if c.__module__.startswith(_PACKAGE))
        settings = {name: getattr(self, name) for name in kind._get_param_names()}
        parts = {
            name: " ".join(repr(settings.pop(name)).split())
            for name in ("encoder", "decoder", "likelihood")
            if not isinstance(settings.get(name), str | None)
        }
        settings.pop("callbacks")
        if not isinstance(self.random_state, numbers.Integral | None):
            settings["random_state"] = None
        names = getattr(self, "feature_names_in_", None)
        description = {
            "kind": kind.__name__,
            "metrics": self.stages_[-1],
            "settings": jax.tree.map(_plain, settings),
            "parts": parts,
            "preset": jax.tree.map(_plain, dataclasses.asdict(self.preset_)),
            "num_rows": len(self.labels_),
            "num_features": self.n_features_in_,
            "feature_names": None if names is None else list(names),
            "image_shape": self.image_shape_,
            "batches": None if self.batches_ is None else list(self.batches_),
            "preprocessing": self._preprocessing,
            "versions": saving.versions(),
            "stages": self.stages_,
            "history": self.history_,
        }
        arrays = {"model": self._state, "learned": {}}
        if self._scaling is not None:
            described = self._scaling._asdict()
            arrays["scaling"] = {name: described.pop(name) for name in SHIFT_AND_SCALE}
            description["scaling"] = described
        for name in _LEARNED:
            if hasattr(self, name):
                value = getattr(self, name)
                value = value._asdict() if isinstance(value, Graph) else value
                arrays["learned"][name] = value
        saving.save(os.path.expanduser(path), description, arrays, overwrite=overwrite)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._takes_missing
        tags.non_deterministic = False
        return tags


@contextlib.contextmanager
def _k_as_n_clusters() -> Iterator[None]:
    """Names K in messages of errors as the constructor does."""
    try:
        yield
    except checks.InvalidInput as error:
        error.args = (re.sub(r"\bnum_clusters\b", "n_clusters", str(error)),)
        raise


class Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Clusterer):
    """A clusterer with an embedding."""

    def transform(self, X: Any) -> np.ndarray:
        """The embedding of each row, float32 of shape [N, L]: its latent mean.

        Args:
          X: rows scaled as in training, shape [N, D].

        Raises:
          ValueError: if X has other columns than in training.
        """
        latents = self._infer(X)[0]
        return latents.mean if isinstance(latents, Gaussian) else latents

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _say_what_is_warped(preset: presets.Preset, image_shape: Sequence[int]) -> None:
    """That rows were taken for images, where it makes a difference."""
    if getattr(preset, "siamese_warp", 0.0):
        LOGGER.info(
            f"X is taken for images of {' x '.join(map(str, image_shape))}; "
            "siamese_warp=0 if they are none."
        )


def _plain(value: Any) -> Any:
    """A number as Python's own, which JSON holds."""
    return value.item() if isinstance(value, np.generic) else value
