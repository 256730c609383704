"""Settings of every test: rank promotion is an error, float64 on request."""

import functools
import gc
import os
import pathlib

# Tests compute with few numbers, one worker on each processor: there more threads wait
# for each other, and do so by spinning. To be set before numpy is imported.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import jax
import pytest
from jax._src.interpreters import mlir

from tests.forked import Forks

jax.config.update("jax_numpy_rank_promotion", "raise")

# Most programs of tests run once: with these, XLA makes them in half the time.
_SOON_COMPILED = ["--xla_cpu_parallel_codegen_split_count=1"]
if jax.__version_info__ < (0, 11):  # later ones abort at a flag that they lost
    _SOON_COMPILED.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *_SOON_COMPILED])

# A context of MLIR takes as long to make as a small program to lower, and serves all.
mlir.make_ir_context = functools.cache(mlir.make_ir_context)


def pytest_configure(config):
    """Leaves the order of files to the hook below."""
    config.option.loadscopereorder = False  # of pytest-xdist: most tests first


def pytest_addoption(parser):
    """--release: the tests, too, that take too long for every change."""
    parser.addoption("--release", action="store_true", help="also tests marked release")


def pytest_collection_modifyitems(config, items):
    """Files with slow tests first: else one worker ends alone with the longest."""
    if not config.getoption("release"):
        later = {item for item in items if item.get_closest_marker("release")}
        config.hook.pytest_deselected(items=list(later))
        items[:] = [item for item in items if item not in later]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """Lets the garbage collector be: half a million objects stay until the end.

    Tracing makes so many objects that it would look through all of them again and
    again, a tenth of the time of most tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture
def x64():
    """Runs a test in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Lets go of compiled programs: thousands of them crash a worker."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder with the real data sets; skips the test where it is absent."""
    folder = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not found: {folder} does not exist")
    return folder


@pytest.fixture(scope="session", autouse=True)
def xla(tmp_path_factory):
    """Compiles without optimising, and once; the environment of processes that do."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all workers
    settings = {
        "jax_compilation_cache_dir": str(folder / "xla"),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
        "jax_disable_most_optimizations": True,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
    return {**os.environ, **{k.upper(): str(v) for k, v in settings.items()}}


@pytest.fixture(scope="session")
def forks(xla):
    """Starts processes of which none has to import anything."""
    with Forks(xla) as forks:
        yield forks
