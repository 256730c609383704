"""What every suite of the benchmark is told."""

from typing import NamedTuple


class Settings(NamedTuple):
    """What every suite is told.

    Attributes:
      quick: whether to measure little, to see that everything runs.
      repetitions: of what is timed, after the first.
      data_dir: folder that holds MNIST, or None.
    """

    quick: bool
    repetitions: int
    data_dir: str | None
