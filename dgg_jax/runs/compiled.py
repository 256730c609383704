"""What jax compiles: kept for the next process, or made in a hurry."""

import contextlib
import os
import pathlib
import warnings
from collections.abc import Iterator

from dgg_jax import checks


def keep_compiled(folder: str | os.PathLike[str] | None = None) -> None:
    """Keeps what jax compiles in a folder, where later processes find it.

    The first fit of a process is compiled for seconds; once that is kept, a fit of the
    same shapes and settings in another process is not. This sets options of
    jax for the whole process, so it is for the top of a script, and no fit does it by
    itself; the command line does. Programs of another version of jax are never taken.

    Args:
      folder: that is made; None: dgg_jax/compiled in the user's cache folder, unless
        jax has one already, as by the environment variable JAX_COMPILATION_CACHE_DIR.
        JAX_ENABLE_COMPILATION_CACHE=false keeps nothing.

    Raises:
      InvalidInput: if a folder that is named cannot be made.
    """
    import jax  # takes seconds; on the command line mistakes are told before

    from dgg_jax.data.loaders import data_directory

    if folder is None and jax.config.jax_compilation_cache_dir is not None:
        return
    place = data_directory(None) / "compiled" if folder is None else folder
    place = pathlib.Path(place).expanduser().absolute()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if folder is None:  # then every program would warn
            return
        raise checks.InvalidInput(
            f"folder {place} cannot be made: {error.strerror or error}; name another."
        ) from error
    jax.config.update("jax_compilation_cache_dir", str(place))
    # A fit has dozens of programs that take less than a second each.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    # A full disk costs time here, and nothing else.
    warnings.filterwarnings("ignore", "Error (read|writ)ing persistent compilation")


@contextlib.contextmanager
def compiled_quickly() -> Iterator[None]:
    """Within, jax hardly optimises what it compiles: for runs of few steps."""
    import jax

    name = "jax_disable_most_optimizations"
    before = jax.config.read(name)
    jax.config.update(name, True)
    try:
        yield
    finally:
        jax.config.update(name, before)
