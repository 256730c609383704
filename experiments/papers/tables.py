"""The tables of the papers, beside what is reached here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dgg_jax import presets
from dgg_jax.reports import cells, comparison, published
from experiments.papers.exhibits import Scale
from experiments.papers.gmvae import CELLS, run_of_cell
from experiments.papers.runs import Asked

Results = Mapping[str, dict[str, Any] | None]  # contents of result.json, by name
Lines = Sequence[Sequence[str]]
_SEEDS = (0, 1, 2)
_NOTHING = "-"


class Table(NamedTuple):
    """A table of a paper.

    Attributes:
      name: as the command line has it, such as dgg-tab1.
      of: where it is printed.
      title: what it shows, one line.
      shows: what the paper's shows, in a sentence.
      runs: the runs that it is of, by name; DATA/METHOD/SEED of accuracies.
      made: from their results to header and lines.
      agrees: from the results, a sentence on what ours is like.
    """

    name: str
    of: str
    title: str
    shows: str
    runs: Callable[[Scale], dict[str, Asked]]
    made: Callable[[Results], tuple[Sequence[str], Lines]]
    agrees: Callable[[Results], str]


_DGG_METHODS = (
    *(
        "gmm",
        "ae_gmm",
        "vae_gmm",
        "dec",
        "ltvae",
        "vade",
        "spectralnet",
        "imsat",
        "dgg",
    ),
    *(
        "kmeans",
        "spectral",
        "ldmgi",
        "ae_kmeans",
        "dae_gmm",
        "siamese_kmeans",
        "siamese_spectral",
        "gmvae",
    ),
)
_VADE_METHODS = ("gmm", "ae_gmm", "vae_gmm", "ldmgi", "dec", "vade")
_NAMES = {"mnist": "MNIST", "har": "HHAR", "stl10": "STL-10", "digits": "digits"}
_NAMES |= {"reuters10k": "Reuters-10K", "reuters": "Reuters", "reuters_r8": "R8"}
_DGG_SETS = ("mnist", "stl10", "reuters10k", "har", "reuters_r8")
_VADE_SETS = ("mnist", "har", "reuters10k", "reuters", "reuters_r8")


def _accuracies(
    methods: Sequence[str], datasets: Sequence[str]
) -> Callable[[Scale], dict[str, Asked]]:
    """Every method on every set with every seed; no method sees warped images."""

    def runs(scale: Scale) -> dict[str, Asked]:
        ours = [name for name in methods if name in presets.METHODS]
        shown = (scale.images,) if scale.is_quick else (scale.images, *datasets[1:])
        asked = {}
        for dataset in shown:
            for method in ours:
                run = scale.asked(dataset, method)
                if dataset == scale.images:
                    usual = presets.preset(method, dataset)
                    is_warped = getattr(usual, "siamese_warp", 0.0) > 0.0
                    plain = {"siamese_warp": 0.0} if is_warped else {}
                    run = scale.of_images(method, **plain)
                for seed in _SEEDS[:1] if scale.is_quick else _SEEDS:
                    asked[f"{dataset}/{method}/{seed}"] = run._replace(seed=seed)
        return asked

    return runs


def _by_method(methods: Sequence[str]) -> Callable[[Results], tuple[Any, Lines]]:
    def made(results: Results) -> tuple[Sequence[str], Lines]:
        datasets = list(dict.fromkeys(name.partition("/")[0] for name in results))
        header = ["method"]
        for dataset in datasets:
            header += [f"{_NAMES[dataset]}, paper", "ours", "difference"]
        lines = []
        for method in methods:
            line = [method]
            for dataset in datasets:
                line += _cell(results, dataset, method)
            lines.append(line)
        return header, lines

    return made


def _reached(results: Results, dataset: str, method: str) -> list[dict[str, Any]]:
    return [
        result
        for name, result in results.items()
        if name.startswith(f"{dataset}/{method}/") and result is not None
    ]


def _cell(results: Results, dataset: str, method: str) -> tuple[str, str, str]:
    """The paper's accuracy, ours over its seeds, and the difference."""
    found = _reached(results, dataset, method)
    paper = _published(dataset, method)
    printed = _NOTHING if paper is None else f"{paper:.4f}"
    if not found:
        return printed, _NOTHING, _NOTHING
    # GMVAE's paper has a score of its own, which others are not compared by.
    values = [result["final"]["accuracy"] for result in found]
    trained = comparison.trained(found)
    told = "" if trained is None else f"; {np.mean(trained):.4f} as trained"
    ours = f"{cells.spread(values, 4)} ({len(values)}{told})"
    if paper is None or method == "gmvae":
        return printed, ours, _NOTHING
    return printed, ours, f"{np.mean(values) - paper:+.4f}"


def _published(dataset: str, method: str) -> float | None:
    if method in presets.METHODS:
        figure = published.figure(method, dataset)
        return None if figure is None else figure["accuracy"]
    figure = published.quoted(dataset).get(method)
    return None if figure is None else figure[0]


def _order_of(methods: Sequence[str]) -> Callable[[Results], str]:
    """Which method is first on each set, here and in the paper."""

    def agrees(results: Results) -> str:
        told = []
        for dataset in dict.fromkeys(name.partition("/")[0] for name in results):
            means = {
                method: np.mean([r["final"]["accuracy"] for r in found])
                for method in methods
                if (found := _reached(results, dataset, method))
            }
            if not means:
                told.append(f"{_NAMES[dataset]}: not run")
                continue
            best = max(means, key=means.get)
            printed = {
                method: value
                for method in methods
                if (value := _published(dataset, method)) is not None
            }
            theirs = "no paper has it"
            if printed:
                theirs = f"in print {max(printed, key=printed.get)}"
            told.append(
                f"{_NAMES[dataset]}: first is {best}, {means[best]:.4f}, of "
                f"{len(means)} that were run; {theirs}"
            )
        if any(name.startswith("har/") for name in results):
            told.append("our HHAR are features recomputed from the raw signals")
        if any("/gmvae/" in name for name, found in results.items() if found):
            told.append("GMVAE's rows are those of the test alone, where there is one")
        return "; ".join(told) + "."

    return agrees


_COUNTS = (0, 1, 3, 10, 20, 30)  # N_s of table 2
# The form of the objective, and how strong its graph is: as in the default or in print.
_FORMS: dict[str, dict[str, Any]] = {
    "node": {},
    "node, eta 1": {"graph_strength": 1.0},
    "tuple": {"objective": "tuple"},
    "tuple, eta 1": {"objective": "tuple", "graph_strength": 1.0},
}


def _neighbors(scale: Scale) -> dict[str, Asked]:
    """DGG with N_s neighbours in every form, and VaDE; one seed of the tuple form."""
    runs = {}
    for count in _COUNTS[:3] if scale.is_quick else _COUNTS:
        for form, settings in _FORMS.items():
            if count:
                settings = settings | {"num_neighbors": count}
            elif form == "node":
                settings = {"graph_strength": 0.0}
            else:
                continue
            run = scale.of_images("dgg", guard=False, warp_weight=0.0, **settings)
            is_tuple = form.startswith("tuple")
            for seed in _SEEDS[:1] if scale.is_quick or is_tuple else _SEEDS:
                runs[f"{count}/{form}/{seed}"] = run._replace(seed=seed)
    return runs | {"vade/node/0": scale.of_images("vade")}


def _seconds_an_epoch(result: dict[str, Any]) -> float:
    """Of the stage train, what it compiles included."""
    (train,) = [stage for stage in result["stages"] if stage["name"] == "train"]
    epochs = train.get("epochs") or result["config"]["preset_values"]["epochs"]
    return train["seconds"] / max(1, epochs)


def _by_neighbors(results: Results) -> tuple[Sequence[str], Lines]:
    header = ["N_s", f"paper's ACC; ours of {_images_of(results)}"]
    for form in _FORMS:
        header += [f"ACC, {form}", "s an epoch"]
    lines = []
    for count in dict.fromkeys(name.partition("/")[0] for name in results):
        line = ["VaDE" if count == "vade" else count, _paper_by_neighbors(count)]
        for form in _FORMS:
            found = _reached(results, count, form)
            reached = [result["final"]["accuracy"] for result in found]
            line.append(cells.spread(reached or None, 4))
            seconds = [_seconds_an_epoch(result) for result in found]
            line.append(cells.spread(seconds or None, 2))
        lines.append(line)
    return header, lines


def _paper_by_neighbors(count: str) -> str:
    for line in published.lines():
        wanted = f"num_neighbors={count}"
        if (line["dataset"], line["method"]) == ("mnist", "dgg") and (
            line["settings"] == wanted or (count == "20" and not line["settings"])
        ):
            return f"{line['accuracy']:.4f}"
    return _NOTHING


def _agrees_by_neighbors(results: Results) -> str:
    reached = {
        count: [r["final"]["accuracy"] for r in found]
        for count in map(str, _COUNTS)
        if (found := _reached(results, count, "node"))
    }
    if len(reached) < 2:
        return "Not run."
    means = {count: float(np.mean(found)) for count, found in reached.items()}
    best = max(means, key=means.get)
    gain = means[best] - means[first := next(iter(means))]
    several = [found for found in reached.values() if len(found) > 1]
    chance = max((float(np.std(found, ddof=1)) for found in several), default=0.0)
    theirs = float(_paper_by_neighbors("20")) - float(_paper_by_neighbors(first))
    verdict = (
        "Agrees in that the graph helps" if gain > 2 * chance else "Does not agree"
    )
    warped = any(
        result["config"]["preset_values"].get("siamese_warp")
        for result in results.values()
        if result is not None
    )
    of_graph = " The graph is of an embedding of warped images." if warped else ""
    return (
        f"{verdict}: the best is N_s = {best} with {means[best]:.4f}, {gain:.4f} above "
        f"{first}; seeds differ by up to {chance:.4f} (standard deviation). The "
        f"paper's best is 20, {theirs:.4f} above {first}.{of_graph}"
    )


def _agrees_in_seconds(results: Results) -> str:
    seconds = {
        count: float(np.median([_seconds_an_epoch(r) for r in found]))
        for count in map(str, _COUNTS)
        if (found := _reached(results, count, "node"))
    }
    if len(seconds) < 2:
        return "Not run."
    told = ", ".join(f"{value:.2f} with {count}" for count, value in seconds.items())
    return (
        f"Medians of the node form, whose cost does not depend on N_s: {told}. Where "
        "they differ, other work shared the cores; docs/benchmarks.md has ratios "
        "measured in turns."
    )


def _with_vade(scale: Scale) -> dict[str, Asked]:
    """Supplement table 1 has VaDE and no 0 nor 30 neighbours."""
    left_out = ("0", "30")
    runs = _neighbors(scale)
    return {k: v for k, v in runs.items() if k.partition("/")[0] not in left_out}


def _cells(scale: Scale) -> dict[str, Asked]:
    """GMVAE's cells, and the other systems as their own presets have them."""
    asked = {f"{k},{m}/gmvae/0": run_of_cell(scale, k, m) for k, m in CELLS}
    plain = scale._replace(changes={})
    for method, k, *_ in _BESIDE_GMVAE:
        is_usual = k == presets.preset(method, scale.images).num_clusters
        run = plain.of_images(method, **({} if is_usual else {"num_clusters": k}))
        for seed in _SEEDS[:1] if scale.is_quick else _SEEDS:
            asked[f"{k}/{method}/{seed}"] = run._replace(seed=seed)
    return asked


def _images_of(results: Results) -> str:
    """What the runs are of, beside figures that the papers have of MNIST."""
    found = {r["config"]["dataset"] for r in results.values() if r is not None}
    return ", ".join(_NAMES.get(name, name) for name in sorted(found)) or "not run"


def _own_score(result: dict[str, Any]) -> float:
    """GMVAE's: each cluster has the label of its most confident row (erratum E62).

    Of a method that has none, which the paper quotes by its accuracy, this.
    """
    final = result["final"]
    return final.get("confident_label_accuracy", final["accuracy"])


def _by_cell(results: Results) -> tuple[Sequence[str], Lines]:
    header = ("method", "K", "paper, best run", "paper, mean")
    header += (f"ours, {_images_of(results)}", "epochs")
    lines = [
        (method, str(k), *printed, *_scored(_reached(results, str(k), method)))
        for method, k, *printed in _BESIDE_GMVAE
    ]
    for (k, m), printed in zip(CELLS, _GMVAE_PRINTED, strict=True):
        found = _reached(results, f"{k},{m}", "gmvae")
        networks = {r["config"]["preset_values"].get("architecture") for r in found}
        name = "gmvae, dense" if networks == {"dense"} else "gmvae"
        lines.append((f"{name}, M = {m}", str(k), *printed, *_scored(found)))
    return header, lines


def _scored(found: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """The score over the seeds of what was run, and the epochs."""
    values = [_own_score(result) for result in found]
    epochs = {str(r["config"]["preset_values"]["epochs"]) for r in found}
    ours = cells.spread(values or None, 4)
    if len(values) > 1:
        ours += f" ({len(values)})"
    return ours, ", ".join(sorted(epochs)) or _NOTHING


_BESIDE_GMVAE = (  # method, K, best run, average run
    ("catgan", 20, "0.9030", _NOTHING),
    ("aae", 16, _NOTHING, "0.9045 ± 0.0205"),
    ("aae", 30, _NOTHING, "0.9590 ± 0.0113"),
    ("dec", 10, "0.8430", _NOTHING),
)
_NEAR = 0.05  # below the paper is as good as the paper: its own spread
_GMVAE_PRINTED = (  # best run, average run
    ("0.8731", "0.7778 ± 0.0575"),
    ("0.8854", "0.8231 ± 0.0375"),
    ("0.8901", "0.8509 ± 0.0199"),
    ("0.9692", "0.8782 ± 0.0533"),
    ("0.9584", "0.9277 ± 0.0160"),
    ("0.9322", "0.8927 ± 0.0250"),
)


def _agrees_by_cell(results: Results) -> str:
    found = {
        cell: np.mean([_own_score(r) for r in runs])
        for cell in CELLS
        if (runs := _reached(results, f"{cell[0]},{cell[1]}", "gmvae"))
    }
    if len(found) < 2:
        return "Too few cells were run to say."
    few, many = (
        [value for (k, _), value in found.items() if k == wanted] for wanted in (10, 30)
    )
    if not few or not many:
        return "Too few cells were run to say."
    means = [float(mean.split()[0]) for _, mean in _GMVAE_PRINTED]
    printed = dict(zip(CELLS, means, strict=True))
    lower = float(np.mean([printed[cell] - value for cell, value in found.items()]))
    verdict = "Does not agree"
    if np.mean(many) > np.mean(few):
        verdict = "Agrees" if lower < _NEAR else "Agrees in that more clusters help"
    told = f"{verdict}: {np.mean(few):.4f} with K = 10, {np.mean(many):.4f} with K = 30"
    above = "below" if lower > 0 else "above"
    return (
        f"{told}; {abs(lower):.4f} {above} the paper's means, on average of the cells."
    )


_DATASETS = {  # of VaDE's table 1: name there, rows, columns, clusters
    "mnist": ("MNIST", 70_000, 784, 10),
    "har": ("HHAR", 10_299, 561, 6),
    "reuters10k": ("REUTERS-10K", 10_000, 2000, 4),
    "reuters": ("REUTERS", 685_071, 2000, 4),
}
_TIMES = {  # of VaDE's table 3: seconds an epoch on a K40, epochs
    "mnist": (16, 150),
    "har": (2, 50),
    "reuters10k": (1, 15),
    "reuters": (106, 4),
}


def _vade_runs(scale: Scale) -> dict[str, Asked]:
    runs = {"mnist/vade/0": scale.of_images("vade")}
    if scale.is_quick:
        return runs
    others = [name for name in _DATASETS if name != "mnist"]
    return runs | {f"{name}/vade/0": scale.asked(name, "vade") for name in others}


def _statistics(results: Results) -> tuple[Sequence[str], Lines]:
    header = ("data set", "rows", "columns", "clusters", "here")
    lines = []
    for name, (printed, rows, columns, clusters) in _DATASETS.items():
        found = _reached(results, name, "vade")
        here = "not here"
        if found:
            ours = found[0]["dataset"]
            num_clusters = found[0]["config"]["preset_values"]["num_clusters"]
            here = f"{ours['rows']:,} x {ours['features']:,}, {num_clusters} clusters"
            here += f" ({ours['provenance']})"
        lines.append((printed, f"{rows:,}", f"{columns:,}", str(clusters), here))
    return header, lines


def _agrees_statistics(results: Results) -> str:
    here = [name for name in _DATASETS if _reached(results, name, "vade")]
    return (
        f"{len(here)} of the four sets are here. HHAR is UCI HAR by its size (its "
        "features are those of smartphones alone)."
    )


def _times(results: Results) -> tuple[Sequence[str], Lines]:
    header = ("data set", "seconds an epoch, K40", "epochs", "seconds an epoch, here")
    header += ("epochs, here", "on")
    lines = []
    for name, (seconds, epochs) in _TIMES.items():
        ours = [_NOTHING] * 3
        for result in _reached(results, name, "vade"):
            of_run = result["config"]["preset_values"]["epochs"]
            rows = result["dataset"]["rows"]
            where = (
                f"{rows:,} rows of {result['config']['dataset']}, {result['device']}"
            )
            ours = [f"{_seconds_an_epoch(result):.2f}", str(of_run), where]
        lines.append((_DATASETS[name][0], str(seconds), str(epochs), *ours))
    return header, lines


def _agrees_times(results: Results) -> str:
    del results
    return "Not comparable: another machine, and our preset has epochs of its own."


_PRINTED_NETWORKS = {
    "pinwheel": ("fc 120 ReLU 120 ReLU", "fc 120 Tanh", "fc 120 ReLU 120 ReLU"),
    "mnist": (
        "conv 16x6x6* (1-0) 32x6x6* (1-0) 64x4x4* (2-1) 500*",
        "fc 500 Tanh",
        "500* full-conv 64x4x4* (2-1) 32x6x6* (1-0) 16x6x6* (1-0)",
    ),
    "svhn": (
        "conv 64x4x4* (2-1) 128x4x4* (2-1) 246x4x4* (2-1) 500*",
        "fc 500 Tanh",
        "500* full-conv 246x4x4* (2-1) 128x4x4* (2-1) 64x4x4* (2-1)",
    ),
}
_SHAPES = {"pinwheel": (2,), "mnist": (28, 28), "svhn": (32, 32, 3)}


def _networks(table: int) -> Callable[[Results], tuple[Sequence[str], Lines]]:
    """Table A.1 (recognition), A.2 (components) or A.3 (decoder), from the modules."""

    def made(results: Results) -> tuple[Sequence[str], Lines]:
        del results
        header = ("data set", "printed", "weights here", "parameters")
        lines = []
        for dataset, printed in _PRINTED_NETWORKS.items():
            weights = _weights(dataset, table)
            shown = ", ".join(
                f"{name} {'x'.join(map(str, shape))}" for name, shape in weights.items()
            )
            total = sum(int(np.prod(shape)) for shape in weights.values())
            lines.append((dataset, printed[table], shown, f"{total:,}"))
        return header, lines

    return made


def _weights(dataset: str, table: int) -> dict[str, tuple[int, ...]]:
    """The shapes of all kernels of a network of the printed preset."""
    import jax

    from dgg_jax.methods.gmvae import build_networks

    preset = presets.preset("gmvae", dataset, "paper")
    module = build_networks(preset, _SHAPES[dataset])[table]
    columns = (np.prod(_SHAPES[dataset]), preset.w_dim, preset.latent_dim)[table]
    flags = {"train": False} if table == 0 or dataset != "pinwheel" else {}
    flags = flags if table != 1 else {}

    def initial(x):
        return module.init(jax.random.key(0), x, **flags)["params"]

    shapes = jax.eval_shape(
        initial, jax.ShapeDtypeStruct((1, int(columns)), np.float32)
    )
    leaves = jax.tree_util.tree_flatten_with_path(shapes)[0]
    return {
        "/".join(str(key.key) for key in path[:-1]): leaf.shape
        for path, leaf in leaves
        if path[-1].key == "kernel"
    }


def _agrees_networks(results: Results) -> str:
    del results
    return (
        "Agrees, read from the modules themselves; SVHN's 246 is 256 (erratum E64). A "
        "weight of a convolution is kernel x kernel x channels in x channels out."
    )


def _none(scale: Scale) -> dict[str, Asked]:
    del scale
    return {}


TABLES = (
    Table(
        "dgg-tab1",
        "DGG, table 1",
        "Accuracy of all methods",
        "DGG is first on Reuters and HHAR, and second to IMSAT on MNIST and STL-10.",
        _accuracies(_DGG_METHODS, _DGG_SETS),
        _by_method(_DGG_METHODS),
        _order_of(_DGG_METHODS),
    ),
    Table(
        "dgg-tab2",
        "DGG, table 2",
        "Accuracy and seconds by the number of neighbours",
        "More neighbours help, until at 30 there are too many.",
        _neighbors,
        _by_neighbors,
        _agrees_by_neighbors,
    ),
    Table(
        "dgg-supp-tab1",
        "DGG, supplement, table 1",
        "Seconds an epoch of VaDE and of DGG by the number of neighbours",
        "VaDE 6.4 s; DGG 8.7, 8.5, 10.5 and 15.5 s with 1, 3, 10 and 20 neighbours.",
        _with_vade,
        _by_neighbors,
        _agrees_in_seconds,
    ),
    Table(
        "vade-tab1",
        "VaDE, table 1",
        "The data sets",
        "Four sets, of 10,000 to 685,071 rows.",
        _vade_runs,
        _statistics,
        _agrees_statistics,
    ),
    Table(
        "vade-tab2",
        "VaDE, table 2",
        "Accuracy of VaDE and of what it is compared with",
        "VaDE is first on every set.",
        _accuracies(_VADE_METHODS, _VADE_SETS),
        _by_method(_VADE_METHODS),
        _order_of(_VADE_METHODS),
    ),
    Table(
        "vade-tab3",
        "VaDE, table 3",
        "How long VaDE trains",
        "16 s an epoch of MNIST, 150 epochs.",
        _vade_runs,
        _times,
        _agrees_times,
    ),
    Table(
        "gmvae-tab1",
        "GMVAE, table 1",
        "GMVAE's own score for K clusters and M draws",
        "0.7778 with K = 10 and M = 1; more clusters and more draws help, K = 30 most.",
        _cells,
        _by_cell,
        _agrees_by_cell,
    ),
    *(
        Table(
            f"gmvae-tabA{number + 1}",
            f"GMVAE, table A.{number + 1}",
            f"The network of {network}",
            "Of synthetic data dense, of images convolutional.",
            _none,
            _networks(number),
            _agrees_networks,
        )
        for number, network in enumerate(("q(z, w | x)", "p(z | w, c)", "p(x | z)"))
    ),
)
