"""Numbers as cells of a table, and tables as markdown."""

from collections.abc import Sequence

import numpy as np


def spread(values: Sequence[float | None] | None, digits: int, sign: str = "") -> str:
    """Mean and, of several, the standard deviation (N - 1); a dash if one is None.

    >>> spread([0.5, 1.5], 2)
    '1.00 ± 0.71'

    Args:
      values: one or more; or None.
      digits: after the point.
      sign: "+" shows that of a positive mean.
    """
    if values is None or None in values:
        return "-"
    text = f"{np.mean(values):{sign}.{digits}f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.{digits}f}"
    return text


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in markdown, without a newline at its end.

    Args:
      header: names of the columns.
      lines: with a text for each.
    """
    return "\n".join(
        "| " + " | ".join(line) + " |"
        for line in (header, ("---",) * len(header), *lines)
    )
