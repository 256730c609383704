"""The command that measures: its flags, its file, and that every suite runs."""

import importlib.machinery
import json
import pathlib
import sys
import types

import jax
import numpy as np
import pytest

from dgg_jax import checks, data
from dgg_jax.methods.dgg_steps import TupleData, TupleLoss
from experiments import benchmark
from experiments.benchmarks import (
    accelerator,
    graph,
    memory,
    peers,
    scaling,
    startup,
    training,
    workloads,
)
from experiments.benchmarks.timing import Figure
from tests.experiments.command_line import assert_refused, call

ROOT = pathlib.Path(__file__).resolve().parents[3]


def run(*arguments):
    return call(*arguments, program=benchmark)


def measuring(*figures, error=None):
    """Suites, of which training yields these figures."""

    def suite(settings):
        yield from figures
        if error:
            raise error

    return lambda: {"training": suite}


RATIO = Figure(
    "epoch",
    1.2,
    (1.1, 1.3),
    target=1.25,
    seconds={"DGG": {"median": 1.2, "quartiles": (1.1, 1.3), "compile": 4.0}},
    details={"rows": 8},
)


def test_figures_are_printed_and_written(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "suites", measuring(RATIO))
    path = tmp_path / "new" / "benchmark.json"
    outcome = run("--suite=training", f"--output={path}", "--repetitions=2")
    assert outcome.code == 0
    assert "epoch" in outcome.out and "at most 1.25" in outcome.out
    assert str(path) in outcome.out
    content = json.loads(path.read_text())
    of_suite = RATIO._replace(suite="training")
    assert content["figures"] == json.loads(json.dumps([of_suite._asdict()]))
    assert content["settings"] == {"quick": False, "repetitions": 2, "data_dir": None}
    for name in ("command", "device", "threads", "versions"):
        assert content[name]
    assert content["git_revision"] or not (ROOT / ".git").exists()  # of an sdist


def test_what_was_measured_before_a_failure_is_written(monkeypatch, tmp_path):
    error = RuntimeError("of the suite")
    monkeypatch.setattr(benchmark, "suites", measuring(RATIO, error=error))
    path = tmp_path / "benchmark.json"
    with pytest.raises(RuntimeError, match="of the suite"):
        run("--suite=training", f"--output={path}")
    assert len(json.loads(path.read_text())["figures"]) == 1


def test_a_file_is_shown_as_a_table(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "suites", measuring(RATIO))
    path = tmp_path / "benchmark.json"
    run("--suite=training", f"--output={path}")
    lines = run(f"--show={path}").out.splitlines()
    assert lines[2] == "| epoch | 1.2 | 1.1 to 1.3 | at most 1.25 |"
    assert "jax" in lines[-1] and "threads" in lines[-1]


def test_all_names_every_suite_and_quick_leaves_out_the_slow(monkeypatch, tmp_path):
    called, slow = [], ("memory", "clusterings")

    def suite(name):
        def figures(settings):
            called.append((name, settings.repetitions))
            return iter(())

        return figures

    fake = {name: suite(name) for name in benchmark.suites()}
    monkeypatch.setattr(benchmark, "suites", lambda: fake)
    run(f"--output={tmp_path / 'a.json'}")
    of_all = [name for name in fake if name != "accelerator"]
    assert called == [(name, 7) for name in of_all]
    called.clear()
    run("--quick", f"--output={tmp_path / 'a.json'}")
    assert called == [(name, 3) for name in of_all if name not in slow]
    called.clear()
    run("--suite=all,accelerator", f"--output={tmp_path / 'a.json'}")
    assert called == [(name, 7) for name in fake]


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--suite=speed"], ["suite", "'speed'", "training", "all"]),
        (["--suite="], ["suite must name", "training"]),
        (["--repetitions=0"], ["repetitions"]),
        (["training"], ["'training'", "--suite=training"]),
        (["--output=/dev/null/x.json"], ["--output", "/dev/null/x.json"]),
        (["--show=absent.json"], ["--show=absent.json", "No such file"]),
    ],
)
def test_mistakes_are_one_line(arguments, fragments):
    assert_refused(run(*arguments), *fragments)


def test_peers_need_an_extra(monkeypatch):
    for name in ("pynndescent", "torch", "clustpy"):
        monkeypatch.setitem(sys.modules, name, None)
    assert_refused(
        run("--suite=training,peers"),
        "suite=peers needs more packages",
        "clustpy, pynndescent and torch are not installed: pip install ",
        "'dgg-jax[benchmark]'",
    )


def test_of_all_suites_what_lacks_an_extra_is_left_out(monkeypatch, tiny, capsys):
    for name in ("pynndescent", "torch", "clustpy"):
        monkeypatch.setitem(sys.modules, name, None)
    settings = benchmark.Settings(quick=True, repetitions=1, data_dir=None)
    assert list(peers.figures(settings)) == []
    assert "not measured: clustpy, pynndescent and torch" in capsys.readouterr().out
    names = [figure.name for figure in graph.figures(settings)]
    assert names and not any("pynndescent" in name for name in names)
    assert "pip install 'dgg-jax[approximate]'" in capsys.readouterr().out


def test_other_files_are_not_shown(tmp_path):
    path = tmp_path / "result.json"
    path.write_text('{"final": {}}')
    assert_refused(run(f"--show={path}"), "no file that this program has written")


@pytest.fixture
def tiny(monkeypatch):
    """As --quick, but next to nothing."""
    changes = {"hidden_sizes": (8, 8)}
    small = {"rows": 64, "changes": changes}
    sizes = {
        training: training.QUICK._replace(
            tuple_rows=64, restart_rows=64, num_neighbors=(1, 2), **small
        ),
        graph: graph.QUICK._replace(rows=64, num_neighbors=5),
        scaling: scaling.QUICK._replace(rows=(64, 128), changes=changes),
        peers: peers.QUICK._replace(**small),
    }
    for module, of_quick in sizes.items():
        monkeypatch.setattr(module, "QUICK", of_quick)


@pytest.mark.slow
def test_every_suite_runs(tiny, tmp_path):
    path = tmp_path / "benchmark.json"
    outcome = run("--quick", "--repetitions=1", f"--output={path}")
    assert outcome.code == 0
    content = json.loads(path.read_text())
    suites = {figure["suite"] for figure in content["figures"]}
    assert suites >= {"training", "graph", "scaling"}
    for figure in content["figures"]:
        assert figure["value"] > 0
        assert figure["details"]["rows"] in (64, 128)
        assert all(timing["repetitions"] == 1 for timing in figure["seconds"].values())


@pytest.mark.slow
def test_a_run_in_a_process_of_its_own(xla, monkeypatch):
    for name, value in xla.items():
        monkeypatch.setenv(name, value)
    settings = benchmark.Settings(quick=True, repetitions=1, data_dir=None)
    startup.first_epoch({})
    figures = {figure.unit: figure for figure in memory.figures(settings)}
    assert figures["MiB"].value > 100
    assert figures["s"].details["stage_seconds"].keys() >= {"pretrain", "train"}


def test_a_run_that_fails_is_told():
    with pytest.raises(RuntimeError, match=r"the run failed:\nerror: .*'absent'"):
        list(memory.of_run("a run", ["--dataset=absent"]))


def settings_of(data_dir=None, quick=False):
    return benchmark.Settings(quick=quick, repetitions=1, data_dir=data_dir)


@pytest.fixture
def ran(monkeypatch):
    """In place of runs: the figures of one, and what was asked for."""
    asked = []

    def of_run(name, flags, target=None):
        asked.append((name, *flags))
        yield Figure(f"{name}, stage train", 3.0, unit="s")
        details = {"accuracy": 0.9, "command": "python"}
        yield Figure(name, 9.0, unit="s", target=target, details=details)

    monkeypatch.setattr(memory, "of_run", of_run)
    return asked


@pytest.mark.slow
def test_the_suite_of_an_accelerator_begins_with_what_matters(
    tiny, ran, monkeypatch, tmp_path
):
    monkeypatch.setattr(graph, "on_the_device", lambda x, k: {})
    path = tmp_path / "benchmark.json"
    flags = ("--suite=accelerator", "--quick", "--repetitions=1")
    outcome = run(*flags, f"--output={path}")
    assert outcome.code == 0
    assert "without MNIST" in outcome.out and "without cuml and faiss" in outcome.out
    names = [one["name"] for one in json.loads(path.read_text())["figures"]]
    assert [" ".join(name.split()[:3]) for name in names] == [
        "DGG / its", "epoch of DGG,", "a run of", "a run of", "2 restarts /",
        "kNN, 64 x", "kNN, 64 x", *("DGG / its", "epoch of DGG,") * 2,
    ]  # fmt: skip
    precisions = [name.rpartition(" ")[2] for name in names if "epoch" in name]
    assert precisions == ["float32", "tf32", "bfloat16"]


def test_a_run_of_mnist_has_its_accuracy_beside_that_of_a_cpu(ran):
    *_, whole, accuracy = accelerator._run(settings_of("data"))
    assert ran == [("a run of mnist", "--dataset=mnist", "--data_dir=data")]
    assert whole.value == 9.0
    assert accuracy.name == "a run of mnist, accuracy; on a CPU 0.9857"
    assert accuracy.value == 0.9


def test_without_mnist_a_run_has_no_accuracy(ran, monkeypatch, capsys):
    def absent(name, data_dir):
        raise checks.MissingData(f"no {name} in {data_dir}.")

    monkeypatch.setattr(data, "load", absent)
    monkeypatch.setattr(accelerator, "_write_clusters", lambda folder: None)
    settings = accelerator._with_its_data(settings_of("elsewhere"))
    assert settings.data_dir is None
    told = capsys.readouterr().out
    assert "no mnist in elsewhere." in told and "without MNIST" in told
    figures = list(accelerator._run(settings))
    assert ran[0][:2] == ("a run of planted clusters", "--dataset=mnist")
    assert all("accuracy" not in figure.details for figure in figures)


def test_planted_clusters_are_read_as_mnist(tmp_path):
    accelerator._write_clusters(tmp_path, num_train=60)
    dataset = data.load("mnist", data_dir=str(tmp_path))
    assert dataset.x.shape == (70, 784) and set(dataset.y) <= set(range(10))
    assert 0.1 < dataset.x.mean() < 0.9


def test_parts_that_fail_or_have_no_time_cost_no_other(monkeypatch, capsys):
    def failing():
        raise ValueError("no memory")
        yield

    parts = {"one": failing, "two": lambda: iter([RATIO]), "three": failing}
    monkeypatch.setattr(accelerator, "_parts", lambda settings: parts)
    measured = accelerator.figures(settings_of())
    assert next(measured) is RATIO
    with pytest.raises(ExceptionGroup) as error:
        next(measured)
    assert len(error.value.exceptions) == 2
    assert "failed: one: no memory" in capsys.readouterr().out
    monkeypatch.setattr(accelerator, "_LAST_BEGIN", -1.0)
    assert list(accelerator.figures(settings_of())) == []
    assert "no time left for: two" in capsys.readouterr().out


def test_searches_of_others_are_those_that_are_installed(monkeypatch):
    x = np.random.default_rng(0).random((6, 2), np.float32)
    distances = ((x[:, None] - x) ** 2).sum(-1)

    class Index:
        """As cuml's and faiss's."""

        def __init__(self, *arguments, **keywords):
            pass

        def fit(self, x):
            return self

        add = fit

        def kneighbors(self, x, return_distance):
            return distances.argsort(axis=1)[:, :3]

        def search(self, x, k):
            return None, distances.argsort(axis=1)[:, :k]

    fakes = {
        "cuml": {}, "cuml.neighbors": {"NearestNeighbors": Index},
        "faiss": {"IndexFlatL2": Index},
    }  # fmt: skip
    for name, content in fakes.items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    found = graph.on_the_device(x, 2)
    assert list(found) == ["cuml", "faiss"]
    for figure in graph.searches(x, "points", 2, settings_of(), found):
        assert figure.details.get("recall", 1.0) == 1.0
    for name in ("cuml", "faiss"):
        monkeypatch.setitem(sys.modules, name, None)
    assert graph.on_the_device(x, 2) == {}


def test_a_process_that_ends_early_is_told(monkeypatch):
    monkeypatch.setattr(startup, "_COMMAND", ("false",))
    with pytest.raises(RuntimeError, match="no first epoch"):
        startup.first_epoch({})


def test_recall_is_the_share_of_exact_neighbors():
    exact = np.array([[1, 2], [0, 2]])
    assert graph.recall_of(np.array([[2, 5], [2, 0]]), exact) == 0.75


def workload(**settings):
    given = workloads.images(6, None, 2)
    return given.with_settings(hidden_sizes=(4, 3), batch_size=3, **settings)


def test_products_are_those_of_the_networks():
    gradients = workloads.products(workload())()
    shapes = jax.tree.map(lambda leaf: leaf.shape, gradients)
    assert shapes["encoder"]["hidden_0"] == (784, 4)
    assert shapes["decoder"]["output"] == (4, 784)
    params = workloads.initial_params(workload())
    kernels = [
        layer["kernel"].shape
        for network in ("encoder", "decoder", "classifier")
        for layer in params[network].values()
    ]
    found = [leaf.shape for leaf in jax.tree.leaves(gradients)]
    assert sorted(found) == sorted(kernels)


def test_distance_products_end_at_any_number_of_rows(monkeypatch):
    monkeypatch.setattr(graph, "_BLOCK", 4)
    graph.distance_products(np.ones((6, 2), np.float32))()
    graph.distance_products(np.ones((3, 2), np.float32))()


@pytest.mark.slow
def test_a_pretrained_model_trains_on():
    y = np.arange(64) % 10
    x = np.random.default_rng(0).random((64, 784), np.float32) / 2
    x += np.eye(10, 784, dtype=np.float32)[y] / 2
    given = workload(pretrain_autoencoder_epochs=1, siamese_epochs=1)
    given = given._replace(x=x, y=y)
    params, graph = peers.pretrained(given)
    with workloads.dgg_epochs(given._replace(graph=graph), params=params) as epoch:
        epoch()
        labels = {"node": peers._labels(epoch, given)}
    reached = peers._accuracies(labels, given)["accuracy"]
    assert 0.1 <= reached["node"] <= 1.0


def test_the_loop_of_pytorch_has_our_objective():
    torch = pytest.importorskip("torch")
    from experiments.benchmarks.torch_tuple import TupleModel

    given = workload()
    params = workloads.initial_params(given)
    networks = workloads.dgg.networks_of(given.preset, 784)
    key = jax.random.key(1)
    data = TupleData(given.x, given.graph, given.likelihood)
    loss = TupleLoss(networks, sampled=True, graph_strength=1.0)
    expected, _ = loss(params, data, np.arange(6), key)
    eps = np.asarray(jax.random.normal(key, (18, given.preset.latent_dim)))
    sources = np.concatenate([np.arange(6)[:, None], given.graph.indices], axis=1)
    objective = TupleModel(params).objective(
        torch.tensor(given.x[sources]), 2, torch.tensor(eps.reshape(6, 3, -1))
    )
    assert -objective.item() == pytest.approx(float(expected), rel=1e-5)


MEASURED = sorted((ROOT / "results" / "benchmarks").glob("*.json"))


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_the_page_has_the_tables_of_the_results(path):
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for line in run(f"--show={path}").out.splitlines():
        assert line in page
