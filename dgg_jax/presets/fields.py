"""What a preset is: a frozen dataclass, whose fields say what they mean and allow."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

from dgg_jax import checks


class Setting(NamedTuple):
    """What is known of a field of a preset, beside its name, type and default.

    Attributes:
      text: what it means; flags and constructors show it.
      choices: the values that a text may have, or none.
      low: the least value of a number; of sizes 1, of other numbers None.
      high: the greatest, or None.
      positive: whether it must be above 0, and finite.
    """

    text: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    positive: bool = False


def setting(default: Any, text: str, **known: Any) -> Any:
    """A field of a preset, with its default and the fields of ``Setting``."""
    return dataclasses.field(
        default=default, metadata={"setting": Setting(text, **known)}
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """Settings of every method; each is a flag of the command line."""

    counts_clusters: ClassVar[bool] = False  # whether K may be estimated
    takes_counts: ClassVar[bool] = False  # whether it has a likelihood of these
    takes_missing: ClassVar[bool] = False  # whether rows may miss values
    has_counts: ClassVar[bool] = False  # whether rows are counts

    num_clusters: int = setting(10, "K, the number of clusters.")

    @property
    def may_miss(self) -> bool:
        """Whether values of rows may be missing, which are NaN."""
        return self.takes_missing and not self.has_counts

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preset":
        """The preset of ``dataclasses.asdict``, also after a trip through JSON."""
        lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
        return cls(**{**values, **lists})

    def __post_init__(self):
        """Checks every value.

        Raises:
          InvalidInput: naming the first field that is out of range.
        """
        known = settings(type(self))
        for name, rules in known.items():
            if rules.choices:
                checks.one_of(name, getattr(self, name), rules.choices)
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name), known[field.name])


def _check(field: dataclasses.Field, value: Any, rules: Setting) -> None:
    """Checks the value of a field."""
    checks.of_type(field.name, value, field.type)
    if field.type is int:
        checks.in_range(field.name, value, 1 if rules.low is None else rules.low)
    elif isinstance(value, tuple):
        for size in value:
            checks.in_range(field.name, size, 1)
    elif field.type is float:
        if rules.positive and not 0 < value < float("inf"):
            raise checks.InvalidInput(
                f"{field.name} must be positive and finite, got {value!r}."
            )
        low = float("-inf") if rules.low is None else rules.low
        high = float("inf") if rules.high is None else rules.high
        checks.in_range(field.name, value, 0 if rules.positive else low, high)


def settings(cls: type[Preset]) -> dict[str, Setting]:
    """What is known of each field of a preset, in their order.

    A class that changes the default alone keeps what its bases know.
    """
    known = {}
    for base in reversed(cls.__mro__):
        for name, field in getattr(base, "__dataclass_fields__", {}).items():
            if "setting" in field.metadata:
                known[name] = field.metadata["setting"]
    return {field.name: known[field.name] for field in dataclasses.fields(cls)}
