"""What the estimators share that have a decoder: sample, score, impute, outliers."""

import os
import pathlib
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import assert_all_finite, check_is_fitted

from dgg_jax import checks
from dgg_jax.distributions import sample_gaussian
from dgg_jax.estimators.base import Embedder
from dgg_jax.likelihoods import NegativeBinomial
from dgg_jax.methods import Parts
from dgg_jax.storage import folders
from dgg_jax.types import Gaussian


class Generative(Embedder):
    """A clusterer with a generative model p(x, z, c)."""

    _model_entries = ("model", "log_weights", "calibration")

    def _parts(self) -> Parts:
        if isinstance(self.likelihood, NegativeBinomial):
            raise checks.InvalidInput(
                "likelihood=NegativeBinomial(...) would leave networks and distances "
                "with raw counts; give likelihood='negative_binomial', dispersion="
                f"{self.likelihood.dispersion:g}."
            )
        named = isinstance(self.likelihood, str | None)
        likelihood = None if named else self.likelihood
        return Parts(self.encoder, self.decoder, likelihood)

    def _arguments(self):
        fitted = self.warm_start and hasattr(self, "_state")
        return {"parts": self._parts(), "start": self.model_ if fitted else None}

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
          ValueError: if X has other columns than the embedding, or is not finite.
        """
        return self.model_.decode(self._latents(X))

    def _latents(self, X: Any) -> np.ndarray:
        """Latents that can be decoded, float32 [N, L]."""
        check_is_fitted(self)
        z = checks.rows(X, self._n_features_out, name="latents")
        assert_all_finite(z, input_name="latents")
        return z

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
          [n_samples]; the same ones for the same integer ``random_state``. Fitted with
          batches, it is the mean over these.

        Raises:
          ValueError: if n_samples is no integer from 1 on, or there is no such
            cluster.
        """
        check_is_fitted(self)
        checks.of_type("n_samples", n_samples, int)
        checks.in_range("n_samples", n_samples, 1)
        random = check_random_state(self.random_state)
        num_clusters = len(self.weights_)
        if cluster is None:
            weights = np.asarray(self.weights_, np.float64)
            labels = random.choice(num_clusters, n_samples, p=weights / weights.sum())
        else:
            checks.of_type("cluster", cluster, int)
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

        ``jax.export.deserialize(bytes).call(x)`` runs one, on rows [B, D] of float32
        of any B, on a CPU, GPU or TPU. Fitted with batches, it takes [B, D + M]: each
        row is followed by the one-hot vector of its batch, in the order of
        ``batches_``.

        Args:
          path: folder for transform.jax and predict_proba.jax; made if missing.

        Raises:
          OSError: if it cannot be written.
        """
        model, path = self.model_, pathlib.Path(path).expanduser()
        (batch,) = jax.export.symbolic_shape("batch")
        width = self.n_features_in_ + len(self.batches_ or ())
        rows = jax.ShapeDtypeStruct((batch, width), jnp.float32)
        programs = {
            "transform": lambda x: model.infer_batch(x)[0],
            "predict_proba": lambda x: jnp.exp(model.infer_batch(x)[1]),
        }
        path.mkdir(parents=True, exist_ok=True)
        for name, program in programs.items():
            exported = jax.export.export(
                jax.jit(program), platforms=("cpu", "cuda", "rocm", "tpu")
            )(rows)
            folders.write_atomically(path / f"{name}.jax", exported.serialize())


class MixtureVAE(Generative):
    """DGG and VaDE: a mixture in latent space and a graph of neighbours."""

    _takes_sparse = True

    def _told(self, num_rows: int, batch: Any = None) -> dict[str, Any]:
        """Batches of rows as the model takes them, if it was fitted with some.

        Raises:
          InvalidInput: if they are missing, not known, or there were none in training.
        """
        if self.batches_ is None:
            if batch is not None:
                raise checks.InvalidInput(
                    "the model was fitted without batch, and has no place for that of "
                    "new rows; leave it out, or fit with batch."
                )
            return {}
        if batch is None:
            raise checks.InvalidInput(
                "the model was fitted with batch, and needs that of each row, one of "
                f"{', '.join(map(repr, self.batches_[:5]))}; give it as batch=."
            )
        codes, _ = checks.batch(batch, num_rows, self.batches_)
        return {"batch": codes}

    def predict_proba(self, X: Any, *, batch: Any = None) -> np.ndarray:
        """Probabilities of the clusters, shape [N, K]; every row sums to 1.

        Args:
          X: rows scaled as in training, shape [N, D].
          batch: that each row was measured in, [N], if fitted with batches.

        Raises:
          ValueError: if X has other columns than in training, or batch is not of those.
        """
        return np.exp(self._infer(X, batch=batch)[1])

    def transform(self, X: Any, *, batch: Any = None) -> np.ndarray:
        """The embedding of each row, float32 of shape [N, L]: its latent mean.

        Args:
          X: rows scaled as in training, shape [N, D].
          batch: that each row was measured in, [N], if fitted with batches.

        Raises:
          ValueError: if X has other columns than in training, or batch is not of those.
        """
        return self._infer(X, batch=batch)[0].mean

    def fit_transform(self, X: Any, y: Any = None, **told: Any) -> np.ndarray:
        """As ``fit`` and then ``transform``, of the same rows.

        Args:
          X: see ``fit``.
          y: see ``fit``.
          **told: further arguments of ``fit``.

        Raises:
          ValueError: see ``fit``.
        """
        given = {} if self.fit(X, y, **told).batches_ is None else told
        return self.transform(X, batch=given.get("batch"))

    def score_samples(self, X: Any, *, batch: Any = None) -> np.ndarray:
        """The ELBO of each row, a lower bound of ln p(x) in nats, shape [N].

        The mean over 16 draws of z that are the same at every call.

        Args:
          X: rows scaled as in training, shape [N, D].
          batch: that each row was measured in, [N], if fitted with batches: the bound
            is of ln p(x | batch).

        Raises:
          ValueError: if X has other columns than in training, or batch is not of those.
        """
        check_is_fitted(self)
        x = self._rows(X, reset=False)
        return self.model_.elbo(x, **self._told(x.shape[0], batch))

    def score(self, X: Any, y: Any = None, *, batch: Any = None) -> float:
        """The mean of ``score_samples``: what model selection maximises.

        Values can be compared between models of one likelihood only; of the Gaussian
        one, of one ``variance``.

        Args:
          X: rows scaled as in training, shape [N, D].
          y: not used.
          batch: see ``score_samples``.
        """
        return float(self.score_samples(X, batch=batch).mean())

    def inverse_transform(self, X: Any, *, batch: Any = None) -> np.ndarray:
        """E[x | z] of latents, shape [N, D]: what the decoder makes of them.

        Args:
          X: latents, shape [N, L].
          batch: of each, [N], what it shall look like there; None: the mean over all
            batches, if fitted with some, in which rows can be compared.

        Raises:
          ValueError: if X has other columns than the embedding, or is not finite, or
            batch is not of those of training.
        """
        z = self._latents(X)
        told = {} if batch is None else self._told(len(z), batch)
        return self.model_.decode(z, **told)

    def impute(self, X: Any, *, batch: Any = None) -> np.ndarray:
        """Rows with an estimate of each value that is missing.

        It is E[x | z] with z the latent mean of what is there of the row.

        Args:
          X: rows scaled as in training, NaN where a value is missing, shape [N, D].
          batch: that each row was measured in, [N], if fitted with batches.

        Returns:
          float32 [N, D]; what is there stays as it is.

        Raises:
          ValueError: if X has other columns than in training, or batch is not of those.
        """
        check_is_fitted(self)
        x = self._rows(X, reset=False)
        return self.model_.impute(x, **self._told(x.shape[0], batch))

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        batch: Any = None,
        knn: Any = None,
        outliers: float = 0.0,
        checkpoint_dir: str | os.PathLike | None = None,
    ) -> Self:
        """Trains on the rows of X.

        Args:
          X: array or tensor of any library, scipy.sparse matrix or data frame, shape
            [N, D], images [N, H, W] or [N, H, W, C], a list or column of arrays, or an
            AnnData object; values in [0, 1] for the Bernoulli likelihood.
          y: not used.
          sample_weight: how much each row counts, [N], at least 0, on any scale; None:
            all alike. It multiplies what a row adds to what is minimised
            and to moments; spectral clustering of the start knows none.
          batch: that each row was measured in, as words, whole numbers or categories,
            [N]: what batches differ in is none of the clusters'. Encoder and decoder
            take it, neighbours are near without it.
          knn: nearest neighbours of the rows: indices and distances [N, k] without the
            row itself, as ``dgg_jax.graph.knn`` returns them; or the sparse matrix of
            scikit-learn's ``kneighbors_graph`` or scanpy's ``obsp["distances"]``. None
            searches them.
          outliers: the share of the rows, those of the lowest ELBO, that is left in no
            cluster: their ``labels_`` are -1. Training sees them all the same.
          checkpoint_dir: a folder for checkpoints: the same fit with the same folder
            goes on where it was interrupted, to the same bits.

        Returns:
          The fitted estimator.

        Raises:
          ValueError: if X, sample_weight, batch, knn, outliers, checkpoint_dir or a
            setting cannot be used; before any work.
          OSError: if checkpoint_dir cannot be written.
          dgg_jax.training.Diverged: if a loss is not finite.
        """
        checks.in_range("outliers", outliers, 0.0, 1.0)
        neighbors = None if knn is None else checks.neighbors_of(knn)
        arguments = {"batch": batch, "neighbors": neighbors, **self._arguments()}
        self._fit(X, sample_weight, checkpoint_dir, **arguments)
        return self._without_outliers(outliers)

    def _without_outliers(self, share: float) -> Self:
        """Takes the rows of the lowest ELBO out of their clusters."""
        if share:
            strange = self.elbo_ <= np.quantile(self.elbo_, share)
            self.labels_ = np.where(strange, -1, self.labels_).astype(np.int32)
        return self

    def predict(
        self, X: Any, *, outliers: float = 0.0, batch: Any = None
    ) -> np.ndarray:
        """The cluster of each row, int32 of shape [N]; new rows need no graph.

        Args:
          X: rows scaled as in training, shape [N, D].
          outliers: the share of the training rows that is taken for outliers; a row as
            strange as they are has no cluster, -1.
          batch: that each row was measured in, [N], if fitted with batches.

        Raises:
          ValueError: if X has other columns than in training, batch is not of those, or
            outliers is not in [0, 1].
        """
        checks.in_range("outliers", outliers, 0.0, 1.0)
        labels = self._infer(X, batch=batch)[1].argmax(axis=1).astype(np.int32)
        if outliers:
            labels[self.outliers(X, outliers, batch=batch)] = -1
        return labels

    def outliers(self, X: Any, share: float = 0.05, *, batch: Any = None) -> np.ndarray:
        """Which rows the model explains worse than it does nearly all of training.

        Args:
          X: rows scaled as in training, shape [N, D].
          share: of the training rows, those of the lowest ELBO, that are outliers; a
            row is one if its ELBO (``score_samples``) is as low.
          batch: that each row was measured in, [N], if fitted with batches.

        Returns:
          Booleans [N].

        Raises:
          ValueError: if X has other columns than in training, share is not in [0, 1] or
            the model was saved by a version that did not keep ``elbo_``.
        """
        check_is_fitted(self)
        checks.in_range("share", share, 0.0, 1.0)
        if not hasattr(self, "elbo_"):
            raise checks.InvalidInput(
                "this model does not know the ELBO of its training rows, it is of a "
                "former version; fit it again, or compare score_samples(X) yourself."
            )
        scores = self.score_samples(X, batch=batch)
        return (scores <= np.quantile(self.elbo_, share)) & (share > 0)

    def bic(self, X: Any, *, batch: Any = None) -> float:
        """-2 N ELBO + p ln N, to compare numbers of clusters; the lower the better.

        The Bayesian information criterion with the ELBO in place of the log-likelihood
        and p = 2 K L + K - 1, the parameters of the mixture: those of the networks are
        the same for every K.

        Args:
          X: rows scaled as in training, shape [N, D].
          batch: that each row was measured in, [N], if fitted with batches.
        """
        scores = self.score_samples(X, batch=batch)
        num_parameters = 2 * self.means_.size + len(self.weights_) - 1
        return float(-2.0 * scores.sum() + num_parameters * np.log(len(scores)))
