"""Makes the features of STL-10 that methods cluster, from its images, by a ResNet-50.

  python -m experiments.extract_features --dataset=stl10 --data_dir=<folder>
  python -m experiments.main --dataset=stl10 --data_dir=<folder>

The images are those of stl10_binary.tar.gz or its unpacked files in --data_dir or its
folder stl10, otherwise a download of 2.5 GiB. An image's 2,048 features are the average
of the last convolution's map. By default --output is stl10_resnet50.npz in --data_dir,
where experiments.main finds it. Needs Keras: pip install 'dgg-jax[features]'.
"""

import os
import pathlib
import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags

from dgg_jax import checks
from dgg_jax.cli import command
from dgg_jax.cli.command import DATA_DIR, OUTPUT
from dgg_jax.storage import folders
from experiments import resnet

_DATASET = flags.DEFINE_enum("dataset", "stl10", ("stl10",), "Whose images.")
_WEIGHTS = flags.DEFINE_string(
    "weights",
    "imagenet",
    "imagenet (downloaded by Keras, 90 MiB, and kept in ~/.keras), a file of weights "
    "for Keras's ResNet50 without its top (.h5), or random, to see that all runs.",
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    224,
    "Height and width that images are resized to. The papers do not say; ResNet-50 was "
    "trained with 224, and the images of STL-10 have 96, which is about 5 times as "
    "fast.",
    lower_bound=resnet.MIN_IMAGE_SIZE,
)
# Divides both splits, so that only one size of batch is compiled.
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 50, "Images a step.", lower_bound=1)
flags.declare_key_flag("output")
flags.declare_key_flag("data_dir")


def main(arguments: Sequence[str]) -> int:
    """Reads, computes and writes; a user's mistake is one line on stderr."""
    return command.answer(
        arguments,
        _extract,
        example="--dataset=stl10",
        interrupted="interrupted; nothing is written.",
    )


def _extract() -> int:
    from dgg_jax.data import fetching, loaders, stl10

    start = time.monotonic()
    data_dir = loaders.data_directory(DATA_DIR.value)
    if _WEIGHTS.value == "random" and OUTPUT.value is None:
        raise checks.InvalidInput(
            "--weights=random needs --output=FILE, because its features are none to "
            "compare with."
        )
    output = pathlib.Path(OUTPUT.value or data_dir / stl10.FEATURES_FILE).expanduser()
    if output.suffix != ".npz":
        raise checks.InvalidInput(f"--output={output} must end in .npz.")
    resnet.check(_WEIGHTS.value)
    splits, origin = fetching.fetch(stl10.IMAGES, data_dir)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with folders.partial(output) as made:  # better now than after the work
            features = _features(splits)
            size = _IMAGE_SIZE.value
            stl10.write_features(
                made,
                features,
                f"ResNet-50 of Keras {resnet.version()}, weights {_WEIGHTS.value}, "
                f"images of {size} x {size} pixels, from {origin}",
            )
            os.replace(made, output)
    except OSError as error:
        reason = error.strerror or error
        message = f"--output={output} cannot be written: {reason}."
        return command.fail(message, command.EXIT_STORAGE)
    num_rows = sum(len(rows.labels) for rows in features.values())
    seconds = time.monotonic() - start
    print(f"{num_rows:,} x {stl10.NUM_FEATURES:,} features in {seconds:.0f} s")
    print(f"Output   {output}")
    return 0


def _features(splits: dict) -> dict:
    """The features of the images of every split, with their labels."""
    from dgg_jax.progress import Progress

    network = resnet.build(_WEIGHTS.value, _IMAGE_SIZE.value)
    progress = Progress(tuple(splits))
    found = {}
    try:
        for split, rows in splits.items():
            starts = range(0, len(rows.features), _BATCH_SIZE.value)
            batches = []
            for step, start in enumerate(starts, 1):
                batches.append(network(rows.features[start : start + starts.step]))
                progress.epoch("features", f"{split} batches", step, len(starts), {})
            found[split] = rows._replace(features=np.concatenate(batches))
    finally:
        progress.close()
    for split, rows in found.items():
        if not np.isfinite(rows.features).all():
            raise checks.InvalidInput(
                f"--weights={_WEIGHTS.value} gives features of {split} that are not "
                "finite; use other weights."
            )
    return found


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
