"""What tests tell the exchange: its clock, candles that are revised or vanish, faults; and what it has served."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.simulator.bodies import check_names, given, json_object, moment, read_faults, read_weather
from lakehouse.simulator.candles import VALUES
from lakehouse.simulator.clock import from_seconds, to_seconds
from lakehouse.simulator.families import Families
from lakehouse.simulator.periods import INTERVALS
from lakehouse.simulator.weather import Faults

PREFIX = "/_simulator"
_PAGED = ("candles", "history")


class NoSuchCandle(LakehouseError):
    """The exchange does not show the candle that was named."""


class Control:
    """Requests to ``/_simulator``, in JSON."""

    def __init__(self, families: Families, faults: Faults) -> None:
        self._families = families
        self._faults = faults
        self.requests: Counter[str] = Counter()
        self.pages: Counter[str] = Counter(dict.fromkeys(_PAGED, 0))

    def count(self, family: str, is_served: bool) -> None:
        """Count a request of *family*, and the page that it was served if it is of a family that has pages."""
        self.requests[family] += 1
        if is_served and family in self.pages:
            self.pages[family] += 1

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the control requests."""
        return [
            web.get(f"{PREFIX}/clock", self._answers(lambda body: self._clock())),
            web.put(f"{PREFIX}/clock", self._answers(self._set_clock)),
            web.post(f"{PREFIX}/revise", self._answers(self._revise)),
            web.post(f"{PREFIX}/vanish", self._answers(self._vanish)),
            web.get(f"{PREFIX}/faults", self._answers(lambda body: self._ordered())),
            web.put(f"{PREFIX}/faults", self._answers(self._order)),
            web.delete(f"{PREFIX}/faults", self._answers(lambda body: self._order({"faults": []}))),
            web.get(f"{PREFIX}/weather", self._answers(lambda body: self._weather())),
            web.put(f"{PREFIX}/weather", self._answers(self._change)),
            web.delete(f"{PREFIX}/weather", self._answers(lambda body: self._change({"rate": 0}))),
            web.get(f"{PREFIX}/stats", self._answers(lambda body: self._stats())),
        ]

    def _answers(self, act: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            try:
                body = json_object(await request.read() or b"{}")
                return _json(act(body))
            except BadInput as error:
                return _json({"error": str(error)}, status=400)
            except NoSuchCandle as error:
                return _json({"error": str(error)}, status=404)

        return handle

    def _clock(self) -> dict[str, Any]:
        clock = self._families.clock
        return {"now": str(clock.now()), "frozen": clock.frozen}

    def _set_clock(self, body: Mapping[str, Any]) -> dict[str, Any]:
        check_names(body, {"now", "frozen"})
        frozen = body.get("frozen")
        if not isinstance(frozen, bool | None):
            raise BadInput(f"frozen is {frozen!r}: expected true or false")
        now = moment("now", body["now"]) if "now" in body else None
        exchange = self._families.exchange
        if now and not exchange.first_moment <= now <= exchange.last_moment:
            raise BadInput(f"now is {now}: this exchange exists from {exchange.first_moment} to {exchange.last_moment}")
        self._families.clock.set(now, frozen)
        return self._clock()

    def _revise(self, body: Mapping[str, Any]) -> dict[str, Any]:
        check_names(body, {"secid", "interval", "begin", "values"})
        secid, interval, begin = self._candle(body)
        values = body.get("values")
        if not isinstance(values, Mapping) or not values:
            raise BadInput(f'values is {values!r}: expected an object such as {{"close": 101.5}}')
        check_names(values, set(VALUES))
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadInput(f"{name} is {value!r}: expected a number")
        self._families.book.revise(secid, interval, begin, values)
        return {"revised": _name(secid, interval, begin)}

    def _vanish(self, body: Mapping[str, Any]) -> dict[str, Any]:
        check_names(body, {"secid", "interval", "begin"})
        secid, interval, begin = self._candle(body)
        self._families.book.vanish(secid, interval, begin)
        return {"vanished": _name(secid, interval, begin)}

    def _candle(self, body: Mapping[str, Any]) -> tuple[str, int, int]:
        """Return code, interval and begin of a candle that the exchange shows."""
        secid, interval = body.get("secid"), body.get("interval")
        if not isinstance(secid, str) or not secid:
            raise BadInput(f"secid is {secid!r}: expected a code such as SBER")
        if isinstance(interval, bool) or interval not in INTERVALS:
            raise BadInput(f"interval is {interval!r}: expected one of {', '.join(map(str, INTERVALS))}")
        begin = to_seconds(moment("begin", body.get("begin")))
        secid, seen, exchange = secid.upper(), self._families.clock.seen(), self._families.exchange
        is_known = self._families.security(secid) is not None and interval in exchange.intervals(secid)
        if not is_known or not self._families.book.has(secid, interval, begin, seen):
            candle = _name(secid, interval, begin)
            raise NoSuchCandle(f"there is no candle {candle}: only one that the exchange shows can change")
        return secid, interval, begin

    def _ordered(self) -> dict[str, Any]:
        return {"faults": [{**given(one.fault), "suffered": one.suffered} for one in self._faults.ordered]}

    def _order(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._faults.order(read_faults(body))
        return self._ordered()

    def _weather(self) -> dict[str, Any]:
        return asdict(self._faults.weather)

    def _change(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._faults.change(read_weather(body))
        return self._weather()

    def _stats(self) -> dict[str, Any]:
        requests, faults = dict(sorted(self.requests.items())), dict(sorted(self._faults.suffered.items()))
        total = sum(requests.values())
        return {"requests": requests, "total": total, "pages": dict(self.pages), "faults": faults}


def _name(secid: str, interval: int, begin: int) -> str:
    return f"{secid} {interval} {from_seconds(begin)}"


def _json(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body) + b"\n", status=status, content_type="application/json")
