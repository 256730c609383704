"""Progress of a run: a bar on a terminal and in a notebook, plain lines otherwise."""

import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import TqdmWarning, std

from dgg_jax.log import LOGGER

with warnings.catch_warnings():
    # Of a notebook that cannot draw bars: plain lines serve it.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm import auto

_LINE_SECONDS = 5.0  # least time between two plain lines of a loop
_SHOWN = ("loss", "objective", "accuracy")


class Progress:
    """Callbacks of ``training.Run`` that tell the user."""

    def __init__(self, stages: Sequence[str], say: Callable[[str], None] = LOGGER.info):
        """Starts.

        Args:
          stages: names of all stages, in order.
          say: called with every line.
        """
        self._stages = stages
        self._say = say
        self._finished = 0
        self._bar: std.tqdm | None = None
        self._loop: str | None = None
        self._last_line = 0.0
        self._draws_bars = draws_bars()

    def resume(self, records: Sequence[dict[str, Any]]) -> None:
        """Says which stages an earlier session has finished."""
        for record in records:
            self.stage(record)

    def epoch(
        self,
        stage: str,
        loop: str,
        epoch: int,
        num_epochs: int,
        metrics: dict[str, Any],
    ) -> None:
        """Shows an epoch, or a step of other long work."""
        text = "  ".join(
            f"{name} {self._number(metrics[name])}"
            for name in _SHOWN
            if name in metrics
        )
        if self._draws_bars:
            if self._loop != loop:
                self.close()
                # A resumed loop does not begin at 1.
                self._bar = auto.tqdm(
                    total=num_epochs, initial=epoch - 1, desc=f"  {loop}", leave=False
                )
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(epoch - self._bar.n)
        elif (
            time.monotonic() - self._last_line >= _LINE_SECONDS
            or self._loop != loop
            or epoch == num_epochs
        ):
            self._say(f"  {loop} {epoch}/{num_epochs}  {text}".rstrip())
            self._last_line = time.monotonic()
        self._loop = loop

    def stage(self, record: dict[str, Any]) -> None:
        """Says what a finished stage reached."""
        self.close()
        self._finished += 1
        parts = [f"{record['seconds']:.1f} s"]
        reached = [as_trained(one) for one in record.get("restarts", [record])]
        for name, title, digits in (("accuracy", "ACC", 4), ("elbo", "ELBO", 2)):
            values = [one.get(name) for one in reached]
            if None not in values:
                numbers = ", ".join(f"{value:.{digits}f}" for value in values)
                parts.append(f"{title} {numbers}")
        if record.get("neighbor_purity") is not None:
            parts.append(f"neighbour purity {record['neighbor_purity']:.4f}")
        if "best_candidate" in record:
            best = record["candidates"][0]
            parts.append(
                f"labels of {record['best_candidate']} ({best['standing']:.3f}; next "
                f"{record.get('next_candidate', 'none')}, "
                f"{record.get('next_standing', math.nan):.3f})"
            )
        if "epochs" in record:
            parts.append(f"{record['epochs']} epochs")
        kept = [one["stage_kept"] for one in reached if "stage_kept" in one]
        if set(kept) - {"train"}:
            parts.append(f"undone: kept the model of {', '.join(kept)}")
        number = f"[{self._finished}/{len(self._stages)}]"
        self._say(f"{number} {record['name']}: {'  '.join(parts)}")

    def close(self) -> None:
        """Takes the bar off the terminal."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._loop = None

    @staticmethod
    def _number(value: Any) -> str:
        values = value if isinstance(value, list) else [value]
        return ",".join(f"{number:.4g}" for number in values)


def draws_bars() -> bool:
    """Whether there is a terminal or a notebook that shows bars."""
    is_notebook = auto.notebook_tqdm is not std.tqdm
    return sys.stderr.isatty() or is_notebook


def as_trained(record: dict[str, Any]) -> dict[str, Any]:
    """A stage's record, with the figures of what it trained, be it kept or not.

    Where a model from before is kept, the record has its figures, and what training
    came to as "undone" (erratum E36).
    """
    return {**record, **(record.get("undone") or {})}
