"""Which requests suffer: the faults that were ordered, and those that seeded weather brings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from lakehouse.market.errors import BadInput
from lakehouse.simulator.answer import Block
from lakehouse.simulator.faults import KINDS, NUMBERED, TRANSPORT, Asked, Fault
from lakehouse.simulator.spoiling import renumber, spoil


@dataclass(frozen=True)
class Weather:
    """
    Faults by chance.

    Each request suffers with the probability *rate*. Chance is decided by the seed and by how many requests for the
    same address came before, so the order in which several clients ask does not matter. The kinds that become of a
    series (`NUMBERED`) are decided once for each series and last.

    Attributes:
        kinds: What can happen.
        seconds: How long a stall or a time-out lasts.
        retry_after_s: What a 429 says.
    """

    seed: int = 0
    rate: float = 0
    kinds: tuple[str, ...] = KINDS
    seconds: float = 120
    retry_after_s: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise BadInput(f"rate is {self.rate}: expected 0 to 1")
        if unknown := sorted(set(self.kinds) - set(KINDS)):
            raise BadInput(f"kinds has {', '.join(unknown)}: known are {', '.join(KINDS)}")

    def of_request(self, asked: Asked, number: int) -> Iterator[Fault]:
        """Yield what may befall the *number*-th request for an address: the first that can, does."""
        chance = Random(f"{self.seed} {asked.url} {number}")
        if chance.random() >= self.rate:
            return
        kinds = [kind for kind in self.kinds if kind not in NUMBERED]
        draw = chance.getrandbits(32)
        for kind in chance.sample(kinds, len(kinds)):
            yield self._fault(kind, draw)

    def of_series(self, asked: Asked) -> Iterator[Fault]:
        """Yield what becomes of a series."""
        for kind in self.kinds:
            chance = Random(f"{self.seed} {asked.series} {kind}")
            if kind in NUMBERED and chance.random() < self.rate:
                yield self._fault(kind, chance.getrandbits(32))

    def _fault(self, kind: str, draw: int) -> Fault:
        return Fault(kind, seconds=self.seconds, retry_after_s=self.retry_after_s, draw=draw)


CALM = Weather()


@dataclass
class Ordered:
    """A fault that was ordered, and how many requests were *spared* and how many *suffered* so far."""

    fault: Fault
    spared: int = 0
    suffered: int = 0

    def strikes(self) -> bool:
        """Count a request that can suffer; return whether it does."""
        if self.spared < self.fault.after:
            self.spared += 1
            return False
        if self.fault.times is not None and self.suffered >= self.fault.times:
            return False
        self.suffered += 1
        return True


class Faults:
    """
    What goes wrong at an exchange now; may be changed while it serves.

    Attributes:
        is_calm: Whether nothing can go wrong.
        suffered: How many requests suffered, by kind.
    """

    def __init__(self, faults: Sequence[Fault] = (), weather: Weather = CALM) -> None:
        self.suffered: Counter[str] = Counter()
        self.ordered: list[Ordered] = []
        self.change(weather)
        self.order(faults)

    def order(self, faults: Sequence[Fault]) -> None:
        """Let *faults* happen from now on, and no others that were ordered before; the first that can, does."""
        self.ordered = [Ordered(fault) for fault in faults]
        self._settle()

    def change(self, weather: Weather) -> None:
        """Change the weather; its requests are counted anew."""
        self.weather = weather
        self._requests: Counter[str] = Counter()
        self._settle()

    def _settle(self) -> None:
        self.is_calm = not self.ordered and not self.weather.rate

    def answer(self, asked: Asked) -> tuple[list[Block], Fault | None]:
        """Return the blocks of an answer, and the fault with which it is sent, if with one."""
        asked = self._renumbered(asked)
        for ordered in self.ordered:
            if ordered.fault.kind in NUMBERED or not ordered.fault.concerns(asked):
                continue
            blocks = _spoilt(ordered.fault, asked)
            if blocks is not None and ordered.strikes():
                return blocks, self._suffers(ordered.fault)
        number = self._requests[asked.url]
        self._requests[asked.url] += 1
        for fault in self.weather.of_request(asked, number):
            if fault.concerns(asked) and (blocks := _spoilt(fault, asked)) is not None:
                return blocks, self._suffers(fault)
        return asked.blocks(), None

    def _renumbered(self, asked: Asked) -> Asked:
        for ordered in self.ordered:
            fault = ordered.fault
            if fault.kind in NUMBERED and fault.concerns(asked):
                changed = renumber(fault, asked)
                if changed.rows() != asked.rows() and ordered.strikes():
                    self.suffered[fault.kind] += 1
                    asked = changed
        for fault in self.weather.of_series(asked):
            if fault.concerns(asked):
                changed = renumber(fault, asked)
                self.suffered[fault.kind] += changed.rows() != asked.rows()
                asked = changed
        return asked

    def _suffers(self, fault: Fault) -> Fault | None:
        self.suffered[fault.kind] += 1
        return fault if fault.kind in TRANSPORT else None


def _spoilt(fault: Fault, asked: Asked) -> list[Block] | None:
    return asked.blocks() if fault.kind in TRANSPORT else spoil(fault, asked)
