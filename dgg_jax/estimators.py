"""The methods as scikit-learn estimators: ``DGG(n_clusters=10).fit(X)``."""

import contextlib
import dataclasses
import importlib.metadata
import inspect
import math
import numbers
import os
import pathlib
import platform
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

import dgg_jax
from dgg_jax import checks, methods, metrics, presets, saving
from dgg_jax.data import Dataset
from dgg_jax.data.preprocessing import Scaling
from dgg_jax.distributions import sample_gaussian
from dgg_jax.methods.base import Metrics, Run, State
from dgg_jax.methods.pretrained import Parts
from dgg_jax.progress import Progress
from dgg_jax.stages import cluster_count
from dgg_jax.stages.cluster_count import ClusterCount
from dgg_jax.types import Gaussian, Graph

__all__ = ["DEC", "DGG", "GMVAE", "IMSAT", "SpectralNet", "VaDE", "load"]

# (stage, epoch, metrics) -> whether that training loop shall end
Callback = Callable[[str, int, Metrics], bool | None]

_ARGUMENTS = {
    "n_clusters": (
        presets.Preset().num_clusters,
        'K, the number of clusters; of DGG also "auto": estimated without labels.',
    ),
    "encoder": (
        None,
        "Flax module in place of the dense encoder, from x [B, D] to "
        "dgg_jax.types.Gaussian with fields [B, latent_dim].",
    ),
    "decoder": (
        None,
        "Flax module in place of the dense decoder, from z [B, latent_dim] to what the "
        "likelihood decodes, B rows.",
    ),
    "image_shape": (
        None,
        "(H, W), (H, W, 1) or (H, W, 3) of the image in a row of X: DGG then warps "
        "what its Siamese network is trained on, GMVAE may be convolutional. None if "
        "there is none.",
    ),
    "warm_start": (
        False,
        "whether fit goes on from the model that is there, fitted or loaded, without "
        "pretraining and initialisation.",
    ),
    "random_state": (None, "seed of every random number, or RandomState, or None."),
    "verbose": (0, "1 shows a progress bar and what each stage reaches."),
    "callbacks": (
        None,
        "a function of (stage, epoch, metrics), or several; one that returns True ends "
        "the training loop it was called from, and fit goes on with the next.",
    ),
}
_OF_EVERY_METHOD = ("random_state", "verbose", "callbacks")
_OF_GENERATIVE_METHODS = ("encoder", "decoder", "warm_start", *_OF_EVERY_METHOD)


def _constructor_of(
    method: str, *arguments: str, without: Sequence[str] = ()
) -> Callable[[type], type]:
    """Gives a class a constructor that stores every setting of a method's preset.

    The signature is written out by hand nowhere: presets.py has the only defaults.

    Args:
      method: one of ``presets.METHODS``.
      *arguments: names in _ARGUMENTS that the class takes besides.
      without: settings that it does not take.
    """
    preset = presets.preset_class(method)
    texts, of_the_data = presets.describe(preset), presets.of_the_data(method)
    arguments = ("n_clusters", *arguments)
    defaults = {"n_clusters": _ARGUMENTS["n_clusters"][0]}
    for field in dataclasses.fields(preset):
        if field.name not in ("num_clusters", *without):
            chosen = field.name in of_the_data
            defaults[field.name] = None if chosen else field.default
    defaults |= {name: _ARGUMENTS[name][0] for name in arguments}
    texts |= {name: _ARGUMENTS[name][1] for name in arguments}

    def describe(name: str) -> str:
        text = texts[name]
        if name in presets.CHOICES and name not in of_the_data:
            text += f" One of {', '.join(presets.CHOICES[name])}."
        if name in of_the_data:
            text += " None chooses it from the data."
        return textwrap.fill(
            f"{name}: {text}", 88, initial_indent=" " * 6, subsequent_indent=" " * 8
        )

    kind = inspect.Parameter
    parameters = [kind("self", kind.POSITIONAL_OR_KEYWORD)]
    for name, default in defaults.items():
        first = kind.POSITIONAL_OR_KEYWORD if name == "n_clusters" else None
        parameters.append(kind(name, first or kind.KEYWORD_ONLY, default=default))
    signature = inspect.Signature(parameters)

    def decorate(cls: type) -> type:
        def __init__(*given: Any, **named: Any) -> None:
            bound = signature.bind(*given, **named)
            bound.apply_defaults()
            self = bound.arguments.pop("self")
            for name, value in bound.arguments.items():
                setattr(self, name, value)

        __init__.__signature__ = signature
        cls.__init__ = __init__
        cls._method = method
        cls._settings = tuple(name for name in defaults if name not in _ARGUMENTS)
        settings = "\n".join(map(describe, defaults))
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__)}\n\nArgs:\n" + textwrap.indent(
            inspect.cleandoc("\n" + settings), "  "
        )
        return cls

    return decorate


class _Clusterer(ClusterMixin, BaseEstimator):
    """What all estimators share.

    A fitted one keeps ``_state``, the arrays of its model: functions cannot be pickled.
    """

    _method: str
    _settings: tuple[str, ...]
    _model_entries: tuple[str, ...] = ("model",)
    _soft = True  # whether clusters have probabilities
    _takes_sparse = False  # whether sparse rows may stay so
    _counts_clusters = False  # whether n_clusters may be "auto"
    _preprocessing = "none: rows of training as they were given"
    _scaling: Scaling | None = None  # of the file that the command line trained on

    def fit(self, X: Any, y: Any = None) -> Self:
        """Trains on the rows of X.

        Args:
          X: array of any kind, scipy.sparse matrix or data frame, shape [N, D]; values
            in [0, 1] for the Bernoulli likelihood.
          y: not used.

        Returns:
          The fitted estimator.

        Raises:
          ValueError: if X or a setting cannot be used; before any work.
          dgg_jax.training.Diverged: if a loss is not finite.
        """
        return self._fit(X, **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        """What the method's ``run`` is told besides data, preset and seed."""
        return {}

    def _fit(self, X: Any, **keywords: Any) -> Self:
        x = self._rows(X, reset=True)
        estimates, num_clusters = self._num_clusters(keywords.get("start"))
        preset = self._preset(x, num_clusters)
        if not getattr(self, "warm_start", False):
            self._preprocessing = _Clusterer._preprocessing
            self._scaling = None
        method, seed = methods.method(self._method), self._seed()
        names, shared = methods.stage_names(self._method), None
        with contextlib.ExitStack() as opened:
            if estimates:
                names = ("num_clusters", *names)
                shared = opened.enter_context(tempfile.TemporaryDirectory())
            progress = Progress(names) if self.verbose else None
            if progress:
                opened.callback(progress.close)
            runner = Run(
                shared=shared,
                on_epoch=self._on_epoch(progress),
                on_stage=progress.stage if progress else None,
            )
            opened.callback(runner.close)
            if estimates:
                networks = {k: v for k, v in keywords.items() if k != "start"}
                count = method.count_clusters(x, preset, runner, seed=seed, **networks)
                if not count.is_plateau:
                    warnings.warn(count.describe(), stacklevel=3)
                preset = self._preset(x, count.num_clusters)
            _, state, records = method.run(
                x, preset, seed=seed, runner=runner, **keywords
            )
        self._keep(preset, state, records, runner.history)
        thin = metrics.thin_clusters(self.labels_, preset.num_clusters)
        if thin:
            text = metrics.collapse_warning(thin, preset.num_clusters)
            warnings.warn(text, ConvergenceWarning, stacklevel=2)
        return self

    def _num_clusters(self, start: Any) -> tuple[bool, int]:
        """Whether K is to be estimated; and K, a stand-in until then."""
        if not isinstance(self.n_clusters, str):
            return False, self.n_clusters
        if self.n_clusters != "auto" or not self._counts_clusters:
            also = " or 'auto'" * self._counts_clusters
            raise checks.InvalidInput(
                f"n_clusters must be an integer{also}, got {self.n_clusters!r}; "
                "DGG(n_clusters='auto') estimates it."
            )
        if start is None:
            return True, cluster_count.UNKNOWN
        return False, start.preset.num_clusters

    def _rows(self, X: Any, *, reset: bool) -> np.ndarray | sparse.csr_array:
        X = validate_data(
            self,
            X,
            reset=reset,
            accept_sparse="csr",
            dtype=np.float32,
            order="C",
            ensure_min_samples=2 if reset else 1,
        )
        if not sparse.issparse(X):
            return np.asarray(X)
        return sparse.csr_array(X) if self._takes_sparse else X.toarray()

    def _preset(self, x: np.ndarray, num_clusters: int) -> presets.Preset:
        settings = {name: getattr(self, name) for name in self._settings}
        if not isinstance(settings.get("likelihood"), str | None):
            settings["likelihood"] = None
        return presets.for_data(
            self._method,
            x,
            num_clusters,
            image_shape=getattr(self, "image_shape", None),
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
        if "latent_mean" in state:
            learned["embedding_"] = state["latent_mean"]
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
        self._state = model
        for name, value in learned.items():
            setattr(self, name, Graph(**value) if name == "graph_" else value)
        if "embedding_" in learned:
            self._n_features_out = self.embedding_.shape[1]

    @property
    def model_(self) -> Any:
        """The trained model, for ``dgg_jax.methods`` and one's own jax code."""
        check_is_fitted(self)
        return methods.method(self._method).model_of(
            self.preset_, self.n_features_in_, self._state, *self._parts()
        )

    def _parts(self) -> tuple[Parts, ...]:
        return ()

    def _infer(self, X: Any) -> tuple[Any, np.ndarray]:
        """Latents and ln q(c | x) of the rows of X."""
        check_is_fitted(self)
        inferred = self.model_.infer(self._rows(X, reset=False))
        for values in jax.tree.leaves(inferred):
            finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            if not finite.all():
                raise checks.InvalidInput(
                    f"the model says nothing finite of row {finite.argmin()} of X, "
                    "whose values lie far outside those of training; leave it out."
                )
        return inferred

    def _try(self) -> None:
        """Uses the model once: whether arrays and settings fit shows in no other way.

        Raises:
          Exception: of any kind, if they do not.
        """
        self.predict(np.zeros((1, self.n_features_in_), np.float32))

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

    def save(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Saves the fitted estimator as a folder; ``dgg_jax.load`` reads it.

        Args:
          path: the folder to make.
          overwrite: whether a saved model there may be replaced.

        Raises:
          FileExistsError: if the path exists, unless it is a model to overwrite.
          OSError: if it cannot be written; what was there before is left whole.
        """
        check_is_fitted(self)
        settings = self.get_params(deep=False)
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
            "kind": type(self).__name__,
            "metrics": self.stages_[-1],
            "settings": jax.tree.map(_plain, settings),
            "parts": parts,
            "preset": dataclasses.asdict(self.preset_),
            "num_rows": len(self.labels_),
            "num_features": self.n_features_in_,
            "feature_names": None if names is None else list(names),
            "preprocessing": self._preprocessing,
            "versions": versions(),
            "stages": self.stages_,
            "history": self.history_,
        }
        arrays = {"model": self._state, "learned": {}}
        if self._scaling is not None:
            described = self._scaling._asdict()
            arrays["scaling"] = {name: described.pop(name) for name in _SHIFT_AND_SCALE}
            description["scaling"] = described
        for name in ("labels_", "probabilities_", "embedding_", "graph_"):
            if hasattr(self, name):
                value = getattr(self, name)
                value = value._asdict() if isinstance(value, Graph) else value
                arrays["learned"][name] = value
        saving.save(path, description, arrays, overwrite=overwrite)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.non_deterministic = False
        return tags


class _Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Clusterer):
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


class _Generative(_Embedder):
    """A clusterer with a generative model p(x, z, c)."""

    _model_entries = ("model", "log_weights")

    def _parts(self) -> tuple[Parts, ...]:
        named = isinstance(self.likelihood, str | None)
        likelihood = None if named else self.likelihood
        return (Parts(self.encoder, self.decoder, likelihood),)

    def _arguments(self):
        (parts,) = self._parts()
        fitted = self.warm_start and hasattr(self, "_state")
        return {"parts": parts, "start": self.model_ if fitted else None}

    def _set(self, preset, model, learned, records, history):
        super()._set(preset, model, learned, records, history)
        self.means_, self.variances_, self.weights_ = self._components()

    def _try(self):
        super()._try()
        decoded = self.inverse_transform(np.zeros_like(self.means_[:1]))
        if decoded.shape != (1, self.n_features_in_) or not np.isfinite(decoded).all():
            raise ValueError(f"a row is decoded to {decoded}")

    def _components(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mixture = self.model_.params["mixture"]
        weights = np.exp(self.model_.log_weights)
        return mixture.mean, np.exp(mixture.logvar), weights / weights.sum()

    def inverse_transform(self, X: Any) -> np.ndarray:
        """E[x | z] of latents, shape [N, D]: what the decoder makes of them.

        Args:
          X: latents, shape [N, L].

        Raises:
          ValueError: if X has other columns than the embedding.
        """
        check_is_fitted(self)
        z = checks.rows(X, self._n_features_out, name="latents")
        return self.model_.decode(z)

    def score_samples(self, X: Any) -> np.ndarray:
        """The ELBO of each row, a lower bound of ln p(x) in nats, shape [N].

        The mean over 16 draws of z that are the same at every call.

        Args:
          X: rows scaled as in training, shape [N, D].

        Raises:
          ValueError: if X has other columns than in training.
        """
        check_is_fitted(self)
        return self.model_.elbo(self._rows(X, reset=False))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of ``score_samples``: what model selection maximises.

        Values can be compared between models of one likelihood only; of the Gaussian
        one, of one ``variance``.

        Args:
          X: rows scaled as in training, shape [N, D].
          y: not used.
        """
        return float(self.score_samples(X).mean())

    def sample(
        self, n_samples: int = 1, cluster: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws from the model.

        Args:
          n_samples: how many rows.
          cluster: which they shall come from; None draws it from the weights.

        Returns:
          E[x | z] of drawn z, shape [n_samples, D], and their clusters, shape
          [n_samples]; the same ones for the same integer ``random_state``.

        Raises:
          ValueError: if n_samples is below 1, or there is no such cluster.
        """
        check_is_fitted(self)
        checks.in_range("n_samples", n_samples, 1)
        random = check_random_state(self.random_state)
        num_clusters = len(self.weights_)
        if cluster is None:
            weights = np.asarray(self.weights_, np.float64)
            labels = random.choice(num_clusters, n_samples, p=weights / weights.sum())
        else:
            checks.in_range("cluster", cluster, 0, num_clusters - 1)
            labels = np.full(n_samples, cluster)
        z = self._draw(labels, jax.random.key(random.randint(2**31 - 1)))
        return self.model_.decode(z), labels.astype(np.int32)

    def _draw(self, labels: np.ndarray, key: jax.Array) -> jax.Array:
        """z from the components with these labels."""
        mixture = self.model_.params["mixture"]
        components = Gaussian(mixture.mean[labels], mixture.logvar[labels])
        return sample_gaussian(
            components, jax.random.normal(key, components.mean.shape)
        )

    def export(self, path: str | os.PathLike) -> None:
        """Writes transform and predict_proba as programs that need jax alone.

        ``jax.export.deserialize(bytes).call(x)`` runs one, on a batch [B, D] of float32
        of any B, on a CPU, GPU or TPU.

        Args:
          path: folder for transform.jax and predict_proba.jax; made if missing.

        Raises:
          OSError: if it cannot be written.
        """
        model, path = self.model_, pathlib.Path(path)
        (batch,) = jax.export.symbolic_shape("batch")
        rows = jax.ShapeDtypeStruct((batch, self.n_features_in_), jnp.float32)
        programs = {
            "transform": lambda x: model.infer_batch(x)[0],
            "predict_proba": lambda x: jnp.exp(model.infer_batch(x)[1]),
        }
        path.mkdir(parents=True, exist_ok=True)
        for name, program in programs.items():
            exported = jax.export.export(
                jax.jit(program), platforms=("cpu", "cuda", "rocm", "tpu")
            )(rows)
            (path / f"{name}.jax").write_bytes(exported.serialize())


class _MixtureVAE(_Generative):
    """DGG and VaDE: a mixture in latent space and a graph of neighbours."""

    _takes_sparse = True

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        knn: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Self:
        """Trains on the rows of X.

        Args:
          X: array of any kind, scipy.sparse matrix or data frame, shape [N, D]; values
            in [0, 1] for the Bernoulli likelihood.
          y: not used.
          knn: nearest neighbours of the rows, indices and distances [N, k] without the
            row itself, as ``dgg_jax.graph.knn`` returns them; None searches them.

        Returns:
          The fitted estimator.

        Raises:
          ValueError: if X, knn or a setting cannot be used; before any work.
          dgg_jax.training.Diverged: if a loss is not finite.
        """
        return self._fit(X, neighbors=knn, **self._arguments())

    def bic(self, X: Any) -> float:
        """-2 N ELBO + p ln N, to compare numbers of clusters; the lower the better.

        The Bayesian information criterion with the ELBO in place of the log-likelihood
        and p = 2 K L + K - 1, the parameters of the mixture: those of the networks are
        the same for every K.

        Args:
          X: rows scaled as in training, shape [N, D].
        """
        scores = self.score_samples(X)
        num_parameters = 2 * self.means_.size + len(self.weights_) - 1
        return float(-2.0 * scores.sum() + num_parameters * np.log(len(scores)))


@_constructor_of("dgg", "image_shape", *_OF_GENERATIVE_METHODS)
class DGG(_MixtureVAE):
    """Deep clustering by Gaussian mixture VAEs with graph embedding.

    Yang, Cheung, Li and Fang, ICCV 2019: a VAE with a Gaussian-mixture prior whose
    posteriors are pulled together along a similarity graph of the rows.

    Attributes:
      labels_: cluster of each row of training, [N].
      n_clusters_: K, given or estimated.
      cluster_count_: dgg_jax.stages.cluster_count.ClusterCount, from which K was
        estimated; None if it was not.
      probabilities_: of the clusters, [N, K].
      embedding_: latent means, [N, L].
      means_: of the mixture's components, [K, L].
      variances_: of the mixture's components, [K, L].
      weights_: of the components, [K].
      graph_: dgg_jax.types.Graph of the rows.
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_features_in_: D, columns of X.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _counts_clusters = True

    def _arguments(self):
        return super()._arguments() | {"image_shape": self.image_shape}

    def _set(self, preset, model, learned, records, history):
        super()._set(preset, model, learned, records, history)
        self.n_clusters_ = preset.num_clusters
        is_estimated = records[0]["name"] == "num_clusters"
        count = ClusterCount.from_dict(records[0]) if is_estimated else None
        self.cluster_count_ = count


@_constructor_of("vade", *_OF_GENERATIVE_METHODS, without=("clustering",))
class VaDE(_MixtureVAE):
    """Variational deep embedding: a VAE with a Gaussian-mixture prior.

    Jiang, Zheng, Tan, Tang and Zhou, IJCAI 2017.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      embedding_: latent means, [N, L].
      means_: of the mixture's components, [K, L].
      variances_: of the mixture's components, [K, L].
      weights_: of the components, [K].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_features_in_: D, columns of X.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """


@_constructor_of("gmvae", "image_shape", *_OF_GENERATIVE_METHODS)
class GMVAE(_Generative):
    """Gaussian mixture VAE: the mixture is itself decoded from a latent w.

    Dilokthanakul et al., 2016. An encoder of one's own maps x [B, D] to features
    [B, H], from which dense layers make the posteriors of z and w.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      embedding_: latent means of z, [N, L].
      means_: of the components at w = 0, the mean of its prior, [K, L].
      variances_: of the components there, [K, L].
      weights_: of the components, 1 / K each, [K].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_features_in_: D, columns of X.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _model_entries = ("params", "collections", "feature_shape")

    def _arguments(self):
        return super()._arguments() | {"feature_shape": self.image_shape}

    def _components(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mixture = self._at(jnp.zeros((1, self.preset_.w_dim)))
        num_clusters = self.preset_.num_clusters
        weights = np.full(num_clusters, 1.0 / num_clusters, np.float32)
        mean, logvar = (np.asarray(field[0]) for field in mixture)
        return mean, np.exp(logvar), weights

    def _at(self, w: jax.Array) -> Any:
        model = self.model_
        return model.networks.components(model.params, w)

    def _draw(self, labels: np.ndarray, key: jax.Array) -> jax.Array:
        w_key, z_key = jax.random.split(key)
        mixtures = self._at(jax.random.normal(w_key, (len(labels), self.preset_.w_dim)))
        rows = np.arange(len(labels))
        components = Gaussian(*(field[rows, labels] for field in mixtures))
        return sample_gaussian(
            components, jax.random.normal(z_key, components.mean.shape)
        )


@_constructor_of("dec", *_OF_EVERY_METHOD)
class DEC(_Embedder):
    """Deep embedded clustering.

    Xie, Girshick and Farhadi, ICML 2016.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      embedding_: latents, [N, L].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_features_in_: D, columns of X.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _takes_sparse = True


@_constructor_of("spectralnet", *_OF_EVERY_METHOD)
class SpectralNet(_Embedder):
    """Spectral clustering by a network on Siamese affinities.

    Shaham et al., ICLR 2018. Its clusters are hard: there is no predict_proba.

    Attributes:
      labels_: cluster of each row of training, [N].
      embedding_: spectral embedding, [N, K].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_features_in_: D, columns of X.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _model_entries = ("siamese", "network", "orthonormalizer", "centers")
    _soft = False

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of each row, int32 of shape [N]."""
        return self._infer(X)[1]


@_constructor_of("imsat", *_OF_EVERY_METHOD)
class IMSAT(_Clusterer):
    """Clustering by mutual information and self-augmented training.

    Hu et al., ICML 2017. It has no embedding.

    Attributes:
      labels_: cluster of each row of training, [N].
      probabilities_: of the clusters, [N, K].
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      n_features_in_: D, columns of X.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _model_entries = ("model", "moments")

    def _infer(self, X: Any) -> tuple[Any, np.ndarray]:
        return None, super()._infer(X)


def load(
    path: str | os.PathLike,
    *,
    encoder: Any = None,
    decoder: Any = None,
    likelihood: Any = None,
) -> _Clusterer:
    """Loads a saved estimator; nothing in its folder is executed.

    Args:
      path: the folder that ``save`` wrote.
      encoder: the Flax module that it was fitted with, if it was one's own.
      decoder: likewise.
      likelihood: likewise.

    Returns:
      The fitted estimator.

    Raises:
      dgg_jax.saving.InvalidModel: if the folder is no saved model, of a later format,
        damaged, or does not hold what its description says.
      ValueError: if a module of one's own is missing.
    """
    description, arrays = saving.load(path)
    given = {"encoder": encoder, "decoder": decoder, "likelihood": likelihood}
    try:
        estimator = _restored(description, arrays, given)
        estimator._try()
    except _MissingPart:
        raise
    except Exception as error:  # a file can be wrong in any way
        raise saving.InvalidModel(
            f"{path} does not describe a model of this library "
            f"({type(error).__name__}: {error})."
        ) from error
    return estimator


class _MissingPart(checks.InvalidInput):
    """A module of one's own, which the model was fitted with, is not given."""


# What load needs of a description, and as what.
_DESCRIBED = {
    "settings": dict,
    "parts": dict,
    "preset": dict,
    "num_rows": int,
    "num_features": int,
    "preprocessing": str,
    "stages": list,
    "history": list,
}


def _restored(description: State, arrays: State, given: dict[str, Any]) -> _Clusterer:
    """The estimator in a saved model; raises anything if it describes none."""
    for name, kind in _DESCRIBED.items():
        if type(description[name]) is not kind:
            raise TypeError(f"{name} is no {kind.__name__}")
    lines = [*description["stages"], *description["history"]]
    if not description["stages"] or {type(line) for line in lines} != {dict}:
        raise TypeError("stages or history are no lists of dicts")
    cls = _KINDS[description["kind"]]
    settings = description["settings"].items()
    estimator = cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings})
    for name, module in description["parts"].items():
        if given[name] is None:
            raise _MissingPart(
                f"the model was fitted with {name}={module}, which a folder cannot "
                f"hold; give it: load(path, {name}=...)."
            )
        estimator.set_params(**{name: given[name]})
    preset = presets.preset_class(cls._method).from_dict(description["preset"])
    estimator.n_features_in_ = description["num_features"]
    estimator._preprocessing = description["preprocessing"]
    if "scaling" in description:
        estimator._scaling = _restored_scaling(
            description["scaling"], arrays["scaling"], estimator.n_features_in_
        )
    names = description["feature_names"]
    if names is not None:
        estimator.feature_names_in_ = np.asarray(names, object)
        if [type(name) for name in names] != [str] * description["num_features"]:
            raise ValueError("feature_names are not one string a feature")
    # Lest networks are built that no memory holds.
    sizes = [getattr(preset, name, ()) for name in _SIZES]
    sizes = [] if description["parts"] else jax.tree.leaves(sizes)
    values = sum(leaf.size for leaf in jax.tree.leaves(arrays["model"]))
    if max([estimator.n_features_in_, *sizes]) > max(values, 1_000):
        raise ValueError(f"its networks are larger than {values:,} values")
    learned = arrays["learned"]
    _check_learned(learned, description["num_rows"], preset.num_clusters)
    estimator._set(
        preset,
        arrays["model"],
        learned,
        description["stages"],
        description["history"],
    )
    return estimator


_SHIFT_AND_SCALE = ("shift", "scale")


def _restored_scaling(described: State, arrays: State, num_features: int) -> Scaling:
    """The scaling in a saved model; raises anything if it is none."""
    lists = {k: tuple(v) for k, v in described.items() if isinstance(v, list)}
    scaling = Scaling(**{**described, **lists}, **arrays)
    shape, columns = scaling.feature_shape, scaling.columns
    if type(scaling.step) is not str or math.prod(shape) != num_features:
        raise ValueError("scaling has no step or another shape")
    if columns is not None and [type(c) for c in columns] != [str] * num_features:
        raise ValueError("columns are not one string a feature")
    for name in _SHIFT_AND_SCALE:
        if arrays[name].shape != (num_features,) or arrays[name].dtype != np.float64:
            raise ValueError(f"{name} of scaling has shape {arrays[name].shape}")
    if not scaling.scale.all():
        raise ValueError("scaling divides by 0")
    return scaling


# Settings that are lengths of arrays.
_SIZES = (
    "num_clusters",
    "latent_dim",
    "w_dim",
    "hidden_sizes",
    "classifier_hidden_sizes",
    "component_hidden_size",
)
# Dimensions of what a model says of the rows of its training.
_LEARNED = {
    "labels_": 1,
    "probabilities_": 2,
    "embedding_": 2,
    "indices": 2,  # of graph_
    "weights": 2,
}


def _check_learned(learned: State, num_rows: int, num_clusters: int) -> None:
    """Whether the learned attributes are what ``_keep`` sets."""
    fields = dict(learned)
    if "graph_" in fields:
        fields |= Graph(**fields.pop("graph_"))._asdict()
    for name, array in fields.items():
        if len(array) != num_rows or array.ndim != _LEARNED[name]:
            raise ValueError(f"{name} has shape {array.shape}")
    labels = fields["labels_"]
    if not 0 <= labels.min() <= labels.max() < num_clusters:
        raise ValueError("labels_ leaves 0..K-1")


def of_run(
    method: str,
    preset: presets.Preset,
    state: State,
    records: Sequence[Metrics],
    history: Sequence[Metrics],
    *,
    seed: int,
    dataset: Dataset,
) -> _Clusterer | None:
    """The estimator that a finished run of a method is, or None if it has no model.

    Args:
      method: one of ``presets.METHODS``.
      preset: its settings.
      state: the last one of the run.
      records: of its stages.
      history: metrics of its epochs.
      seed: of the run.
      dataset: what was clustered.
    """
    classes = {cls._method: cls for cls in _KINDS.values()}
    if method not in classes:
        return None
    cls = classes[method]
    settings = {name: getattr(preset, name) for name in cls._settings}
    if cls is GMVAE:
        settings["image_shape"] = dataset.feature_shape
    if cls is DGG:
        settings["image_shape"] = dataset.image_shape
    estimator = cls(preset.num_clusters, **settings, random_state=seed)
    estimator.n_features_in_ = dataset.x.shape[1]
    estimator._preprocessing = dataset.provenance
    estimator._scaling = dataset.scaling
    estimator._keep(preset, state, records, history)
    return estimator


_KINDS = {cls.__name__: cls for cls in (DGG, VaDE, GMVAE, DEC, SpectralNet, IMSAT)}


def _plain(value: Any) -> Any:
    """A number as Python's own, which JSON holds."""
    return value.item() if isinstance(value, np.generic) else value


def versions() -> dict[str, str]:
    """Versions of Python, this library and those that results depend on."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")
    return {
        "python": platform.python_version(),
        "dgg_jax": dgg_jax.__version__,
        **{name: importlib.metadata.version(name) for name in packages},
    }
