"""Where benchmarks that come in files are looked for, and in which order."""

import pytest

from dgg_jax import data
from dgg_jax.checks import InvalidInput
from dgg_jax.data import image_sets, sources

NAMES = [names[0] for names in image_sets.MNIST.layouts[0].files]


def found_in(folder):
    """Paths of the files of MNIST."""
    layout, paths = sources.find(image_sets.MNIST, folder)
    assert layout is image_sets.MNIST.layouts[0]
    return paths


def test_find_none(tmp_path):
    assert sources.find(image_sets.MNIST, tmp_path) is None
    assert sources.find(image_sets.MNIST, tmp_path / "absent") is None


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("dots", [True, False])
def test_spellings(tmp_path, tiny, compress, dots):
    tiny.write(tmp_path, compress=compress, dots=dots)
    assert {path.name for path in found_in(tmp_path)} == {
        path.name for path in tmp_path.iterdir()
    }
    assert data.load("mnist", data_dir=tmp_path).x.shape == (10, 784)


def test_find_takes_the_first_complete_folder(tmp_path, tiny):
    inner = tmp_path / "mnist"
    inner.mkdir()
    (inner / NAMES[0]).write_bytes(b"")
    tiny.write(tmp_path)
    paths = found_in(tmp_path)
    assert [path.name for path in paths] == [f"{name}.gz" for name in NAMES]
    assert {path.parent for path in paths} == {tmp_path}
    # That of the data set's name first: others have files of the same names.
    tiny.write(inner)
    assert {path.parent for path in found_in(tmp_path)} == {inner}


def test_a_folder_of_the_same_name_is_no_file(tmp_path, tiny):
    tiny.write(tmp_path)
    (tmp_path / NAMES[0]).mkdir()
    assert found_in(tmp_path)[0].name == "train-images-idx3-ubyte.gz"


def test_missing_partners_are_named(tmp_path, tiny):
    tiny.write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    (tmp_path / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(InvalidInput) as caught:
        sources.find(image_sets.MNIST, tmp_path)
    message = str(caught.value)
    assert f"{tmp_path} has only 2 of the 4" in message
    assert "missing: train-labels-idx1-ubyte, t10k-images-idx3-ubyte. Put" in message
