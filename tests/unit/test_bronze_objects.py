"""An object holds what was answered, byte for byte."""

from __future__ import annotations

import datetime as dt
import gzip
from dataclasses import replace

import pytest

from lakehouse.bronze.objects import BronzeCorrupt, Exchange, Trailer, decode_object, encode_object, trailer_under
from lakehouse.bronze.window import Series, Window

AT = dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)
WINDOW = Window(
    Series("candles", "stock", "shares", "TQBR", "Si-12.17/@", "1m"),
    dt.datetime.fromisoformat("2024-03-01T18:49"),
    dt.date(2024, 3, 15),
)
TRAILER = Trailer(
    WINDOW, AT, 2, 3, "empty page", True, "complete", "2024-03-15 18:49:00", {"begin": "x", "rows": [["", 1.5, None]]}
)
EXCHANGES = [
    Exchange("http://exchange/iss?a=1", 200, {"Date": "x"}, AT, '{"name": "Сбербанк",\r\n "u": "\u2028"}'.encode()),
    Exchange("http://exchange/iss?a=2", 200, {}, AT, b"\xff\xfe not UTF-8"),
    Exchange("http://exchange/iss?a=3", 200, {}, AT, b""),
]


def test_object_is_read_back_as_it_was() -> None:
    """Bodies, headers, times and the trailer survive, bodies that are no UTF-8 included."""
    key, body = encode_object(EXCHANGES, TRAILER)
    decoded = decode_object(body)
    assert decoded.exchanges == EXCHANGES
    assert decoded.trailer == TRAILER
    assert trailer_under(key, body) == TRAILER


def test_line_of_an_exchange_is_its_number() -> None:
    """Rows are named by line, so each exchange takes exactly one line, whatever line ends are in it."""
    _, body = encode_object(EXCHANGES, TRAILER)
    assert gzip.decompress(body).count(b"\n") == len(EXCHANGES) + 1


def test_key_names_series_span_time_and_content() -> None:
    """The key says what the object is; its segments are percent-encoded, empty ones are a dash."""
    key, _ = encode_object(EXCHANGES, TRAILER)
    folder, name = key.rsplit("/", 1)
    assert folder == "iss/candles/stock/shares/TQBR/Si-12.17%2F%40/1m/2024-03-01T184900_2024-03-15"
    assert name.startswith("20240320T120000Z-")
    assert name.endswith(".jsonl.gz")
    day = replace(WINDOW, series=Series("splits", "stock"), from_at=dt.datetime.fromisoformat("1990-01-01"))
    key, _ = encode_object(EXCHANGES, replace(TRAILER, window=day))
    assert key.startswith("iss/splits/stock/-/-/-/-/1990-01-01_2024-03-15/")


def test_equal_contents_give_equal_objects() -> None:
    """Nothing but the contents decides: landing again is landing the same."""
    assert encode_object(EXCHANGES, TRAILER) == encode_object(EXCHANGES, TRAILER)
    assert encode_object(EXCHANGES, TRAILER)[0] != encode_object(EXCHANGES[:2], TRAILER)[0]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body[:-9],
        lambda body: b"x" + body,
        lambda body: gzip.compress(b"{}\n"),
        lambda body: gzip.compress(b"[1]"),
    ],
)
def test_cut_object_is_refused(spoil) -> None:  # type: ignore[no-untyped-def]
    """An object that is cut, spoilt or without a trailer is told, with what to do."""
    key, body = encode_object(EXCHANGES, TRAILER)
    with pytest.raises(
        BronzeCorrupt, match=r"a Bronze object of .* bytes cannot be read .* restore it from a copy, or remove it"
    ):
        decode_object(spoil(body))
    with pytest.raises(
        BronzeCorrupt, match=r"the trailer of a Bronze object of .* bytes cannot be read .* fetch its window again"
    ):
        trailer_under(key, spoil(body))
