"""What one run may take, and what it may not ask for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from lakehouse.market.errors import BadInput


@dataclass(frozen=True)
class Limits:
    """
    Limits of one run.

    Attributes:
        wall_s: Seconds from its begin.
        cpu_s: Seconds of processor time, of all its threads.
        memory_bytes: Memory beside the warm libraries and the data handed in.
        code_bytes: Length of the program as UTF-8.
        result_bytes: Length of the JSON document that comes back.
        text_bytes: What is printed, both streams together.
    """

    wall_s: float = 10.0
    cpu_s: float = 8.0
    memory_bytes: int = 2 << 30
    code_bytes: int = 64 << 10
    result_bytes: int = 8 << 20
    text_bytes: int = 256 << 10


DEFAULT = Limits()
# What the runner grants at most, whoever asks
MOST = Limits(120.0, 120.0, 4 << 30, 256 << 10, 32 << 20, 1 << 20)


def as_json(limits: Limits) -> dict[str, float]:
    """Return limits as they are sent to the runner."""
    return asdict(limits)


def parse(given: Any) -> Limits:
    """Return limits as the runner reads them; BadInput for one that is missing, not positive or too large."""
    try:
        limits = Limits(**{field.name: type(getattr(MOST, field.name))(given[field.name]) for field in fields(Limits)})
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"these are no limits of a run: {error}") from error
    for field in fields(Limits):
        value, most = getattr(limits, field.name), getattr(MOST, field.name)
        if not 0 < value <= most:
            raise BadInput(f"the limit {field.name} is {value}: it must be above 0 and at most {most}")
    return limits
