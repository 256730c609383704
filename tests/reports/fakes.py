"""Finished runs that never were."""

import numpy as np

from dgg_jax.reports.inputs import ReportInputs


def fake(
    num_clusters=3, num_latents=2, shape=(4, 4), labelled=True, name="digits", **result
):
    random = np.random.default_rng(0)
    num_points, num_features = 60, int(np.prod(shape))
    labels = np.arange(num_points) % num_clusters
    probabilities = random.dirichlet(np.ones(num_clusters) * 0.2, num_points)
    is_image = len(shape) > 1
    scores = {"accuracy": 0.91, "nmi": 0.8, "ari": 0.7} if labelled else {}
    base = {
        "final": {"accuracy": None, "nmi": None, "ari": None, "elbo": -9.5} | scores,
        "stages": [
            {"name": "pretrain", "seconds": 1.5, "elbo": -12.25}
            | ({"accuracy": 0.7} if labelled else {}),
            {"name": "graph", "seconds": None, "neighbor_purity": 0.96},
            {"name": "train", "seconds": 75.0, "elbo": -9.5, "reconstruction": -7.0}
            | scores,
        ],
        "versions": {"python": "3.11", "jax": None},
        "device": "cpu",
        "seed": 0,
        "dataset": {"name": name, "rows": num_points, "provenance": None},
        "seconds": 80.0,
        "paper": None,
        "git_revision": None,
        "command": "python -m experiments.main --dataset=digits",
    }
    return ReportInputs(
        config={"method": "dgg", "epochs": 40, "hidden": [500, 500], "data_dir": None},
        result=base | result,
        history=[{"stage": "train", "loop": "train", "epoch": 0, "objective": -9.0}],
        x=random.uniform(size=(num_points, num_features)),
        feature_shape=shape,
        y=labels if labelled else None,
        class_names=[f"class {k}" for k in range(num_clusters)] if labelled else None,
        labels=labels,
        probabilities=probabilities,
        embedding=random.normal(size=(num_points, num_latents)),
        mixture_logvar=random.normal(size=(num_clusters, num_latents)),
        samples=random.uniform(size=(num_clusters, 4, num_features)),
        traversals=(
            random.uniform(size=(num_clusters, num_latents, 15, num_features))
            if is_image
            else None
        ),
    )
