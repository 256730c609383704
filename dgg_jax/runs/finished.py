"""A finished run, read from its folder."""

import json
import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from dgg_jax import checks, data, presets
from dgg_jax.data.dataset import random_rows
from dgg_jax.runs import kept
from dgg_jax.runs.config import AUTO, DEFAULTS, Config
from dgg_jax.storage.arrays import Npz, read_bytes
from dgg_jax.training import Metrics, State


class FinishedRun(NamedTuple):
    """What a run has left.

    Attributes:
      config: what it was told; data of one's own are in it if they were asked for.
      result: the content of result.json.
      history: the lines of metrics.jsonl, one an epoch.
      state: labels [N], and probabilities [N, K], their logarithms log_assignment and
        latent_mean [N, L] where the method has them.
      model: the fitted estimator, or None of a method that has none.
      names: of the rows, [N], or None if the data have none.
    """

    config: Config
    result: dict[str, Any]
    history: list[Metrics]
    state: State
    model: Any
    names: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """The cluster of each row, [N]."""
        return self.state["labels"]

    @property
    def probabilities(self) -> np.ndarray | None:
        """Of the clusters, [N, K], or None if they are hard."""
        return self.state.get("probabilities")

    @property
    def embedding(self) -> np.ndarray | None:
        """The latents of the rows, [N, L], or None of a method without any."""
        return self.state.get("latent_mean")


def load_run(
    workdir: str | os.PathLike,
    data_dir: str | None = None,
    *,
    with_data: bool = False,
) -> FinishedRun:
    """Reads a finished run of the command line; nothing in its folder is executed.

    Args:
      workdir: its folder.
      data_dir: where its data lie, as the run was told.
      with_data: whether the configuration shall have data of one's own, which are then
        read from their file.

    Returns:
      Its labels, probabilities, embedding, names of rows, scores, history, settings and
      model.

    Raises:
      InvalidInput: if it is no finished run of this version, or the file with the data
        of one's own, if these are asked for, is not what was clustered.
    """
    workdir = pathlib.Path(workdir).expanduser()
    if not (workdir / kept.CONFIG).is_file():
        raise checks.InvalidInput(
            f"{workdir} holds no run; name the folder that a run has written."
        )
    result = kept.read_result(workdir)
    if result is None:
        raise checks.InvalidInput(
            f"{workdir} holds a run that is not finished; continue it by --resume."
        )
    try:
        identity = kept.read_config(workdir)
        history = _lines(workdir / kept.METRICS)
        state, names = _predictions(workdir / kept.PREDICTIONS)
        preset = presets.preset_class(identity["method"]).from_dict(
            identity["preset_values"]
        )
        config = _config(identity, preset, workdir, data_dir)
        if with_data and "data_sha256" in identity:
            config = _with_data(config, identity["data_sha256"])
    except checks.InvalidInput:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise checks.InvalidInput(
            f"{workdir} is no run that this version can read ({error!r}); repeat it by "
            "--overwrite."
        ) from error
    model = _model(workdir / "model")
    return FinishedRun(config, result, history, state, model, names)


def _lines(path: pathlib.Path) -> list[Metrics]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _predictions(path: pathlib.Path) -> tuple[State, np.ndarray | None]:
    """The state that predictions.npz holds, and the names of the rows."""
    arrays = Npz(read_bytes(path))
    state = {"labels": arrays["labels"]}
    for entry, name in (
        ("log_assignment", "probabilities"),
        ("raw_log_assignment", "raw_probabilities"),
    ):
        if name in arrays.names:
            with np.errstate(divide="ignore"):  # ln 0 is -inf, and its exp 0 again
                state[entry] = np.log(arrays[name])
    entries = {"latent_mean": "embedding", "elbo": "elbo", "consensus": "consensus"}
    # As they are, beside their logarithms, whose exp may differ in the last bit.
    entries["probabilities"] = "probabilities"
    for entry, name in entries.items():
        if name in arrays.names:
            state[entry] = arrays[name]
    names = arrays.read("names", text=True) if "names" in arrays.names else None
    return state, names


def _config(
    identity: dict[str, Any],
    preset: presets.Preset,
    workdir: pathlib.Path,
    data_dir: str | None,
) -> Config:
    """The configuration that config.json holds."""
    size, shape = identity.get("image_size"), identity.get("image_shape")
    return Config(
        method=identity["method"],
        dataset=identity["dataset"],
        preset_name=identity["preset"],
        preset=preset,
        seed=identity["seed"],
        moons_distance=identity.get("moons_distance", DEFAULTS["moons_distance"]),
        tfidf_scaling=identity.get("tfidf_scaling", DEFAULTS["tfidf_scaling"]),
        data_dir=data_dir,
        workdir=workdir,
        resume=False,
        overwrite=False,
        checkpoint_seconds=0.0,
        label=identity.get("label"),
        scaling=identity.get("scaling", DEFAULTS["scaling"]),
        image_size=None if size is None else tuple(size),
        layer=identity.get("layer"),
        image_shape=None if shape is None else tuple(shape),
        batch=identity.get("batch"),
        split=identity.get("split", DEFAULTS["split"]),
        num_rows=identity.get("num_rows"),
        stability=identity.get("stability", DEFAULTS["stability"]),
        is_auto=identity.get("num_clusters") == AUTO,
        cluster_count=identity.get("cluster_count"),
    )


def _with_data(config: Config, sha256: str) -> Config:
    """The configuration of data of one's own, with them.

    Raises:
      InvalidInput: if they are others now.
    """
    whole = data.load(
        config.dataset,
        label=config.label,
        scaling=config.scaling,
        image_size=config.image_size,
        layer=config.layer,
        image_shape=config.image_shape,
        batch=config.batch,
    )
    own = random_rows(whole, config.num_rows)
    if own.fingerprint != sha256:
        raise checks.InvalidInput(
            f"{config.dataset} has changed since {config.workdir} clustered it, or a "
            f"former version read it otherwise (its SHA-256 then: {sha256}); bring "
            "back the file as it was, or run anew."
        )
    return config._replace(own=own)


def _model(path: pathlib.Path) -> Any:
    if not path.exists():
        return None
    from dgg_jax.estimators import load

    return load(path)
