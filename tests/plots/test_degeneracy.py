import numpy as np

from dgg_jax import plots


def arc_run(prior, constraint=0.0, num_points=40):
    labels = np.arange(num_points) % 3
    latents = np.random.default_rng(0).normal(size=(num_points, 2))
    return plots.ArcRun("a run", labels, latents, prior, constraint)


def test_a_row_of_three_panels_for_each_run():
    x = np.random.default_rng(1).normal(size=(40, 2))
    figure = plots.degeneracy(x, [arc_run([0.0, -0.1]), arc_run([0.0, -1.6], 0.3)])
    assert len(figure.axes) == 6
    data, latents, curve = figure.axes[3:]
    offsets = data.collections[0].get_offsets()
    assert sorted(map(tuple, offsets)) == sorted(map(tuple, x))
    assert len(latents.collections[0].get_offsets()) == 40
    epochs, values = curve.lines[0].get_data()
    np.testing.assert_array_equal(epochs, [1, 2])
    np.testing.assert_array_equal(values, [0.0, -1.6])
    assert curve.lines[1].get_ydata()[0] == -0.3
    figure.draw_without_rendering()


def test_the_priors_share_their_range_and_only_a_constraint_has_a_line():
    x = np.zeros((40, 2))
    figure = plots.degeneracy(x, [arc_run([0.0, -0.1]), arc_run([0.0, -1.6], 0.3)])
    free, constrained = figure.axes[2], figure.axes[5]
    assert free.get_ylim() == constrained.get_ylim()
    assert free.get_ylim()[0] < -1.6
    assert (len(free.lines), len(constrained.lines)) == (1, 2)


def test_clusters_without_any_divergence_have_a_range_too():
    figure = plots.degeneracy(np.zeros((40, 2)), [arc_run([0.0, 0.0])])
    low, high = figure.axes[2].get_ylim()
    assert low < 0.0 < high
