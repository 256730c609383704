"""How latents lie to the coordinates."""

import numpy as np
import pytest

from experiments import latents
from tests.experiments.command_line import call

VARIANCES = np.array([9.0, 4.0, 1.0, 0.01])


def cluster(rotation):
    random = np.random.default_rng(0)
    return random.standard_normal((4000, 4)) * np.sqrt(VARIANCES) @ rotation.T


def test_clusters_along_the_coordinates_are_aligned():
    points = np.concatenate([cluster(np.eye(4)), 50 + cluster(np.eye(4)[::-1])])
    found, turned = latents.alignment(points, np.repeat([0, 1], 4000))
    assert found == pytest.approx(1.0, abs=0.01)
    assert 0.5 < turned < 0.8


def test_clusters_across_the_coordinates_are_not():
    # Every entry of this rotation is 1/2 or -1/2.
    hadamard = np.kron([[1, 1], [1, -1]], [[1, 1], [1, -1]]) / 2
    found, turned = latents.alignment(cluster(hadamard), np.zeros(4000, int))
    assert found == pytest.approx(0.25, abs=0.03)
    assert turned > found


def test_the_share_of_the_largest_variances():
    assert latents.largest_share(np.ones((3, 10))) == pytest.approx(0.2)
    assert latents.largest_share(np.array([[1, 97, 1, 1]])) == pytest.approx(0.98)


def test_the_table_has_a_row_for_each_method(tmp_path, capsys):
    tiny = ("--preset=smoke", "--num_rows=200", "--hidden_sizes=8", "--latent_dim=2")
    for seed in (0, 1):
        run = (f"--workdir={tmp_path / str(seed)}", f"--seed={seed}")
        assert call(*run, "--method=vade", *tiny).code == 0
    latents.main([str(tmp_path / "0"), str(tmp_path / "1")])
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.count("|") == row.count("|") == 6
    assert row.startswith("| VaDE | 2 | ") and row.count(" ± ") == 3
