"""Tiny runs in a process of its own, by as many devices as XLA_FLAGS gives it.

python -m tests.spread_run FOLDER METHOD[:EPOCH] ...

METHOD is dgg, vade, streamed_dgg, whose rows stay on the host, or own_dgg and own_vade,
whose batches are of each device's own rows; its run goes to a folder of that name in
FOLDER. state.npz in it gets the last state. A run with an EPOCH stops after that one of
the joint training; instead of a state it leaves compiled.json: what every loop was
compiled to.
"""

import json
import pathlib
import sys

import jax
import numpy as np

from dgg_jax import methods, presets
from dgg_jax.methods import dgg
from dgg_jax.training import Interrupted, Run, loop

NUM_POINTS, NUM_FEATURES = 99, 24  # no multiple of 2 or 8


def data():
    """Three clusters, far from each other."""
    rng = np.random.default_rng(0)
    centers = rng.choice([0.1, 0.9], (3, NUM_FEATURES))
    x = centers[np.arange(NUM_POINTS) % 3] + 0.05 * rng.standard_normal(
        (NUM_POINTS, NUM_FEATURES)
    )
    return np.clip(x, 0.0, 1.0).astype(np.float32)


def preset(method):
    settings = {}
    if method.startswith("streamed_"):
        method = method.removeprefix("streamed_")
        settings["device_memory_share"] = 1e-12
    if method.startswith("own_"):
        method = method.removeprefix("own_")
        settings["shuffle"] = "device"
    if method == "dgg":  # every loop that it has
        settings |= {"siamese_epochs": 1, "siamese_warp": 1.0, "pretrain_vae_epochs": 1}
    return method, presets.for_data(
        method,
        data(),
        3,
        name="smoke",
        restarts=2,
        hidden_sizes=(8,),
        latent_dim=2,
        pretrain_autoencoder_epochs=3,
        label_epochs=1,
        num_neighbors=5,
        batch_size=16,
        pretrain_batch_size=16,
        epochs=4,
        likelihood="bernoulli",
        **settings,
    )


def recording(fit, compiled):
    """``loop.fit`` that notes what each loop is compiled to."""

    def recorded(name, epoch, state, data, key, *arguments, put, **keywords):
        placed, of_epoch = put(state), data
        if "prepare" in keywords:
            of_epoch = data, keywords["prepare"](placed)
        lowered = epoch.lower(placed, of_epoch, key)
        compiled[name] = lowered.compile().as_text()
        return fit(name, epoch, state, data, key, *arguments, put=put, **keywords)

    return recorded


def stopped(method, folder, stop_after):
    """Runs a method up to an epoch of the joint training."""
    compiled, epochs = {}, []
    fit = loop.fit
    loop.fit = recording(fit, compiled)
    runner = Run(
        folder,
        on_epoch=lambda stage, loop, epoch, *_: epochs.append((loop, epoch)),
        should_stop=lambda: ("train", stop_after) in epochs,
    )
    try:
        train(method, runner)
    except Interrupted:
        (folder / "compiled.json").write_text(json.dumps(compiled))
    finally:
        loop.fit = fit


def finished(method, folder):
    """Runs a method to its end, from where it stopped if it has."""
    state = train(method, Run(folder))
    leaves = jax.tree_util.tree_leaves_with_path(state)
    np.savez(
        folder / "state.npz", **{jax.tree_util.keystr(path): v for path, v in leaves}
    )


def train(method, runner):
    name, settings = preset(method)
    told = {"image_shape": (4, 6)} if name == "dgg" else {}
    try:
        return methods.method(name).run(data(), settings, runner=runner, **told)[1]
    finally:
        runner.close()


def main(folder, *jobs):
    # The fits to labels are all alike: two or three.
    dgg._STEPS, dgg._FURTHER_STEPS = 21, 7
    for job in jobs:
        method, _, epoch = job.partition(":")
        place = pathlib.Path(folder, method)
        if epoch:
            stopped(method, place, int(epoch))
        else:
            finished(method, place)


if __name__ == "__main__":
    main(*sys.argv[1:])
