"""The scores of a run, and that one which a paper reports."""

from typing import Any

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
