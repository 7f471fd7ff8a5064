"""What to run, and on which data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lakehouse.market.errors import BadInput
from lakehouse.settings import Settings
from lakehouse.storage.stamp import decoded

Web = Literal["pages", "api", "none"]


@dataclass(frozen=True)
class Plan:
    """
    What to run.

    Attributes:
        source: The exchange, or a simulator that is started: made data of *seed*, or recorded data in *recorded*.
        frozen: Whether the simulator's clock stands still.
        web: The pages with the API under ``/api``, the API alone, or nothing.
        fetches: Whether a worker asks the exchange.
    """

    settings: Settings
    source: Literal["exchange", "simulator", "recorded"] = "exchange"
    seed: int = 1
    recorded: Path | None = None
    frozen: bool = False
    web: Web = "pages"
    fetches: bool = True

    @property
    def stamp(self) -> dict[str, Any]:
        """What a data folder is stamped with: data of different sources never mix."""
        if self.source == "simulator":
            return {"source": "simulator", "seed": self.seed}
        return {"source": self.source}


def with_settings(settings: Settings, **changes: Any) -> Settings:
    """Return *settings* with what the command line says; what it leaves out (None) stays."""
    return settings.model_copy(update={name: value for name, value in changes.items() if value is not None})


def stamp_file(data: Path) -> Path:
    """Return the file that says of which source the data in a folder are."""
    return data / "source.json"


def read_stamp(data: Path) -> dict[str, Any]:
    """Return of which source the data in a folder are; raise BadInput if its stamp cannot be read."""
    try:
        return decoded(stamp_file(data).read_bytes(), str(data))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"cannot read {stamp_file(data)}, which says of which source the data are ({error}): "
            'write {"source": "exchange"} or {"source": "simulator", "seed": 1} into it, as it was before'
        ) from error


def stamped_plan(settings: Settings, web: Web, fetches: bool) -> Plan:
    """Return the plan that goes on with a data folder as it is stamped; raise BadInput when there is none."""
    if not stamp_file(settings.data_dir).exists():
        raise BadInput(
            f"there is no data in {settings.data_dir}: run `lakehouse demo` or `lakehouse up` first, or say --data"
        )
    stamp = read_stamp(settings.data_dir)
    return Plan(settings, source=stamp["source"], seed=stamp.get("seed", 1), web=web, fetches=fetches)
