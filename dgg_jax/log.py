"""Messages for people: a logger, and what shows them where no one has set up logging.

The library prints nothing. The command line writes what ``LOGGER`` is told to stdout
and stderr (``dgg_jax.cli.command``); in a program of one's own::

    logging.basicConfig(level=logging.INFO)

takes the messages, and ``logging.getLogger("dgg_jax").setLevel(logging.ERROR)``
silences them.
"""

import logging
import sys

LOGGER = logging.getLogger("dgg_jax")


def tell(message: str, level: int = logging.INFO) -> None:
    """Logs what a user has asked for, or must see, and shows it also without logging.

    Libraries that we import give the root logger a handler of theirs, so that handlers
    alone do not tell whether a user has set up logging: that INFO is logged does.

    Args:
      message: to log; plainly to stdout, or to stderr from a warning on, if no logging
        is set up.
      level: of ``logging``; the user's level of ``LOGGER``, if there is one, counts.
    """
    if LOGGER.hasHandlers() and LOGGER.isEnabledFor(logging.INFO):
        LOGGER.log(level, message)
    elif level >= LOGGER.level:
        write(message, level)


def write(message: str, level: int) -> None:
    """Writes a line to what is now stdout, or stderr from a warning on."""
    stream = sys.stderr if level >= logging.WARNING else sys.stdout
    stream.write(f"{message}\n")
    stream.flush()
