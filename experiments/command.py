"""What every command line does alike with mistakes: one line on stderr, a status."""

import sys

from absl import flags

EXIT_INVALID = 2
EXIT_DIVERGED = 3

DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder with the original files of the data set, and for downloads; by default "
    "dgg_jax in the user's cache folder.",
)


def fail(message: str, status: int) -> int:
    """Says what is wrong in one line on stderr."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def parse_flags(arguments: list[str]) -> list[str]:
    """As absl's, but a wrong flag is one line on stderr."""
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit(fail(f"{error}; see --helpshort.", EXIT_INVALID))
