"""The command ``dgg-jax``, and how its commands start under other names, too."""

import difflib
import gc
import importlib
import pathlib
import sys
from collections.abc import Sequence
from types import ModuleType

from absl import app, flags

from dgg_jax.cli.command import EXIT_INVALID, fail, parse_flags
from dgg_jax.version import __version__

COMMANDS = {
    "run": "clusters a data set, from raw data to a report",
    "compare": "compares methods on one data set",
    "predict": "clusters new rows with a saved model",
    "report": "draws the report of a finished run anew",
}
# Objects, and times, before each generation is searched for what nobody holds any more.
_COLLECTIONS = (50_000, 20, 20)
_HELP = ("h", "help", "helpshort", "helpfull")


def main() -> int:
    """Starts the command that the first argument names, with the flags that follow."""
    name = "dgg-jax"
    if pathlib.Path(sys.argv[0]).name == "__main__.py":
        name = "python -m dgg_jax"
    arguments = sys.argv[1:]
    if not arguments or arguments[0].lstrip("-") in _HELP:
        print(_usage(name))
        return 0 if arguments else EXIT_INVALID
    if arguments[0] == "--version":
        print(f"dgg_jax {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        near = difflib.get_close_matches(arguments[0], COMMANDS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        return fail(
            f"{arguments[0]!r} is no command of {name}, which are "
            f"{', '.join(COMMANDS)}.{meant}",
            EXIT_INVALID,
        )
    # Imported alone: a command has no flags of another.
    module = importlib.import_module(f"dgg_jax.cli.{arguments[0]}")
    return start(module, f"{name} {arguments[0]}", arguments[1:])


def _usage(name: str) -> str:
    lines = [f"  {name} {command:<9} {text}\n" for command, text in COMMANDS.items()]
    return (
        "Deep clustering by Gaussian mixture VAEs with graph embedding.\n\n"
        f"{''.join(lines)}\n"
        f"{name} COMMAND --helpshort explains the usual flags of each, --helpfull all "
        "of them."
    )


def start(module: ModuleType, name: str, arguments: Sequence[str] | None = None) -> int:
    """Runs a program as if it were the main module; does not return.

    Args:
      module: with ``main``, its flags, and a docstring for their help.
      name: as one types it; messages that tell what to type begin with it.
      arguments: by default those of the process.
    """
    # Where absl looks for the help of a program, and for its own flags.
    typed = f"dgg-jax {module.__name__.rpartition('.')[2]}"
    sys.modules["__main__"].__doc__ = (module.__doc__ or "").replace(typed, name)
    for flag in flags.FLAGS.get_key_flags_for_module(module):
        flags.FLAGS.register_key_flag_for_module(name, flag)
    given = sys.argv[1:] if arguments is None else arguments
    sys.argv = [name, *given]
    # To import and to trace makes hundreds of thousands of objects, most of which stay.
    gc.set_threshold(*_COLLECTIONS)
    return app.run(module.main, argv=sys.argv, flags_parser=parse_flags)
