"""The content of files of one's own: what is read of them, and what is refused."""

from pathlib import Path

from dgg_jax.checks import InvalidInput
from dgg_jax.storage import arrays

OTHERWISE = "or save it as .npz or .csv"  # where an extra is missing
_COPIES = 4  # of a file that memory must have room for


def content_of(path: Path) -> bytes:
    """The content of a file.

    Raises:
      InvalidInput: if it is empty, cannot be read or does not fit into memory.
    """
    try:
        size = path.stat().st_size
        if size * _COPIES > arrays.memory():
            raise InvalidInput(
                f"{path} has {size / 2**30:,.1f} GiB, too much for the "
                f"{arrays.memory() / 2**30:,.1f} GiB of memory of this machine; save "
                "it as .npy, which is read from the disk."
            )
        content = arrays.read_bytes(path)
    except InvalidInput:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise InvalidInput(f"{path} cannot be read: {reason}.") from error
    if not content:
        raise InvalidInput(f"{path} is empty; save the data anew.")
    return content


def check_size(path: Path, num_values: int, size: int, remedy: str) -> None:
    """Refuses a file whose values would take far more memory than it has bytes.

    Args:
      path: the file.
      num_values: that it declares.
      size: of the file, in bytes.
      remedy: for the message.

    Raises:
      InvalidInput: then.
    """
    if num_values * 4 > arrays.most_bytes(size):
        raise InvalidInput(
            f"{path} declares {num_values:,} values, out of proportion to its "
            f"{size:,} bytes, or to the {arrays.memory() / 2**30:,.0f} GiB of this "
            f"machine; {remedy}."
        )


def damaged(path: Path, kind: str, error: Exception) -> InvalidInput:
    """The error for a file that reading has failed of.

    Args:
      path: the file.
      kind: what it should be.
      error: that came.
    """
    if isinstance(error, MemoryError):
        return InvalidInput(f"{path} does not fit into memory; save a part of it.")
    reason = " ".join(str(error).split()) or type(error).__name__
    return InvalidInput(
        f"{path} is no whole {kind} ({reason[:200]}); it may be truncated: save it "
        "anew."
    )
