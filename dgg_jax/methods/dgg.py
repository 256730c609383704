"""DGG: deep clustering by Gaussian mixture VAEs with graph embedding, from data on.

``run`` is the algorithm; its stages follow in order. What a step of training minimises
is in ``dgg_steps``.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from dgg_jax.checks import InvalidInput
from dgg_jax.graph import (
    graph_information,
    local_affinity,
)
from dgg_jax.log import LOGGER
from dgg_jax.methods import mixture_vae
from dgg_jax.methods.candidates import MOST_ROWS, candidates, judged, ranked
from dgg_jax.methods.dgg_steps import (
    ClassifierLoss,
    LabelLoss,
    joint_objective,
    node_data,
    operators,
)
from dgg_jax.methods.mixture_vae import (
    ELBO_DRAWS,
    Model,
    Neighbors,
    assessed,
    evaluated,
    of_gammas,
    restart_keys,
    restart_of,
    samples_per_cluster,
    traversals,
    with_mixture,
    with_objectives,
)
from dgg_jax.methods.parts import AS_NAMED, Parts, autoencoder_networks
from dgg_jax.methods.pretrained import (
    autoencoder,
    autoencoder_params,
    check_parts,
    latent_means,
    likelihood,
    mean_elbo,
    own_elbo,
    pretrain_and_report,
    pretrained,
    vae_identity,
)
from dgg_jax.methods.problem import (
    Outcome,
    Problem,
    kmeans_metrics,
    training_schedule,
)
from dgg_jax.methods.similarity import encoder_embedding, nearest, warp_of
from dgg_jax.networks import (
    Classifier,
    Network,
    Networks,
    initial_params,
)
from dgg_jax.placement.rows import HostRows
from dgg_jax.presets import DGGPreset
from dgg_jax.stages import cluster_count, evaluate
from dgg_jax.stages import graph as neighbor_graph
from dgg_jax.stages.cluster_count import ClusterCount
from dgg_jax.stages.confidence import all_log_probabilities, fit_calibration
from dgg_jax.stages.known import known_labels, start_from
from dgg_jax.stages.links import held_metrics, links_of, with_linked
from dgg_jax.stages.warps import RandomWarp
from dgg_jax.training import (
    Metrics,
    Run,
    Schedule,
    State,
    optimize,
    steps_per_epoch,
)
from dgg_jax.types import Gaussian, Graph, Mixture

__all__ = ["Model", "count_clusters", "run", "samples_per_cluster", "traversals"]

# The whole model is fitted to labels until it follows so large a share of them, each
# time twice as long and by ten times their weight; for so many steps, and once more for
# so many further ones where what it does not follow costs standing that is dear.
_FOLLOWED, _FEW_FOLLOWED = 0.998, 0.8  # share of labels: enough, and a warning
_STEPS, _FURTHER_STEPS = 1000, 3000
_DEAR = 0.01  # a fall of the standing that undoes training, too; less says nothing
_KNOWN_STARTS = 8  # clusterings that known rows and links choose from
_WORSE_EPOCHS = 10  # after which training does not come back
_RESTING_EPOCHS = 5
_RESTING_GAIN = 0.1

STAGES = ("pretrain", "graph", "initialize", "classifier", "train", "evaluate")


def run(
    x: np.ndarray | sparse.csr_array,
    preset: DGGPreset,
    *,
    seed: int = 0,
    y: np.ndarray | None = None,
    runner: Run | None = None,
    parts: Parts = AS_NAMED,
    image_shape: tuple[int, ...] | None = None,
    column_scale: np.ndarray | None = None,
    neighbors: Neighbors | None = None,
    start: Model | None = None,
    known: np.ndarray | None = None,
    must_link: np.ndarray | None = None,
    cannot_link: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
    batch: np.ndarray | None = None,
) -> Outcome:
    """Carries data through all stages of DGG.

    Args:
      x: data, float32 of shape [N, D]; rows of a sparse matrix become dense by the
        batch.
      preset: all settings.
      seed: of every random number of the run.
      y: true labels [N] for the reported metrics; nothing else sees them.
      runner: checkpoints and callbacks; by default in memory only.
      parts: networks or likelihood in place of those that the preset names.
      image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row; None if there
        is none.
      column_scale: [D], what the columns were divided by: candidates for the labels to
        start from are also of the columns as they were.
      neighbors: nearest neighbours (indices and distances [N, k], ascending) that the
        graph takes in place of its own.
      start: a model to train on, without pretraining and initialisation.
      known: the clusters of some rows, in 0..K-1, and -1 for the others, [N]: labels to
        start from follow them, and the objective has their ln q(c | x).
      must_link: pairs of rows that share a cluster, [P, 2]: labels to start from follow
        them, and the objective has how likely it is that they hold.
      cannot_link: pairs of rows that do not, likewise.
      sample_weight: how much each row counts, [N], in the pretraining, the moments of
        labels, the fit to these, J (also as a neighbour) and pi. Where neighbours are
        near, which clusterings a run starts from, and what judges and calibrates it,
        does not depend on it.
      batch: labels of the batches that rows were measured in, [N]; encoder and decoder
        take them, and a source explains each neighbour as of that neighbour's batch.
        Neighbours are near, and clusterings are of points, without their effects.

    Returns:
      The model of the best restart; the last state, with "labels" [N],
      "log_assignment" [N, K] and "latent_mean" [N, L]; and the record of every stage.

    Raises:
      InvalidInput: if x cannot be clustered so; before any work.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    num_rows, num_clusters = x.shape[0], preset.num_clusters
    known = known_labels(known, num_rows, num_clusters)
    links = links_of(must_link, cannot_link, num_rows, num_clusters)
    if known is not None and links is not None:
        known = with_linked(known, links)
    problem = Problem.of(
        x,
        preset,
        seed=seed,
        y=y,
        runner=runner,
        parts=parts,
        image_shape=image_shape,
        column_scale=column_scale,
        neighbors=neighbors,
        start=start,
        known=known,
        links=links,
        sample_weight=sample_weight,
        batch=batch,
    )
    check_parts(problem)
    mixture_vae.check_neighbors(problem)
    mixture_vae.check_weights(problem)
    if is_told(problem) and preset.init != "ensemble":
        raise InvalidInput(
            f"known labels and links need init='ensemble', got {preset.init!r}; give "
            "it so, also with preset='smoke'."
        )
    stage = problem.runner.stage
    if start is None:
        state = stage("pretrain", pretrain_and_report, problem, {})
    else:
        state = mixture_vae.models_of(problem, start)
    state = stage("graph", build_graph, problem, state)
    if start is None:
        state = stage("initialize", initialize, problem, state)
        state = stage("classifier", fit_to_labels, problem, state)
    state = stage("train", train, problem, state)
    state = stage("evaluate", choose_restart, problem, state)
    model = model_of(preset, problem.num_features, state, problem.parts)
    return Outcome(model, state, mixture_vae.records_of_best(problem, state))


def is_told(problem: Problem) -> bool:
    """Whether the clusters of some rows, or links, are known."""
    return problem.known is not None or problem.links is not None


def classifier_module(preset: DGGPreset) -> Classifier:
    """f_2 with the preset's widths; None is section 4.2's: L-K, or L-K-K for K < 10."""
    sizes = preset.classifier_hidden_sizes
    if sizes is None:
        sizes = () if preset.num_clusters >= 10 else (preset.num_clusters,)
    return Classifier(sizes, preset.num_clusters)


def networks_of(
    preset: DGGPreset, num_features: int, parts: Parts = AS_NAMED
) -> Networks:
    """The model as pure functions of (parameters, batch)."""
    classify = Network(classifier_module(preset), preset.precision, "classifier")
    return autoencoder_networks(preset, num_features, parts)._replace(classify=classify)


model_of = functools.partial(mixture_vae.model_of, networks_of)


def _networks(problem: Problem) -> Networks:
    return networks_of(problem.preset, problem.num_features, problem.parts)


def _label_metrics(problem: Problem, state: State, labels: np.ndarray) -> Metrics:
    """Scores of labels [N], and what the judges that see no true ones say of them."""
    information = graph_information(Graph(**state["init_graph"]), labels)
    metrics = problem.scores(labels) | {"graph_information": information}
    if "judge" in state:
        metrics |= judged(problem, state["judge"], labels)
    if problem.links is not None:
        metrics |= held_metrics(problem.links, labels)
    return metrics


def count_clusters(
    x: np.ndarray | sparse.csr_array,
    preset: DGGPreset,
    runner: Run,
    *,
    seed: int = 0,
    parts: Parts = AS_NAMED,
    image_shape: tuple[int, ...] | None = None,
    neighbors: Neighbors | None = None,
    sample_weight: np.ndarray | None = None,
    batch: np.ndarray | None = None,
) -> ClusterCount:
    """Estimates K where the neighbours of the graph are near.

    It is the stage ``num_clusters`` of a run. What it trains, the autoencoder and the
    Siamese network, does not depend on K: with a shared folder, ``run`` with the same
    runner and arguments trains it no more.

    Args:
      x: data, float32 of shape [N, D], or a sparse matrix.
      preset: all settings; num_clusters does not count.
      runner: checkpoints and callbacks.
      seed: of every random number of the run.
      parts: networks or likelihood in place of those that the preset names.
      image_shape: (H, W), (H, W, 1) or (H, W, 3) of the image in a row; None if there
        is none.
      neighbors: nearest neighbours that are known: clusters are those of the data.
      sample_weight: how much each row counts in the pretraining, [N]; clusters are
        counted without.
      batch: labels of the batches that rows were measured in, [N].

    Returns:
      K, and the evidence for it.

    Raises:
      InvalidInput: if x cannot be clustered so, has too few rows or no clusters.
      Diverged: if a loss is not finite.
      Interrupted: if the runner was asked to stop.
    """
    cluster_count.check_num_rows(x.shape[0])
    problem = Problem.of(
        x,
        preset,
        seed=seed,
        runner=runner,
        parts=parts,
        image_shape=image_shape,
        neighbors=neighbors,
        sample_weight=sample_weight,
        batch=batch,
    )
    check_parts(problem)
    mixture_vae.check_neighbors(problem)
    runner.stage("num_clusters", _count_clusters, problem, {})
    return ClusterCount.from_dict(runner.records[0])


def _count_clusters(problem: Problem, state: State) -> tuple[State, Metrics]:
    if _graph_of(problem) != "data":
        state = pretrained(problem)
    space, _ = _graph_space(problem, state)
    count = cluster_count.estimate_num_clusters(
        space,
        problem.numpy_seed("num_clusters"),
        functools.partial(problem.runner.progress, "cluster_count"),
    )
    return {"num_clusters": np.asarray(count.num_clusters)}, count._asdict()


def build_graph(problem: Problem, state: State) -> tuple[State, Metrics]:
    """The similarity graph; reports K-means of where its neighbours are near."""
    preset, runner = problem.preset, problem.runner
    space, identity = _graph_space(problem, state)
    if problem.neighbors is not None:
        indices, distances = problem.neighbors
    else:
        found = runner.share(
            "neighbors",
            identity | {"num_candidates": preset.num_candidates},
            lambda: nearest(problem, space, preset.num_candidates, "neighbors"),
        )
        indices, distances = found["indices"], found["distances"]

    def drawn(num_neighbors: int, choice: str) -> Graph:
        return neighbor_graph.draw_neighbors(
            indices[:, : preset.num_candidates],  # given ones may be more
            distances[:, : preset.num_candidates],
            num_neighbors,
            choice=choice,
            weights=preset.neighbor_weights,
            kernel_neighbor=preset.kernel_neighbor,
            seed=problem.numpy_seed("graph"),
        )

    if preset.num_neighbors > indices.shape[1] == len(indices) - 1:
        LOGGER.warning(
            "num_neighbors=%d: every row is a neighbour of all %d others, so that the "
            "graph tells nothing; take fewer than a cluster has rows.",
            preset.num_neighbors,
            len(indices) - 1,
        )
    kept = drawn(preset.num_neighbors, preset.neighbor_choice)
    # Clusters show in a wide graph; what one row is shows in those next to it.
    initial = drawn(preset.init_neighbors, "random")
    metrics = kmeans_metrics(problem, space, "graph")
    if problem.y is not None:
        purity = neighbor_graph.neighbor_purity(kept.indices, problem.y)
        metrics["neighbor_purity"] = purity
    entries = {"graph": kept._asdict(), "init_graph": initial._asdict()}
    if _graph_of(problem) == "siamese":
        entries["embedding"] = space
    elbo = mean_elbo(problem, autoencoder(problem), autoencoder_params(state))
    return entries, metrics | elbo


def _graph_space(
    problem: Problem, state: State
) -> tuple[np.ndarray | HostRows, dict[str, Any]]:
    """Points whose distances make the graph, and what these depend on."""
    space = _graph_of(problem)
    if space == "siamese":
        embedding, identity = encoder_embedding(problem, state)
        return problem.without_batch_effects(embedding), identity
    if space == "latents":
        latents = latent_means(problem, _networks(problem), state)
        return problem.without_batch_effects(latents), vae_identity(problem)
    # Dense, but for rows that stay on the host.
    points = problem.points
    points = points if isinstance(points, HostRows) else points[:]
    return points, problem.batch_identity()


def _graph_of(problem: Problem) -> str:
    """``graph_of``; neighbours that are given stand for those of the embedding."""
    space = problem.preset.graph_of
    untrained = space == "siamese" and not problem.preset.siamese_epochs
    return "data" if untrained or problem.neighbors is not None else space


def initialize(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Labels and mixture of every restart; reports the labels.

    With init=ensemble, those of an ensemble of clusterings that stand best
    (``ensemble.standing``): the first restart starts from the best, the next from the
    second best.
    """
    preset, judge, reports = problem.preset, {}, {}
    if preset.init == "ensemble" or preset.guard:
        latents = latent_means(problem, _networks(problem), state)
        embeddings = {"latents": problem.without_batch_effects(latents)}
        if "embedding" in state:
            embeddings["siamese"] = state["embedding"]
        count = _KNOWN_STARTS if is_told(problem) else preset.restarts
        # Latents as many as the columns are no summary of them.
        seen = dict(embeddings)
        if latents.shape[1] >= problem.points.shape[1]:
            del seen["latents"]
        starts, entries, ranking = candidates(problem, seen, count)
        judge, reports = {"judge": entries}, ranked(ranking)
        if is_told(problem):
            starts, told = start_from(
                starts,
                problem.known,
                _graphs_of_all(problem, state, entries),
                preset.num_clusters,
                problem.numpy_seed("initialize"),
                problem.links,
                embeddings["latents"],
            )
            reports["by_known"] = told

    def initial_mixture(posterior: Gaussian, restart: int) -> State:
        if preset.init == "ensemble":
            labels = starts[restart % len(starts)]
            entries = mixture_vae.mixture_of_labels(problem, posterior, labels)
        else:
            graph = Graph(**state["init_graph"])
            entries = mixture_vae.label_mixture(problem, posterior, graph, restart)
        if preset.initial_variance:  # erratum E23
            logvar = entries["mixture"]["logvar"]
            entries["mixture"]["logvar"] = np.full_like(
                logvar, np.log(preset.initial_variance)
            )
        return entries

    entries, metrics = mixture_vae.initial_mixtures(
        problem,
        _networks(problem),
        state,
        initial_mixture,
        functools.partial(_label_metrics, problem, state | judge),
    )
    return entries | judge, metrics | reports


def _graphs_of_all(problem: Problem, state: State, judge: State) -> dict[str, Graph]:
    """Graphs of the neighbours of all rows: DGG's own, and those in the data."""
    graphs = {_graph_of(problem): Graph(**state["init_graph"])}
    if len(judge["rows"]) == len(problem.x):  # those of the ensemble are of all rows
        of_data = judge["graphs"].items()
        return graphs | {name: Graph(**graph) for name, graph in of_data}
    if "data" not in graphs:
        points = problem.points
        points = points if isinstance(points, HostRows) else points[:]
        found = nearest(problem, points, problem.preset.init_neighbors, "neighbors")
        graphs["data"] = local_affinity(found["indices"], found["distances"])
    return graphs


def fit_to_labels(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Fits f_2, then the whole model, to the initial labels of every restart.

    The classifier alone cannot follow labels that are no linear function of the
    latents; what it misses is lost before the joint training starts.
    """
    preset, networks = problem.preset, _networks(problem)
    keys = restart_keys(problem, "classifier")
    models = {
        **mixture_vae.repeated(autoencoder_params(state), preset.restarts),
        "classifier": _fitted_classifier(problem, state, keys),
        "mixture": Mixture(**state["mixture"]),
    }
    if preset.label_epochs:
        models = _fitted_model(problem, state, models, keys)
    label_metrics = functools.partial(_label_metrics, problem, state)
    entries, metrics = assessed(problem, networks, models, of_gammas, label_metrics)
    labels = entries["log_assignments"].argmax(axis=2)
    shares = _followed(problem, labels, state["initial_labels"])
    for report, share in zip(metrics["restarts"], shares, strict=True):
        report["labels_followed"] = float(share)
    if preset.guard and preset.label_epochs and shares.max() < _FEW_FOLLOWED:
        LOGGER.warning(
            "The model follows %.0f%% of the labels that it starts from: its latents "
            "do not tell these clusters apart, and training seldom finds them again. A "
            "smaller variance, another likelihood, a larger latent_dim or more "
            "label_epochs may help.",
            100 * shares.max(),
        )
    return entries, metrics


def _fitted_model(
    problem: Problem, state: State, models: State, keys: jax.Array
) -> State:
    """The whole model, fitted to the initial labels until it follows them."""
    preset, networks = problem.preset, _networks(problem)
    labels = state["initial_labels"]
    graph, weights = Graph(**state["graph"]), problem.sample_weight
    _, operator = operators(graph, preset.graph_strength, weights)
    data = node_data(problem.x, operator, likelihood(problem))
    data = data._replace(sample_weight=weights)
    steps = steps_per_epoch(len(problem.x), preset.batch_size)
    epochs, weight = preset.label_epochs, 1.0
    left, is_last = max(epochs, _STEPS // steps), "judge" not in state
    for fits in itertools.count(1):
        models = optimize(
            "labels" if fits == 1 else f"labels_{fits}",
            LabelLoss(networks, preset.classifier_input == "sample"),
            models,
            (data, labels, weight),
            jax.vmap(jax.random.fold_in, (0, None))(keys, 1 + fits),  # 1: classifier
            Schedule(
                epochs,
                preset.batch_size,
                preset.learning_rate,
                optimizer=preset.optimizer,
                shuffle=preset.shuffle,
            ),
            num_points=len(problem.x),
            monitor=problem.runner,
            restarts=True,
            data_axes=(None, 0, None),
        ).params
        left, weight = left - epochs, 10.0 * weight
        clusters = _clusters(problem, networks, models)
        if _followed(problem, clusters, labels).min() >= _FOLLOWED:
            return models
        epochs = min(2 * epochs, left)
        if not left:
            if is_last or not _costs_standing(problem, state, clusters):
                return models
            epochs = left = max(1, _FURTHER_STEPS // steps)
            is_last = True


def _clusters(problem: Problem, networks: Networks, models: State) -> np.ndarray:
    """The clusters of all rows by each restart's model, [R, N]."""
    clusters = []
    for restart in range(problem.preset.restarts):
        model = restart_of(models, restart)
        _, log_assignment = evaluate.infer(networks, model, problem.x)
        clusters.append(np.asarray(log_assignment).argmax(axis=1))
    return np.stack(clusters)


def _followed(problem: Problem, clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The share of labels [R, N] that the clusters of each restart are, [R]."""
    return np.average(clusters == labels, axis=1, weights=problem.sample_weight)


def _costs_standing(problem: Problem, state: State, clusters: np.ndarray) -> bool:
    """Whether clusters [R, N] of any restart stand worse than the initial labels."""
    return any(
        judged(problem, state["judge"], followed)["standing"]
        < judged(problem, state["judge"], wanted)["standing"] - _DEAR
        for followed, wanted in zip(clusters, state["initial_labels"], strict=True)
    )


def _fitted_classifier(problem: Problem, state: State, keys: jax.Array) -> State:
    """Parameters of f_2, fitted to the initial labels of every restart."""
    preset = problem.preset
    module, z = classifier_module(preset), jnp.zeros((1, preset.latent_dim))
    encode = _networks(problem).encode
    posterior = evaluate.encode_all(encode, state["encoder"], problem.x)
    return optimize(
        "classifier",
        ClassifierLoss(
            Network(module, preset.precision), preset.classifier_input == "sample"
        ),
        jax.vmap(lambda key: initial_params(module, key, z))(keys),
        (posterior, state["initial_labels"], problem.sample_weight),
        jax.vmap(jax.random.fold_in, (0, None))(keys, 1),
        Schedule(
            preset.classifier_epochs,
            preset.batch_size,
            preset.classifier_learning_rate,
            shuffle=preset.shuffle,
        ),
        num_points=len(problem.x),
        monitor=problem.runner,
        restarts=True,
        data_axes=(None, 0, None),
    ).params


def train(problem: Problem, state: State) -> tuple[State, Metrics]:
    """Maximises J, for every restart; reports the trained models.

    It ends before its epochs do when it has converged (``has_converged``), or when its
    clusters have stood much worse than before it for ten epochs. Where it has broken
    clusters up, which the judge tells, the model from before it is kept.
    """
    networks = _networks(problem)
    is_guarded = problem.preset.guard and "judge" in state and problem.links is None

    def standing(labels: np.ndarray) -> float:
        return _standing(problem, state, labels)[1]

    before = [standing(table.argmax(axis=1)) for table in state["log_assignments"]]

    def has_ended(epochs: Sequence[Metrics]) -> bool:
        if has_converged(epochs, problem.preset.tolerance):
            return True
        return is_guarded and stands_worse(epochs, before)

    trained = optimize(
        "train",
        params=with_mixture(state["models"]),
        key=restart_keys(problem, "train"),
        schedule=training_schedule(problem.preset),
        num_points=len(problem.x),
        monitor=problem.runner,
        table=state["log_assignments"],
        restarts=True,
        describe=functools.partial(
            mixture_vae.table_metrics,
            problem,
            standing=standing if "judge" in state else None,
        ),
        converged=has_ended,
        **joint_objective(
            problem.preset,
            networks,
            likelihood(problem),
            problem.x,
            Graph(**state["graph"]),
            problem.known,
            problem.links,
            problem.sample_weight,
            _warp_in_training(problem),
        ),
    )
    label_metrics = functools.partial(_label_metrics, problem, state)
    entries, metrics = assessed(
        problem, networks, trained.params, of_gammas, label_metrics
    )
    trained_metrics = metrics["restarts"]
    undone = _is_undone(problem, state, entries)
    if undone.any():
        before, after = state["models"], entries["models"]
        kept = [
            restart_of(before if is_undone else after, restart)
            for restart, is_undone in enumerate(undone)
        ]
        models = with_mixture(mixture_vae.stacked(kept))
        entries, metrics = assessed(problem, networks, models, of_gammas, label_metrics)
    for report, trained, is_undone in zip(
        metrics["restarts"], trained_metrics, undone, strict=True
    ):
        report["stage_kept"] = "classifier" if is_undone else "train"
        if is_undone:  # what it came to all the same
            report["undone"] = trained
    metrics["epochs"] = len(problem.runner.epochs_of("train"))
    return entries, with_objectives(problem, metrics)


def _warp_in_training(problem: Problem) -> RandomWarp | None:
    """What changes images that are to stay in their clusters; None: nothing does.

    A warp of an image that misses pixels would miss several times as many.
    """
    if not problem.preset.warp_weight or problem.misses_values:
        return None
    return warp_of(problem)


def has_converged(epochs: Sequence[Metrics], tolerance: float) -> bool:
    """Whether clusters and J have come to rest: Algorithm 1's "while not converge".

    For five epochs hardly a row has gone to another cluster, and J has gained less than
    a tenth of all that it has gained.

    Args:
      epochs: the metrics of those so far; of restarts, lists.
      tolerance: the share of rows an epoch that is hardly one; 0: it never has.
    """
    if not tolerance or len(epochs) < 2 * _RESTING_EPOCHS:
        return False
    moved = np.array([np.atleast_1d(epoch["moved"]) for epoch in epochs])
    objective = np.array([np.atleast_1d(epoch["objective"]) for epoch in epochs])
    rest = slice(-_RESTING_EPOCHS, None)
    before = objective[-2 * _RESTING_EPOCHS : -_RESTING_EPOCHS].mean(axis=0)
    now = objective[rest].mean(axis=0)
    is_flat = now - before <= _RESTING_GAIN * np.abs(now - objective[0])
    return bool((is_flat & (moved[rest].mean(axis=0) <= tolerance)).all())


def stands_worse(epochs: Sequence[Metrics], before: Sequence[float]) -> bool:
    """Whether clusters have stood much worse than before training for ten epochs.

    Such training would be undone, so more of it is in vain.

    Args:
      epochs: the metrics of those so far, with the standing of every restart.
      before: the standing before the first, of every restart.
    """
    if len(epochs) < _WORSE_EPOCHS:
        return False
    last = epochs[-_WORSE_EPOCHS:]
    standing = np.array([np.atleast_1d(epoch["standing"]) for epoch in last])
    return bool((standing < np.array(before) - _DEAR).all())


def _is_undone(problem: Problem, before: State, after: State) -> np.ndarray:
    """Whether training has broken up the clusters, for every restart, [R].

    That is where their standing has fallen, though no more links hold, of which other
    clusterings know nothing; or where another one of them is empty now.
    """
    tables = zip(before["log_assignments"], after["log_assignments"], strict=True)
    undone = []
    for pair in tables:
        labels, labels_after = (table.argmax(axis=1) for table in pair)
        clusters, standing = _standing(problem, before, labels)
        clusters_after, standing_after = _standing(problem, before, labels_after)
        has_fallen = standing_after < standing - _DEAR
        if problem.links is not None:
            held = problem.links.held
            has_fallen &= held(labels_after).sum() <= held(labels).sum()
        undone.append(clusters_after < clusters or has_fallen)
        if undone[-1] and problem.preset.guard:
            LOGGER.debug(  # the stage's line says it
                "The clusters stood better before training (%.3f) than after it "
                "(%.3f): the model from before it is kept; guard=False keeps the "
                "trained one.",
                standing,
                standing_after,
            )
    return np.array(undone) & problem.preset.guard


def _standing(problem: Problem, state: State, labels: np.ndarray) -> tuple[int, float]:
    """What labels [N] are judged by: how many clusters they have, then standing."""
    if "judge" not in state:
        return 0, 0.0
    return len(np.unique(labels)), judged(problem, state["judge"], labels)["standing"]


def choose_restart(problem: Problem, state: State) -> tuple[State, Metrics]:
    """The best restart, and what it says of every point.

    That is the one whose clusters stand best in the ensemble, without an ensemble the
    one whose clusters the graph has most information of. Its probabilities are
    calibrated.
    """
    networks = _networks(problem)

    def final_metrics(model, log_weights, labels):
        terms = own_elbo(problem, networks, model, log_weights, ELBO_DRAWS)
        return _label_metrics(problem, state, labels), terms

    criterion = "standing" if "judge" in state else "graph_information"
    calibration_of = functools.partial(calibrated_by_others, problem, state)
    return evaluated(
        problem, networks, state, of_gammas, final_metrics, criterion, calibration_of
    )


def calibrated_by_others(problem: Problem, state: State, entries: State) -> State:
    """What the neighbours of a row and the ensemble make of its probabilities.

    Args:
      problem: what is clustered.
      state: with the graph in which clusters show and, if there is one, the ensemble.
      entries: of the model: "latent_mean" and "log_assignment".

    Returns:
      The calibration, the calibrated "log_assignment" [N, K] and the former one, ln
      q(c | x), as "raw_log_assignment"; nothing if the preset wants none.
    """
    preset, judge = problem.preset, state.get("judge")
    if not preset.calibrate:
        return {}
    rows = np.arange(len(problem.x)) if judge is None else judge["rows"]
    random = np.random.default_rng(problem.numpy_seed("evaluate"))
    some = np.sort(random.permutation(len(rows))[:MOST_ROWS])
    known = fit_calibration(
        entries["latent_mean"],
        entries["log_assignment"],
        Graph(**state["init_graph"]),
        rows=rows[some],
        clusterings=None if judge is None else judge["labels"][:, some],
        standings=None if judge is None else judge["standings"],
    )
    raw = entries["log_assignment"]
    log_assignment = all_log_probabilities(known, entries["latent_mean"], raw)
    return {
        "calibration": known._asdict(),
        "raw_log_assignment": raw,
        "log_assignment": np.asarray(log_assignment),
    }
