"""What every command line does alike with mistakes: one line on stderr, a status."""

import os
import pathlib
import sys
import warnings
from typing import Any

from absl import flags, logging

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


def keep_compiled() -> None:
    """Keeps what jax compiles in the user's cache folder, for the next command.

    The environment variable JAX_COMPILATION_CACHE_DIR names another folder,
    JAX_ENABLE_COMPILATION_CACHE=false keeps nothing.
    """
    import jax  # takes seconds; mistakes are told before

    from dgg_jax.data.loaders import data_directory

    if jax.config.jax_compilation_cache_dir is None:
        folder = data_directory(None) / "compiled"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:  # then every program would warn
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        # A run has dozens of programs that take less than a second each.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        # A full disk costs time here, and nothing else.
        warnings.filterwarnings("ignore", "Error (read|writ)ing persistent compilation")


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
