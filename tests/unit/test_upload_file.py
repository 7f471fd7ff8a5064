"""A saved page is taken for what its key says only if its content agrees; what is wrong with it is said, and where."""

from __future__ import annotations

import datetime as dt
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.bronze.coverage import claims
from lakehouse.bronze.ledger import proved_span
from lakehouse.bronze.objects import decode_object, trailer_under
from lakehouse.bronze.upload_file import MAX_FILE, UPLOADED_AT, read_upload, series_of, upload_key
from lakehouse.bronze.window import Series
from lakehouse.market.errors import BadInput
from tests.bronze_objects import CANDLE_COLUMNS, HISTORY_COLUMNS, block, candle
from tests.uploaded import DAYS, HISTORY, as_csv, candles_json, end_of_day, history_json

ROWS = [candle("2012-03-01 00:00:00"), candle("2012-03-02 00:00:00", 1.25)]
CSV = DAYS.replace(".json", ".csv")
CURSOR, CURSOR_COLUMNS = "history.cursor", ("INDEX", "TOTAL", "PAGESIZE")
MINUTES = DAYS.replace("/1d/", "/1m/")


def lasting(begin: str, end: str) -> list[Any]:
    return candle(begin, end=end)


def test_the_object_holds_the_file_unchanged_and_names_it() -> None:
    """It proves its rows and nothing else: no date is covered, nothing it lacks is absent, and it has no fetch time."""
    body = candles_json(ROWS)
    key, packed, trailer = read_upload(DAYS, body)
    read = decode_object(packed)
    assert (read.trailer, trailer_under(key, packed)) == (trailer, trailer)
    assert [(each.body, each.url) for each in read.exchanges] == [(body, DAYS)]
    assert (trailer.rank, trailer.origin, trailer.rows, trailer.complete) == (-1, DAYS, 2, False)
    assert trailer.fetched_at == UPLOADED_AT
    assert key.startswith("iss/candles/stock/shares/TQBR/SBER/1d/2012-03-01_2012-03-02/19700101T000000Z-")
    assert claims(key, trailer) == []
    from_, till = proved_span(trailer)
    assert (from_.isoformat(), till.isoformat()) == ("2012-02-29T20:00:00+00:00", "2012-03-01T20:00:01+00:00")


def test_the_object_is_the_same_whenever_it_is_made() -> None:
    """So an event that comes twice makes one."""
    assert read_upload(DAYS, candles_json(ROWS)) == read_upload(DAYS, candles_json(ROWS))


def test_csv_says_what_json_says() -> None:
    """The exchange's own form, with its block's name, an empty line, a header, and text in windows-1251."""
    key = DAYS.replace(".json", ".csv")
    _, _, trailer = read_upload(key, as_csv("candles", CANDLE_COLUMNS, ROWS))
    assert (trailer.rows, trailer.last) == (2, "2012-03-02 00:00:00")
    columns = (*HISTORY_COLUMNS, "SHORTNAME")
    rows = [[*end_of_day("2012-03-01", None), "Сбербанк; ао"], [*end_of_day("2012-03-02"), "Сбербанк"]]
    quoted = as_csv("history", columns, rows).replace(
        "Сбербанк; ао".encode("cp1251"), '"Сбербанк; ао"'.encode("cp1251")
    )
    cursor = as_csv(CURSOR, CURSOR_COLUMNS, [[0, 2, 100]])
    _, _, trailer = read_upload(HISTORY.replace(".json", ".csv"), quoted + cursor)
    assert (trailer.rows, trailer.window.series) == (2, Series("history", "stock", "shares", secid="SBER"))


def test_decimal_commas_are_decimals() -> None:
    """The exchange writes them when asked by iss.dp=comma."""
    text = as_csv("candles", CANDLE_COLUMNS, ROWS).replace(b"1.5", b"1,5")
    assert read_upload(DAYS.replace(".json", ".csv"), text)[2].rows == 2


@pytest.mark.parametrize(
    ("key", "series"),
    [
        ("uploads/candles/stock/shares/tqbr/RU000A0JX0J2/10m/a-1.csv",
         Series("candles", "stock", "shares", "TQBR", "RU000A0JX0J2", "10m")),
        ("uploads/candles/futures/forts/RFUD/Si-12.17/1h/x.json",
         Series("candles", "futures", "forts", "RFUD", "Si-12.17", "1h")),
        ("uploads/history/stock/index/x.json", Series("history", "stock", "index")),
    ],
)  # fmt: skip
def test_a_key_says_what_a_file_is_of(key: str, series: Series) -> None:
    """Boards in any case, as the exchange takes them."""
    assert series_of(key) == series
    assert upload_key(series, key.split("/")[-1]).lower() == key.lower()


@pytest.mark.parametrize(
    "key",
    ["uploads/x.json", "uploads/candles/stock/shares/TQBR/SBER/x.json",
     "uploads/candles/stock/shares/TQBR/SBER/1d/a/x.json",
     "iss/candles/stock/shares/TQBR/SBER/1d/x.json", "uploads/trades/stock/shares/x.json", "uploads/", "uploads",
     "uploads/candles/stock/shares/TQBR/SBER/5m/x.json", "uploads/candles/stock/shares/TQBR/SBER/1d/x.exe",
     "uploads/candles/stock/shares/TQBR/SBER/1d/.json", "uploads/candles/stock/shares/TQBR/SBER/1d/x%2F..%2Fy.json",
     "uploads/candles/stock/shares/TQBR/..%2FSBER/1d/x.json", "uploads/candles/STOCK/shares/TQBR/SBER/1d/x.json",
     "uploads/candles/stock/shares/T-BR/SBER/1d/x.json", "uploads/history/stock/sh%00ares/x.json",
     "uploads/" + "x" * 2_000],
)  # fmt: skip
def test_a_key_that_is_no_place_is_refused(key: str) -> None:
    """With the key, in few words, and what is wrong with it."""
    with pytest.raises(BadInput, match=r"^'.{1,120}': .{10,400}$"):
        series_of(key)


WRONG: list[tuple[str, bytes, str]] = [
    (DAYS, b"", r"it is no JSON \(.*\): it may be cut off"),
    (DAYS, candles_json(ROWS)[:-20], r"it is no JSON \(.*\): it may be cut off"),
    (DAYS, b"<html>", r"it is no JSON"),
    (DAYS, b"\xff\xfe\x00", r"it is no JSON"),
    (DAYS, b"[" * 100_000, r"it is no JSON"),
    (DAYS, b"7", r"it is JSON, but no page of the exchange"),
    (DAYS, json.dumps([{"charsetinfo": {}}, {"candles": []}]).encode(), r"as iss\.json=extended gives it: save"),
    (DAYS, history_json([end_of_day("2012-03-01")]), r"it has no block candles, but history: is it another page"),
    (DAYS, b"{}", r"it has no block candles, but nothing"),
    (DAYS, json.dumps({"candles": []}).encode(), r"the answer has no block 'candles' of columns and data"),
    (DAYS, json.dumps({"candles": block(CANDLE_COLUMNS[:-1], [])}).encode(), r"block 'candles' lacks end; it has"),
    (DAYS, json.dumps({"candles": block((*CANDLE_COLUMNS, "OPEN"), [[*ROWS[0], 1]])}).encode(), r"two columns of"),
    (DAYS, json.dumps({"candles": block(CANDLE_COLUMNS, [ROWS[0][:-1]])}).encode(), r"7 values for 8 columns"),
    (DAYS, candles_json([]), r"its block candles holds no rows"),
    (DAYS, candles_json([candle("2012-03-01 00:00:00", volume="many")]), r"column volume of block 'candles' holds str"),
    (DAYS, candles_json([candle("01.03.2012 00:00:00")]), r"row 1 is of '01\.03\.2012 00:00:00', expected a date"),
    (DAYS, candles_json([*ROWS, candle("2012-02-30 00:00:00")]), r"row 3 is of '2012-02-30 00:00:00', expected"),
    (DAYS, candles_json([*ROWS, candle("9999-12-31 00:00:00")]), r"row 3 is of '9999-12-31 .*: the exchange has"),
    (DAYS, candles_json([[*ROWS[0][:6], 7, 8]]), r"column begin of block 'candles' holds 7, expected a text of 19"),
    (DAYS, candles_json([*ROWS, candle("2012-03-01 10:00:00")]), r"row 3 begins 2012-03-01 10:00:00, where no"),
    (DAYS, candles_json([lasting("2012-03-01 00:00:00", "2012-03-30 00:00:00")]), r"row 1 lasts .* no 1d candles"),
    (MINUTES, candles_json([lasting("2012-03-01 10:00:00", "2012-03-01 10:09:59")]), r"row 1 lasts .* no 1m candles"),
    (MINUTES, candles_json([candle("2012-03-01 10:00:30")]), r"row 1 begins 2012-03-01 10:00:30, where no 1m candle"),
    (DAYS.replace("/1d/", "/1w/"), candles_json(ROWS), r"row 1 begins 2012-03-01 00:00:00, where no 1w candle begins"),
    (DAYS, json.dumps({"candles": {"columns": CANDLE_COLUMNS, "data": [5]}}).encode(), r"a row of .* is no list"),
    (DAYS, json.dumps({"candles": {"columns": CANDLE_COLUMNS, "data": [dict.fromkeys(range(8))]}}).encode(),
     r"a row of block 'candles' is no list"),
    (DAYS, json.dumps({"candles": {**block(CANDLE_COLUMNS, ROWS), "metadata": {"open": [], "close": {"type": []}}}})
     .encode(), r"has the unknown type '\[\]'"),
    (HISTORY, history_json([end_of_day("2012-03-01", board="A\0B")]), r"'SBER@A\\x00B' names no board"),
    (HISTORY, candles_json(ROWS), r"it has no block history, but candles"),
    (HISTORY, history_json([end_of_day("2012-03-01"), end_of_day("2012-03-01", secid="GAZP")]), r"of 2 securities"),
    (HISTORY, history_json([end_of_day("2012-03-01", secid="../x")]), r"'\.\./x' is not a ticker"),
    (HISTORY, history_json([end_of_day("2012-03-01")], **{CURSOR: block(CURSOR_COLUMNS, [[0, 7, 100]])}),
     r"it holds 1 rows, by its cursor it has 7: it is cut off"),
    (HISTORY, history_json([end_of_day("2012-03-01")], **{CURSOR: block(CURSOR_COLUMNS, [["0", 7, 1]])}),
     r"its cursor is not one row of three numbers"),
    (CSV, as_csv("candles", CANDLE_COLUMNS, ROWS).rstrip(b"\n"), r"its last line has no end"),
    (CSV, as_csv("candles", CANDLE_COLUMNS, [ROWS[0], ROWS[1][:-1]]), r"line 5 has 7 values for"),
    (CSV, as_csv("candles", CANDLE_COLUMNS, [candle("2012-03-01 00:00:00", volume="9" * 5_000)]), r"holds str, exp"),
    (CSV, as_csv("candles", CANDLE_COLUMNS, [candle("2012-03-01 00:00:00", volume="1e400")]), r"holds str, expected"),
    (CSV, b"open;close\n1;2\n", r"line 1 is 'open;close', expected the name of a block"),
    (CSV, b'candles\n\n"open\n', r"is no CSV with ';'"),
    (CSV, candles_json(ROWS) + b"\n", r"(expected the name|is no CSV|it has no block candles)"),
    (CSV, b"candles\n\n" + b"\0" * 5_000 + b"\n", r"block 'candles' lacks .*; it has \?{50}"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "body", "message"), WRONG)
def test_a_wrong_file_is_refused_with_what_is_wrong(key: str, body: bytes, message: str) -> None:
    """The message begins with the file and stays short, whatever the file holds."""
    with pytest.raises(BadInput, match=rf"^{key}: .*{message}") as refused:
        read_upload(key, body)
    assert len(str(refused.value)) < 500


cells = st.sampled_from([1, 1.5, None, True, 10**30, "2012-03-01 00:00:00", "2012-03-01", "TQBR", "SBER", "x"])
values = cells | st.lists(cells, max_size=2) | st.dictionaries(st.text(max_size=2), cells, max_size=1)
metadata = st.dictionaries(st.sampled_from(["open", "begin"]), values, min_size=1) | values


def block_of_any_kind(columns: tuple[str, ...]) -> st.SearchStrategy[Any]:
    rows = st.lists(values, min_size=len(columns), max_size=len(columns)) | values
    made = {"columns": st.just(columns), "data": st.lists(rows, max_size=3)}
    return st.fixed_dictionaries(made) | st.fixed_dictionaries({**made, "metadata": metadata}) | values


@given(block_of_any_kind(CANDLE_COLUMNS), block_of_any_kind(HISTORY_COLUMNS), block_of_any_kind(CURSOR_COLUMNS))
def test_no_exception_but_a_refusal_comes_of_a_file(candles: Any, history: Any, cursor: Any) -> None:
    """One that did would come again at every start and every reconciliation, and stop them."""
    page = json.dumps({"candles": candles, "history": history, CURSOR: cursor}).encode()
    for key in (DAYS, HISTORY):
        with suppress(BadInput):
            read_upload(key, page)


def test_a_file_too_large_is_refused() -> None:
    """With its size and what is taken."""
    with pytest.raises(BadInput, match=rf"page\.json: it has {MAX_FILE + 1:,} bytes, at most {MAX_FILE:,} are taken"):
        read_upload(DAYS, b" " * (MAX_FILE + 1))


def test_few_ends_beyond_the_candle_are_the_exchanges_own() -> None:
    """It has such rows; most of a page are what it is of."""
    rows = [*ROWS, candle("2011-01-01 00:00:00", end="2023-08-22 00:00:00")]
    assert read_upload(DAYS, candles_json(rows))[2].rows == 3


def test_years_ago_moscow_had_another_time() -> None:
    """The span of an object is in UTC by the time that held then."""
    _, _, trailer = read_upload(DAYS, candles_json([candle("2016-03-01 00:00:00")]))
    assert proved_span(trailer)[0] == dt.datetime(2016, 2, 29, 21, tzinfo=dt.UTC)
