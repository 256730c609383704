import jax
import pytest

import dgg_jax
from dgg_jax.checks import InvalidInput


@pytest.fixture
def no_cache():
    """Nothing is set, and nothing stays set."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_what_is_compiled_is_kept_in_the_users_cache(no_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dgg_jax.keep_compiled()
    folder = tmp_path / "dgg_jax" / "compiled"
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert folder.is_dir()


def test_a_folder_that_the_user_has_named_stays(no_cache, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    dgg_jax.keep_compiled()
    assert jax.config.jax_compilation_cache_dir == "elsewhere"


def test_without_a_folder_nothing_is_kept(no_cache, monkeypatch, tmp_path):
    (tmp_path / "dgg_jax").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dgg_jax.keep_compiled()
    assert jax.config.jax_compilation_cache_dir is None


def test_a_folder_of_ones_own(no_cache, tmp_path):
    dgg_jax.keep_compiled(tmp_path / "programs" / "kept")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "programs" / "kept")
    assert (tmp_path / "programs" / "kept").is_dir()
    # Of a fit, most programs take less than the second that jax asks for.
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.1
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=r"folder .*kept cannot be made: Not a"):
        dgg_jax.keep_compiled(tmp_path / "file" / "kept")
