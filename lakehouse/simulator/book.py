"""Pages of candles as the clock shows them, with the candles that were revised or have vanished."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lakehouse.simulator.candles import Candles, EncodedCandles, encode_candles
from lakehouse.simulator.periods import Ints, chunk_of, period_start_of
from lakehouse.simulator.protocol import Exchange

PAGE_ROWS = 500
_BYTES_KEPT = 16 * 2**20
_Series = tuple[str, int]


@dataclass(frozen=True)
class Span:
    """A series (code and ISS interval) between two naive seconds, both included, as seen up to *seen*."""

    secid: str
    interval: int
    from_: int
    till: int
    seen: int


class CandleBook:
    """Candles of an exchange as JSON text: chunks are made when asked for, and the ones used last are kept."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        # None is a candle that has vanished
        self._edits: defaultdict[_Series, dict[int, dict[str, float] | None]] = defaultdict(dict)
        self._encoded: OrderedDict[tuple[str, int, int], EncodedCandles] = OrderedDict()
        self._bytes = 0
        self._row_counts: dict[tuple[str, int, int], int] = {}

    def page(self, span: Span, start: int, newest_first: bool) -> bytes:
        """Return the text of up to 500 rows of *span* from row *start* on."""
        if newest_first:
            return self._reversed_page(span, start)
        parts, wanted = [], PAGE_ROWS
        for chunk in self._chunks(span):
            count = self._row_counts.get((span.secid, span.interval, chunk))
            if count is not None and count <= start and self._is_whole(span, chunk):
                start -= count
                continue
            encoded = self._encode(span.secid, span.interval, chunk)
            first, stop = self._bounds(encoded.begin, span)
            first, start = first + start, max(0, start - (stop - first))
            stop = min(stop, first + wanted)
            if first < stop:
                parts.append(encoded.rows(first, stop))
                wanted -= stop - first
            if not wanted:
                return b",".join(parts)
        forming = self._forming(span)
        if len(forming) and not start:
            parts.append(encode_candles(forming).rows(0, 1))
        return b",".join(parts)

    def _reversed_page(self, span: Span, start: int) -> bytes:
        rows: list[bytes] = []
        if len(forming := self._forming(span)):
            rows.append(encode_candles(forming).rows(0, 1))
        for chunk in reversed(self._chunks(span)):
            encoded = self._encode(span.secid, span.interval, chunk)
            first, stop = self._bounds(encoded.begin, span)
            rows += [encoded.rows(row, row + 1) for row in range(stop - 1, first - 1, -1)]
            if len(rows) >= start + PAGE_ROWS:
                break
        return b",".join(rows[start : start + PAGE_ROWS])

    def border(self, secid: str, interval: int, seen: int) -> tuple[int, int] | None:
        """Return the begin of the first candle and the end of the last one, or None if there is none."""
        span = Span(secid, interval, 0, seen, seen)
        chunks = self._chunks(span)
        first = next((candles for chunk in chunks if len(candles := self._visible(span, chunk))), None)
        last: Candles | None = self._forming(span)
        if not last:
            last = next((candles for chunk in reversed(chunks) if len(candles := self._visible(span, chunk))), None)
        if last is None:
            return None
        return int((first or last).begin[0]), int(last.end[-1])

    def has(self, secid: str, interval: int, begin: int, seen: int) -> bool:
        """Return whether the exchange shows the candle that begins at *begin*."""
        span = Span(secid, interval, begin, begin, seen)
        return any(len(self._visible(span, chunk)) for chunk in self._chunks(span)) or bool(len(self._forming(span)))

    def revise(self, secid: str, interval: int, begin: int, values: Mapping[str, float]) -> None:
        """Give a candle other values from now on."""
        edits = self._edits[secid, interval]
        edits[begin] = {**(edits.get(begin) or {}), **values}
        self._forget(secid, interval, begin)

    def vanish(self, secid: str, interval: int, begin: int) -> None:
        """Let a candle be absent from now on."""
        self._edits[secid, interval][begin] = None
        self._forget(secid, interval, begin)

    def _forget(self, secid: str, interval: int, begin: int) -> None:
        key = (secid, interval, chunk_of(begin, interval))
        self._row_counts.pop(key, None)
        if encoded := self._encoded.pop(key, None):
            self._bytes -= len(encoded.text)

    def _chunks(self, span: Span) -> range:
        known = self._exchange.chunks(span.secid, span.interval)
        first = max(known.start, chunk_of(span.from_, span.interval))
        return range(first, min(known.stop, chunk_of(min(span.till, span.seen), span.interval) + 1))

    def _is_whole(self, span: Span, chunk: int) -> bool:
        """Return whether all of a chunk lies in *span* and is over."""
        outer = (chunk_of(second, span.interval) for second in (span.from_, min(span.till, span.seen)))
        return chunk not in outer

    def _bounds(self, begin: Ints, span: Span) -> tuple[int, int]:
        """Return the first row in *span*, and the one after its last row that is over."""
        stop = min(span.till + 1, period_start_of(span.seen, span.interval))
        first, last = np.searchsorted(begin, [span.from_, stop]).tolist()
        return first, last

    def _visible(self, span: Span, chunk: int) -> Candles:
        candles = self._candles(span.secid, span.interval, chunk)
        first, stop = self._bounds(candles.begin, span)
        return candles[first:stop]

    def _candles(self, secid: str, interval: int, chunk: int) -> Candles:
        return self._edited(secid, interval, self._exchange.candles(secid, interval, chunk))

    def _forming(self, span: Span) -> Candles:
        begin = period_start_of(span.seen, span.interval)
        if not span.from_ <= begin <= span.till:
            return Candles.none()
        return self._edited(span.secid, span.interval, self._exchange.forming(span.secid, span.interval, span.seen))

    def _edited(self, secid: str, interval: int, candles: Candles) -> Candles:
        for begin, values in self._edits.get((secid, interval), {}).items():
            for row in np.flatnonzero(candles.begin == begin).tolist()[:1]:
                candles = candles[candles.begin != begin] if values is None else candles.with_value(row, **values)
        return candles

    def _encode(self, secid: str, interval: int, chunk: int) -> EncodedCandles:
        key = (secid, interval, chunk)
        if encoded := self._encoded.get(key):
            self._encoded.move_to_end(key)
            return encoded
        encoded = encode_candles(self._candles(secid, interval, chunk))
        self._row_counts[key] = len(encoded.begin)
        self._encoded[key] = encoded
        self._bytes += len(encoded.text)
        while self._bytes > _BYTES_KEPT and len(self._encoded) > 1:
            _, oldest = self._encoded.popitem(last=False)
            self._bytes -= len(oldest.text)
        return encoded
