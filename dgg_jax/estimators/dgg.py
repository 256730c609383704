"""DGG as a scikit-learn estimator."""

import os
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from flax import linen as nn

from dgg_jax import checks
from dgg_jax.estimators.base import Callback
from dgg_jax.estimators.generative import MixtureVAE
from dgg_jax.likelihoods import Likelihood
from dgg_jax.stages.cluster_count import ClusterCount
from dgg_jax.stages.known import known_labels
from dgg_jax.stages.links import links_of, with_linked


class DGG(MixtureVAE):
    """Deep clustering by Gaussian mixture VAEs with graph embedding.

    Yang, Cheung, Li and Fang, ICCV 2019: a VAE with a Gaussian-mixture prior whose
    posteriors are pulled together along a similarity graph of the rows.

    Attributes:
      labels_: cluster of each row of training, [N].
      n_clusters_: K, given or estimated.
      cluster_count_: dgg_jax.stages.cluster_count.ClusterCount, from which K was
        estimated; None if it was not.
      probabilities_: of the clusters, [N, K], by q(c | x), the neighbours of a row and
        other clusterings, so that they say how often they are right.
      raw_probabilities_: q(c | x), [N, K], which is near 0 or 1 nearly everywhere; not
        there with calibrate=False, when ``probabilities_`` is these.
      confidence_: the largest probability of each row, [N].
      embedding_: latent means, [N, L].
      elbo_: a lower bound of ln p(x) of each row, [N]: the lowest are strange.
      means_: of the mixture's components, [K, L].
      variances_: of the mixture's components, [K, L].
      weights_: of the components, [K].
      graph_: dgg_jax.types.Graph of the rows.
      history_: metrics of every epoch.
      stages_: metrics of every stage.
      stage_kept_: whose model is kept: "train", or "classifier" where training broke
        clusters up and was undone.
      standing_: what ranks clusterings without labels, of these clusters: of fits with
        several seeds take the highest; None with another init and no guard, and where
        a model is trained on.
      candidates_: what the run could have started from, the best first: space, method
        and standing of each; None with another init and no guard.
      n_iter_: epochs of the joint training that were run.
      n_features_in_: D, columns of X.
      image_shape_: of the images in the rows, given or X's; None if there are none.
      batches_: names of the batches that rows were measured in, in the order of their
        columns; None if there are none.
      batch_: which of them each row is of, [N], if there are some.
      preset_: every setting, with those chosen from the data.
      model_: the trained model.
    """

    _method = "dgg"

    # Written by python -m tests.constructors, until the end:
    def __init__(
        self,
        n_clusters: int | Literal["auto"] = 10,
        *,
        preset: Literal["default", "smoke"] = "default",
        image_shape: Sequence[int] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
        # Expert settings; None is the preset's value.
        callbacks: Callback | Sequence[Callback] | None = None,
        warm_start: bool = False,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        precision: str | None = None,
        shuffle: str | None = None,
        siamese_epochs: int | None = None,
        siamese_pairs: int | None = None,
        siamese_pairing: str | None = None,
        siamese_candidates: int | None = None,
        siamese_components: int | None = None,
        siamese_margin: float | None = None,
        siamese_init: str | None = None,
        siamese_optimizer: str | None = None,
        siamese_learning_rate: float | None = None,
        siamese_decay: float | None = None,
        siamese_decay_epochs: int | None = None,
        siamese_weight_decay: float | None = None,
        siamese_batch_size: int | None = None,
        siamese_warp: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        optimizer: str | None = None,
        learning_rate: float | None = None,
        decay: float | None = None,
        decay_epochs: int | None = None,
        weight_decay: float | None = None,
        likelihood: str | Likelihood | None = None,
        variance: float | None = None,
        dispersion: float | None = None,
        hidden_sizes: Sequence[int] | None = None,
        latent_dim: int | None = None,
        principal_components: int | None = None,
        pretrain_layer_epochs: int | None = None,
        pretrain_autoencoder_epochs: int | None = None,
        pretrain_vae_epochs: int | None = None,
        pretrain_centered: bool | None = None,
        pretrain_corruption: float | None = None,
        pretrain_learning_rate: float | None = None,
        pretrain_batch_size: int | None = None,
        device_memory_share: float | None = None,
        num_neighbors: int | None = None,
        init: str | None = None,
        eigenvectors_per_cluster: float | None = None,
        variance_floor: float | None = None,
        posterior_variance: bool | None = None,
        label_epochs: int | None = None,
        restarts: int | None = None,
        guard: bool | None = None,
        calibrate: bool | None = None,
        classifier_hidden_sizes: Sequence[int] | None = None,
        classifier_input: str | None = None,
        graph_of: str | None = None,
        init_neighbors: int | None = None,
        num_candidates: int | None = None,
        neighbor_choice: str | None = None,
        neighbor_weights: str | None = None,
        kernel_neighbor: int | None = None,
        classifier_epochs: int | None = None,
        classifier_learning_rate: float | None = None,
        objective: str | None = None,
        graph_strength: float | None = None,
        warp_weight: float | None = None,
        initial_variance: float | None = None,
        tolerance: float | None = None,
    ) -> None:
        """Keeps the settings, which ``fit`` checks.

        Args:
          n_clusters: K, the number of clusters. Or "auto": estimated without labels.
          preset: where settings that are None come from: default (what we recommend) or
            smoke (a few epochs of small networks, to see that everything runs).
          image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row of X: what
            networks are trained on is then warped. None if there is none.
          random_state: seed of every random number, or RandomState, or None.
          verbose: 1 shows a progress bar and what each stage reaches.

        Expert settings:
          callbacks: a function of (stage, epoch, metrics), or several; one that returns
            True ends the training loop it was called from, and fit goes on with the
            next.
          warm_start: whether fit goes on from the model that is there, fitted or
            loaded, without pretraining and initialisation.
          encoder: Flax module in place of the dense encoder, from x [B, D] to
            dgg_jax.types.Gaussian with fields [B, latent_dim].
          decoder: Flax module in place of the dense decoder, from z [B, latent_dim] to
            what the likelihood decodes, B rows.
          precision: of matrix products: float32; on GPUs and TPUs, which are faster
            with it, also tf32 or bfloat16, summed in float32. A CPU always takes
            float32. Default: float32.
          shuffle: where a batch's rows come from: all (anywhere, the same for any
            number of devices) or device (as many from each device's own, which sends
            none). Default: all.
          siamese_epochs: epochs of the Siamese network; 0 takes distances of the data.
            Default: from the data.
          siamese_pairs: N_t, positive pairs a point. Default: 2.
          siamese_pairing: batch: all pairs of what a step embeds, a batch and N_t
            neighbours of each point; drawn: N_t positive and N_t negative ones a point.
            Default: batch.
          siamese_candidates: nearest points of which the positive pairs are drawn; if
            no more than siamese_pairs, these are the nearest. Default: from the data.
          siamese_components: principal components in which these are nearest, if there
            are more columns; 0: in the data. Default: from the data.
          siamese_margin: c, distance to which negative pairs are pushed. Default: 5.0.
          siamese_init: random, or encoder: from the pretrained encoder. Default:
            encoder.
          siamese_optimizer: what trains the Siamese network: adam, or sgd with a
            momentum of 0.9. Default: adam.
          siamese_learning_rate: initial rate of what trains the Siamese network.
            Default: from the data.
          siamese_decay: factor of that rate every siamese_decay_epochs. Default: 0.1.
          siamese_decay_epochs: epochs of one stair of that rate. Default: from the
            data.
          siamese_weight_decay: L2 weight decay of the Siamese network. Default: 0.0001.
          siamese_batch_size: points of a batch for the Siamese network. Default: from
            the data.
          siamese_warp: strength of the random warps (``RandomWarp``) of what the
            Siamese network is trained on, if the rows are images; 0 for none. Default:
            from the data.
          epochs: epochs of the method's own training. Default: from the data.
          batch_size: points of a batch in it. Default: from the data.
          optimizer: of the method's own training: adam, or sgd with a momentum of 0.9.
            Default: adam.
          learning_rate: initial rate of the method's own training. Default: from the
            data.
          decay: factor of that rate every decay_epochs. Default: 0.9.
          decay_epochs: epochs of one stair of that rate. Default: from the data.
          weight_decay: L2 weight decay in it. Default: 0.0.
          likelihood: p(x | z): bernoulli (values in [0, 1]), gaussian (fixed variance),
            learned_gaussian or negative_binomial (counts). Default: from the data.
          variance: lambda, the fixed variance of the gaussian likelihood. Default: from
            the data.
          dispersion: theta of the negative_binomial likelihood: counts of mean mu have
            the variance mu + mu^2 / theta. Default: from the data.
          hidden_sizes: widths of the encoder's ReLU layers; the decoder mirrors them.
            Default: from the data.
          latent_dim: L, dimension of the latent space. Default: 10.
          principal_components: P, principal components in which the encoder sees rows
            and the decoder gives them back, if there are more than P columns; 0: the
            columns themselves. Default: from the data.
          pretrain_layer_epochs: epochs of each layer's denoising autoencoder; 0 skips.
            Default: 0.
          pretrain_autoencoder_epochs: epochs of the deep denoising autoencoder.
            Default: from the data.
          pretrain_vae_epochs: epochs of the VAE with prior N(0, I); 0 skips. Default:
            from the data.
          pretrain_centered: start the encoder's first layer as if rows had a mean of 0
            and a spread of 1, which principal components have. Default: from the data.
          pretrain_corruption: share of inputs set to 0 by the denoising autoencoders.
            Default: 0.2.
          pretrain_learning_rate: Adam's rate in pretraining. Default: 0.001.
          pretrain_batch_size: points of a batch in pretraining. Default: from the data.
          device_memory_share: of the device's memory, what data may take before they
            stay on the host and stream to the device by the batch. Default: 0.5.
          num_neighbors: S, neighbours of a point in the graph. Default: from the data.
          init: labels to start from: ensemble (of clusterings that differ in space and
            method, the one that stands best), spectral (of the graph), kmeans or gmm
            (of the latents). Default: ensemble.
          eigenvectors_per_cluster: times K, the most eigenvectors that spectral init
            tries. Default: 1.6.
          variance_floor: smallest initial variance of a mixture component. Default:
            0.001.
          posterior_variance: adds the mean variance of the posteriors to that of their
            means in the initial variances of the components (erratum E37). Default:
            True.
          label_epochs: epochs that fit the whole model to the initial labels; 0 skips.
            Default: from the data.
          restarts: runs of initialisation and training; the best is kept: in VaDE by
            the objective (the ELBO, but for another reconstruction_weight or kl_term),
            in DGG by the standing of the clusters, without ensemble and guard by the
            information that the graph's neighbours have of each other's. Default: 1.
          guard: keep the model from before training where that costs the clusters 0.01
            of their standing, or one of them all of its rows. Default: True.
          calibrate: make the probabilities of the clusters say how often they are
            right, by the neighbours of a row and the ensemble; else they are q(c | x).
            Default: True.
          classifier_hidden_sizes: widths of ReLU layers of the classifier f_2; None is
            the paper's rule: none for K >= 10, one of width K for fewer. Default: ().
          classifier_input: what f_2 sees in training: sample (of q(z | x)) or mean.
            Default: mean.
          graph_of: where neighbours are near: siamese (embedding), latents (of the
            pretrained encoder) or data (so too if siamese_epochs is 0). Default: from
            the data.
          init_neighbors: neighbours in the graph that spectral init clusters, and whose
            information is reported; always drawn from the candidates at random.
            Default: from the data.
          num_candidates: nearest points from which the neighbours are chosen. Default:
            from the data.
          neighbor_choice: random (drawn once from the candidates) or nearest. Default:
            nearest.
          neighbor_weights: uniform or gaussian, eq. (32). Default: uniform.
          kernel_neighbor: s_i of eq. (32) is the distance to this one of the kept
            neighbours, counted from the nearest; 0: to the farthest, whose weights are
            nearly uniform. Default: 0.
          classifier_epochs: epochs that fit f_2 to the initial labels. Default: 20,
            fewer of more than 70,000 rows.
          classifier_learning_rate: Adam's rate for that. Default: 0.01.
          objective: node (cost independent of S) or tuple (Algorithm 1 as printed).
            Default: node.
          graph_strength: eta in [0, 2], the weight of the graph; 1 is the paper.
            Default: 1.6.
          warp_weight: weight, beside the objective of a row, of how far q(c | x) of its
            copy, warped by siamese_warp, is from its own; 0 for none, as in the paper.
            Default: from the data.
          initial_variance: variance of every component to start from; 0: that of its
            labels. Default: 0.0.
          tolerance: share of the rows that go to another cluster in an epoch; five
            epochs of no more end the training, if J rests too; 0: none do. Default:
            0.0001.
        """
        self._store(locals())

    # The end.

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        must_link: Any = None,
        cannot_link: Any = None,
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
          y: the clusters of rows that are known, whole numbers in 0..K-1, and -1 for
            all others, [N]. Without a -1 it is not used, as by other clusterers: what
            is known of every row needs no clustering. K that is estimated is at least
            that of the known ones.
          sample_weight: how much each row counts, [N], at least 0, on any scale; None:
            all alike. It multiplies what a row adds to what is minimised,
            to moments and to its neighbours; where neighbours are near, and the
            clusterings that a fit starts from and is judged by, know none.
          must_link: pairs of rows that are in one cluster, integers [P, 2].
          cannot_link: pairs of rows that are not, likewise. ``stages_[-1]`` says how
            many of both hold.
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
          ValueError: if X, y, sample_weight, a link, batch, knn, outliers,
            checkpoint_dir or a setting cannot be used; before any work.
          OSError: if checkpoint_dir cannot be written.
          dgg_jax.training.Diverged: if a loss is not finite.
        """
        checks.in_range("outliers", outliers, 0.0, 1.0)
        neighbors = None if knn is None else checks.neighbors_of(knn)
        told = {"known": y, "must_link": must_link, "cannot_link": cannot_link}
        told |= {"neighbors": neighbors, "batch": batch}
        arguments = {**told, **self._arguments()}
        self._fit(X, sample_weight, checkpoint_dir, **arguments)
        return self._without_outliers(outliers)

    def _least_clusters(self, known, num_rows):
        labels = known_labels(known["known"], num_rows, num_rows)
        pairs = known["must_link"], known["cannot_link"]
        links = links_of(*pairs, num_rows, num_rows)
        if labels is None:
            return 1
        labels = labels if links is None else with_linked(labels, links)
        return int(labels.max()) + 1

    def predict_proba(
        self, X: Any, *, calibrated: bool = True, batch: Any = None
    ) -> np.ndarray:
        """Probabilities of the clusters, shape [N, K]; every row sums to 1.

        Args:
          X: rows scaled as in training, shape [N, D].
          calibrated: as ``probabilities_``, by the rows of training that are nearest in
            the latent space; False: q(c | x).
          batch: that each row was measured in, [N], if fitted with batches.

        Raises:
          ValueError: if X has other columns than in training, or batch is not of those.
        """
        posterior, log_assignments = self._infer(X, batch=batch)
        if calibrated:
            of_rows = self.model_.log_probabilities
            log_assignments = of_rows(posterior.mean, log_assignments)
        return np.exp(log_assignments)

    def _arguments(self):
        return super()._arguments() | {"image_shape": self.image_shape}

    def _set(self, preset, model, learned, records, history):
        super()._set(preset, model, learned, records, history)
        is_estimated = records[0]["name"] == "num_clusters"
        count = ClusterCount.from_dict(records[0]) if is_estimated else None
        self.cluster_count_ = count
        by_name = {record["name"]: record for record in records}
        self.stage_kept_ = by_name["train"].get("stage_kept", "train")
        self.standing_ = by_name["evaluate"].get("standing")
        self.candidates_ = by_name.get("initialize", {}).get("candidates")
