"""What every command line does alike: messages, signals, mistakes and its status."""

import contextlib
import io
import logging
import os
import pathlib
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import flags
from absl import logging as absl_logging

from dgg_jax import checks, log
from dgg_jax.runs.programs import program

EXIT_INVALID = 2
EXIT_DIVERGED = 3
EXIT_STORAGE = 4


class Path(flags.ArgumentParser):
    """Parses the path of a file or folder: ~ is the user's home, as in a shell."""

    syntactic_help = "a path"

    def parse(self, argument: str) -> str:
        """The path, with ~ expanded."""
        return os.path.expanduser(argument)


_PLAIN = flags.ArgumentSerializer()
DATA_DIR = flags.DEFINE(
    Path(),
    "data_dir",
    None,
    "Folder with the original files of the data set, and for downloads; by default "
    "dgg_jax in the user's cache folder.",
    serializer=_PLAIN,
)
# Shared, so that programs can be imported together.
WORKDIR = flags.DEFINE(
    Path(),
    "workdir",
    None,
    "Folder of the run; by default runs/<dataset>-<method>-<seed>, of another preset "
    "than default runs/<dataset>-<method>-<preset>-<seed>.",
    serializer=_PLAIN,
)
OUTPUT = flags.DEFINE(
    Path(),
    "output",
    None,
    "The file to write, also over an old one; see above.",
    serializer=_PLAIN,
)

BATCH = flags.DEFINE_string(
    "batch",
    None,
    "Of a file of your own: the column, array or key of obs that says which batch a "
    "row was measured in, for dgg and vade: what batches differ in is then none of the "
    "clusters'.",
)


def limit_logs() -> None:
    """Shows warnings, but of orbax not even errors: they reach us as exceptions."""
    if not flags.FLAGS["verbosity"].present:
        absl_logging.set_verbosity(absl_logging.WARNING)
        absl_logging.get_absl_logger().addFilter(_is_not_of_orbax)
        sys.unraisablehook = _show_unless_of_orbax


def _is_not_of_orbax(record: Any) -> bool:
    return "orbax" not in pathlib.Path(record.pathname).parts


_show_unraisable = sys.unraisablehook


def _show_unless_of_orbax(unraisable: Any) -> None:
    # One write that fails leaves the others without the loop that awaits them.
    if str(unraisable.exc_value) != "Event loop is closed":
        _show_unraisable(unraisable)


class _Plainly(logging.Handler):
    """Writes messages as they are; a stream that is closed is an error, as of print."""

    def emit(self, record: logging.LogRecord) -> None:
        log.write(record.getMessage(), record.levelno)


@contextlib.contextmanager
def _messages_shown() -> Iterator[None]:
    """Within, what the library tells is written to stdout, warnings to stderr."""
    logger, handler = log.LOGGER, _Plainly()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # absl's handler would write them once more
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


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
    if isinstance(sys.stdout, io.TextIOWrapper):  # paths need not be text, as told here
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if len(arguments) > 1:
            raise checks.InvalidInput(
                f"unexpected argument {arguments[1]!r}; flags look like {example}, see "
                "--helpshort."
            )
        with _messages_shown():
            return body()
    except checks.InvalidInput as error:
        return fail(str(error), EXIT_INVALID)
    except KeyboardInterrupt:
        return fail(interrupted, 128 + signal.SIGINT)


class StopSignal:
    """Remembers the first SIGINT or SIGTERM; the second ends the process."""

    def __init__(self):
        self.received: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number, frame):
        self.received = number
        signal.signal(number, signal.SIG_DFL)
        print(
            "\nStopping at the next checkpoint; once more to stop at once.",
            file=sys.stderr,
        )

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.received is not None


def fail(message: str, status: int) -> int:
    """Says what is wrong in one line on stderr."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


def fail_to_write(error: OSError, workdir: pathlib.Path, command: str) -> int:
    """Says what could not be written, and the command that then goes on."""
    if isinstance(error, FileNotFoundError):
        return fail(
            f"{error.filename or workdir} has vanished while it was in use; bring it "
            f"back, then: {command}",
            EXIT_STORAGE,
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return fail(
        f"{error.filename or workdir} cannot be written: {reason}. What was saved "
        f"before is whole; free space or make the folder writable, then: {command}",
        EXIT_STORAGE,
    )


def tell_stopped(stop: StopSignal, workdir: pathlib.Path, command: str) -> int:
    """Says that a signal has stopped the program, and the command that goes on."""
    print(f"Stopped; everything so far is in {workdir}. Continue with:\n  {command}")
    return 128 + (stop.received or signal.SIGTERM)  # another process's


def continuing(name: str, arguments: Sequence[str], *added: str) -> str:
    """The command that continues what was started with these arguments.

    Args:
      name: of the command.
      arguments: that it was given.
      *added: arguments that it then needs, too.
    """
    once = re.compile(r"--?(no)?(resume|overwrite)(=.*)?")
    kept = [argument for argument in arguments if not once.fullmatch(argument)]
    return shlex.join([*program(name), *kept, *added])


def parse_flags(arguments: list[str]) -> list[str]:
    """As absl's, but a wrong flag is one line on stderr.

    So is one of those that programs share, where this one's help does not have it.
    """
    try:
        rest = flags.FLAGS(arguments)
    except SystemExit:  # with 1, after the help that was asked for
        sys.exit(0)
    except flags.Error as error:
        sys.exit(fail(f"{error}; see --helpshort.", EXIT_INVALID))
    program = arguments[0]
    used = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(program)}
    for name in (DATA_DIR.name, WORKDIR.name, OUTPUT.name, BATCH.name):
        if used and name not in used and flags.FLAGS[name].present:
            unused = f"--{name} is no flag of {program}; see --helpshort."
            sys.exit(fail(unused, EXIT_INVALID))
    return rest
