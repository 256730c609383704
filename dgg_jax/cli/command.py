"""What every command line does alike with mistakes: one line on stderr, a status."""

import os
import pathlib
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags, logging

from dgg_jax import checks

EXIT_INVALID = 2
EXIT_DIVERGED = 3
EXIT_STORAGE = 4

DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Folder with the original files of the data set, and for downloads; by default "
    "dgg_jax in the user's cache folder.",
)
# Shared, so that programs can be imported together.
WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run; by default runs/<dataset>-<method>-<seed>, of another preset "
    "than default runs/<dataset>-<method>-<preset>-<seed>.",
)
OUTPUT = flags.DEFINE_string(
    "output", None, "The file to write, also over an old one; see above."
)


def limit_logs() -> None:
    """Shows warnings, but of orbax not even errors: they reach us as exceptions."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
        logging.get_absl_logger().addFilter(_is_not_of_orbax)
        sys.unraisablehook = _show_unless_of_orbax


def _is_not_of_orbax(record: Any) -> bool:
    return "orbax" not in pathlib.Path(record.pathname).parts


_show_unraisable = sys.unraisablehook


def _show_unless_of_orbax(unraisable: Any) -> None:
    # One write that fails leaves the others without the loop that awaits them.
    if str(unraisable.exc_value) != "Event loop is closed":
        _show_unraisable(unraisable)


def answer(
    arguments: Sequence[str],
    body: Callable[[], int],
    *,
    example: str,
    interrupted: str = "interrupted.",
) -> int:
    """Runs a program's body; a user's mistake is one line on stderr.

    Args:
      arguments: what absl has left of the command line: none but the program's name.
      body: what the program does, and its status.
      example: of a flag of it.
      interrupted: what Ctrl-C before any work says.

    Returns:
      The status of the process.
    """
    limit_logs()
    try:
        if len(arguments) > 1:
            raise checks.InvalidInput(
                f"unexpected argument {arguments[1]!r}; flags look like {example}, see "
                "--helpshort."
            )
        return body()
    except checks.InvalidInput as error:
        return fail(str(error), EXIT_INVALID)
    except KeyboardInterrupt:
        return fail(interrupted, 128 + signal.SIGINT)


def fail(message: str, status: int) -> int:
    """Says what is wrong in one line on stderr."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def fail_to_write(error: OSError, workdir: pathlib.Path, command: str) -> int:
    """Says what could not be written, and the command that then goes on."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return fail(
        f"{error.filename or workdir} cannot be written: {reason}. What was saved "
        f"before is whole; free space or make the folder writable, then: {command}",
        EXIT_STORAGE,
    )


def parse_flags(arguments: list[str]) -> list[str]:
    """As absl's, but a wrong flag is one line on stderr."""
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        sys.exit(fail(f"{error}; see --helpshort.", EXIT_INVALID))
