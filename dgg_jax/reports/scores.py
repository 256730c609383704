"""The scores of a run, that one which a paper reports, and what it took."""

from typing import Any

from dgg_jax.progress import as_trained

NAMES = {
    "accuracy": "accuracy",
    "nmi": "NMI",
    "ari": "ARI",
    "confident_label_accuracy": "most-confident-label accuracy",
}


def reported(result: dict[str, Any]) -> str:
    """Which score the paper's figure is of.

    GMVAE has its own, which must not be mixed with ACC (erratum E62).

    Args:
      result: content of a result.json.
    """
    return (result.get("paper") or {}).get("score", "accuracy")


def comparable(result: dict[str, Any]) -> float | None:
    """What a run reached in the score of the paper's figure, or None.

    Args:
      result: content of a result.json.
    """
    return (result.get("final") or {}).get(reported(result))


def is_undone(result: dict[str, Any]) -> bool:
    """Whether a run keeps a model from before training (erratum E36).

    Args:
      result: content of a result.json.
    """
    return any(stage.get("undone") for stage in result["stages"])


def trained(result: dict[str, Any]) -> float | None:
    """The accuracy that training came to, be it kept or not; None without labels.

    Args:
      result: content of a result.json.
    """
    *_, last = result["stages"]
    undone = next((one for one in result["stages"] if one.get("undone")), last)
    return as_trained(undone).get("accuracy")


def seconds(result: dict[str, Any]) -> float:
    """What all stages took, also those that a run shares or had before it was resumed.

    Args:
      result: content of a result.json.
    """
    return sum(stage["seconds"] for stage in result["stages"])


def warning(result: dict[str, Any]) -> str | None:
    """The line that tells of clusters that are nearly or quite empty, if any.

    Args:
      result: content of a result.json.
    """
    thin = (result.get("final") or {}).get("thin_clusters")
    if not thin:
        return None
    from dgg_jax import metrics  # takes seconds to import

    num_clusters = result["config"]["preset_values"]["num_clusters"]
    return f"Warning  {metrics.collapse_warning(thin, num_clusters)}"
