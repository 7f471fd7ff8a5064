"""Windows from an exchange on a socket into the store and the ledger."""

from __future__ import annotations

import datetime as dt
import gzip
import pickle
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster
from psycopg import Connection
from psycopg.rows import dict_row

from lakehouse.bronze.calendars import known_calendar
from lakehouse.bronze.fetch import Cancelled, Failed, FetchContext, Landed, Stopped, fetch_window, fetch_windows
from lakehouse.bronze.ledger import coverage, rebuild
from lakehouse.bronze.objects import decode_object
from lakehouse.bronze.prepare import instrument_windows, read_market_tables
from lakehouse.bronze.reference import exchange_now, read_reference, read_renames, resolve_instrument
from lakehouse.bronze.window import Window, candle_series, history_series
from lakehouse.database.connection import connect
from lakehouse.iss.client import Patience
from lakehouse.iss.errors import IssContractError
from lakehouse.market.errors import BadInput
from lakehouse.market.instrument import Instrument
from lakehouse.market.timeframe import Timeframe
from lakehouse.storage.store import Store
from tests.exchange import candle, days, minutes
from tests.served_exchange import Document, ServedExchange, block, served

pytestmark = pytest.mark.postgres

D = dt.date.fromisoformat
T = dt.datetime.fromisoformat
SBER = Instrument("stock", "shares", "TQBR", "SBER")
MINUTES = candle_series(SBER, Timeframe.MINUTE)
DAYS = candle_series(SBER, Timeframe.DAY)
# Wednesday, 15:00 in Moscow
NOW = dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@dataclass
class Bench:
    exchange: ServedExchange
    context: FetchContext
    conn: Connection[Any]
    store: Store

    def plan(self, timeframe: Timeframe = Timeframe.DAY, **asked: Any) -> list[Window]:
        wanted: dict[str, Any] = {"from_": None, "till": None, "now": exchange_now(self.context), **asked}
        windows = instrument_windows(self.context, SBER, [timeframe], **wanted)
        return [window for window in windows if window.series.family == "candles"]

    def fetch(self, windows: list[Window]) -> list[Any]:
        return [fetch_window(self.context, window) for window in windows]

    def covered(self, series: Any = DAYS) -> list[tuple[str, str, str]]:
        return [(f"{row.from_date}", f"{row.till_date}", row.state) for row in coverage(self.conn, series)]

    def dump(self, table: str, order: str) -> list[dict[str, Any]]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(f"SELECT * FROM lake.{table} ORDER BY {order}").fetchall()  # noqa: S608 - a name in the test
        return [
            {name: value for name, value in row.items() if name not in ("landed_at", "updated_at", "merged_at")}
            for row in rows
        ]


@pytest.fixture
def bench(dsn: str, tmp_path: Path) -> Iterator[Bench]:
    exchange = ServedExchange(NOW)
    exchange.candles[24] = [candle(T("2024-03-01") + DAY * day) for day in range(20)]
    exchange.candles[1] = [row for day in (18, 19, 20) for row in minutes(T(f"2024-03-{day}T10:00"), 600)]
    exchange.history = days(D("2023-10-01"), 171, ["SMAL", "TQBR"])
    with served(exchange), connect(dsn) as conn:
        context = FetchContext(
            exchange.url,
            dsn,
            str(tmp_path / "bronze"),
            rate_per_s=0,
            patience=Patience(attempts=2, wait_s=0.01, total_s=600),
        )
        yield Bench(exchange, context, conn, context.store())


def bodies(store: Store, key: str) -> list[bytes]:
    return [exchange.body for exchange in decode_object(store.get(key)).exchanges]


def test_window_lands_verbatim_with_its_proof(bench: Bench) -> None:
    """The object holds every answer as it came; ledger and trailer say what it proves."""
    (window,) = bench.plan(Timeframe.MINUTE, from_=D("2024-03-18"), till=D("2024-03-19"))[-1:]
    landed = fetch_window(bench.context, window)
    assert isinstance(landed, Landed)
    assert (landed.pages, landed.rows, landed.state, landed.window) == (3, 1200, "complete", window)
    decoded = decode_object(bench.store.get(landed.object_key))
    assert [(exchange.status, exchange.is_proof) for exchange in decoded.exchanges] == [
        *[(200, False)] * 3,
        (200, True),
    ]
    assert all(exchange.fetched_at == NOW for exchange in decoded.exchanges)
    assert b'"begin","end"' in decoded.exchanges[0].body
    assert (decoded.trailer.rows, decoded.trailer.pages) == (1200, 3)
    assert decoded.trailer.end_proof == "next row 2024-03-20 10:00:00"
    assert bench.covered(MINUTES) == [("2024-03-18", "2024-03-19", "complete")]


def test_window_in_which_the_series_ends_is_compared_with_its_border(bench: Bench) -> None:
    """Where no row follows, the border that was read for the plan must end in the last row."""
    (window,) = bench.plan()
    landed = fetch_window(bench.context, window)
    assert isinstance(landed, Landed)
    assert (landed.pages, landed.requests) == (1, 2)
    assert decode_object(bench.store.get(landed.object_key)).trailer.end_proof == "last row of the series"
    assert bench.covered() == [("2024-03-01", "2024-03-19", "complete"), ("2024-03-20", "2024-03-20", "forming")]


def test_series_that_ends_before_its_border_is_refused(bench: Bench) -> None:
    """A tail lost from every answer, proof included, shows at the border."""
    windows = bench.plan()
    bench.exchange.candles[24] = bench.exchange.candles[24][:10]
    (failed,) = bench.fetch(windows)
    assert isinstance(failed, Failed)
    assert "the series ends at 2024-03-10 00:00:00 by its pages, at 2024-03-20 00:00:00 by its border" in failed.error
    assert bench.covered() == [("2024-03-01", "2024-03-20", "failed")]


def emptied(path: str, asked: Mapping[str, str], document: Document) -> Document:
    """Lose the rows of candles and of history, the cursor's total with them."""
    if "candles" in document:
        return {"candles": {**document["candles"], "data": []}}
    if "history" in document:
        cursor = {**document["history.cursor"], "data": [[int(asked["start"]), 0, 100]]}
        return {"history": {**document["history"], "data": []}, "history.cursor": cursor}
    return document


def test_nothing_is_asked_before_it_is_due(bench: Bench) -> None:
    """A second plan within the hour is empty; on the next day only what formed is asked, with the last final candle."""
    bench.fetch(bench.plan())
    assert bench.plan() == []
    bench.exchange.now += dt.timedelta(minutes=59)
    assert bench.plan() == []
    bench.exchange.now += DAY
    bench.exchange.candles[24].append(candle(T("2024-03-21")))
    (window,) = bench.plan()
    assert (window.from_at, window.till) == (T("2024-03-19"), D("2024-03-21"))
    bench.fetch([window])
    assert bench.covered()[-2:] == [("2024-03-19", "2024-03-20", "complete"), ("2024-03-21", "2024-03-21", "forming")]


def test_candles_of_today_are_asked_though_the_border_was_read_before_them(bench: Bench) -> None:
    """The border is read once a day: by the calendar, candles of today may have come since."""
    bench.exchange.now = dt.datetime(2024, 3, 20, 3, 0, tzinfo=dt.UTC)
    del bench.exchange.candles[24][19:]
    bench.fetch(bench.plan())
    bench.exchange.now = NOW
    bench.exchange.candles[24].append(candle(T("2024-03-20")))
    (landed,) = bench.fetch(bench.plan())
    assert (landed.window.from_at, landed.window.till, landed.rows) == (T("2024-03-19"), D("2024-03-20"), 2)


def test_changed_anchor_reads_its_window_again(bench: Bench) -> None:
    """If the last final candle is not what it was, all before it in its cell is read again."""
    bench.fetch(bench.plan())
    bench.exchange.now += DAY
    bench.exchange.candles[24][18] = candle(T("2024-03-19"), close=9.5)
    bench.exchange.candles[24].append(candle(T("2024-03-21")))
    (landed,) = bench.fetch(bench.plan())
    assert (landed.window.from_at, landed.rows) == (T("2024-03-01"), 21)
    bench.exchange.now += DAY
    bench.exchange.candles[24].append(candle(T("2024-03-22")))
    (landed,) = bench.fetch(bench.plan())
    assert (landed.window.from_at, landed.rows) == (T("2024-03-20"), 3)


def test_vanished_anchor_reads_its_window_again(bench: Bench) -> None:
    """An anchor that is not there any more has changed, too."""
    bench.fetch(bench.plan())
    bench.exchange.now += DAY
    del bench.exchange.candles[24][18]
    (landed,) = bench.fetch(bench.plan())
    assert (landed.window.from_at, landed.rows) == (T("2024-03-01"), 19)


def test_anchor_in_another_month_has_a_window_of_its_own(bench: Bench) -> None:
    """A window of minutes never leaves its month; the last candle of the month before is read beside it."""
    bench.exchange.now = dt.datetime(2024, 4, 1, 12, tzinfo=dt.UTC)
    bench.exchange.candles[1] += minutes(T("2024-03-31T10:00"), 10)
    bench.fetch(bench.plan(Timeframe.MINUTE))
    bench.exchange.now += DAY
    bench.exchange.candles[1] += minutes(T("2024-04-01T10:00"), 10) + minutes(T("2024-04-02T10:00"), 10)
    windows = bench.plan(Timeframe.MINUTE)
    assert [(window.from_at, window.till) for window in windows] == [
        (T("2024-03-31T10:09"), D("2024-03-31")),
        (T("2024-04-01"), D("2024-04-02")),
    ]
    assert [landed.rows for landed in bench.fetch(windows)] == [1, 20]


def test_history_is_read_for_all_boards_of_the_market(bench: Bench) -> None:
    """End-of-day rows come with days, are asked at market level and end where their cursor says."""
    windows = instrument_windows(bench.context, SBER, [Timeframe.DAY], from_=None, till=None, now=NOW)
    assert [window.series for window in windows] == [DAYS, history_series(SBER)]
    assert (windows[1].from_at, windows[1].till) == (T("2023-10-01"), D("2024-03-19"))
    (landed,) = bench.fetch(windows[1:])
    assert (landed.pages, landed.rows, landed.state) == (4, 342, "complete")
    assert bench.covered(history_series(SBER)) == [("2023-10-01", "2024-03-19", "complete")]


def test_emptied_candles_are_refused(bench: Bench) -> None:
    """No candles where the border says that there are some prove nothing, however often they are asked."""
    (window,) = bench.plan()
    bench.exchange.fault = emptied
    (failed,) = bench.fetch([window])
    assert isinstance(failed, Failed)
    assert "there are no rows by its pages, by its border they go on to 2024-03-20 00:00:00" in failed.error
    assert bench.covered() == [("2024-03-01", "2024-03-20", "failed")]


def test_empty_history_on_a_trading_day_is_missing(bench: Bench) -> None:
    """No end-of-day rows where border and calendar expect some prove nothing: no date is final."""
    windows = instrument_windows(bench.context, SBER, [Timeframe.DAY], from_=None, till=None, now=NOW)
    bench.exchange.fault = emptied
    (landed,) = bench.fetch(windows[1:])
    assert (landed.state, landed.rows) == ("missing", 0)
    assert bench.covered(history_series(SBER)) == [("2023-10-01", "2024-03-19", "missing")]
    assert [row["complete"] for row in bench.dump("bronze_object", "object_key") if row["family"] == "history"] == [
        False
    ]
    again = instrument_windows(bench.context, SBER, [Timeframe.DAY], from_=None, till=None, now=NOW)
    assert [window.series.family for window in again] == ["candles"]


def test_missing_rows_do_not_undo_a_proof(bench: Bench) -> None:
    """A re-read that comes back empty leaves what was complete as it was."""
    series = history_series(SBER)
    bench.fetch([Window(series, T("2023-10-01"), D("2024-03-19"))])
    bench.exchange.now += dt.timedelta(hours=1)
    bench.exchange.fault = emptied
    (landed,) = bench.fetch([Window(series, T("2023-10-01"), D("2024-03-20"))])
    assert landed.state == "missing"
    assert bench.covered(series) == [("2023-10-01", "2024-03-19", "complete"), ("2024-03-20", "2024-03-20", "missing")]


def test_empty_answer_on_a_holiday_is_no_trades(bench: Bench) -> None:
    """A span without trading dates by the calendar has no trades, and is not asked again."""
    weekend = Window(DAYS, T("2024-03-09"), D("2024-03-10"))
    bench.exchange.candles[24] = [
        row for row in bench.exchange.candles[24] if row[6][:10] not in ("2024-03-09", "2024-03-10")
    ]
    assert [landed.state for landed in bench.fetch([weekend])] == ["no trades"]
    assert bench.covered() == [("2024-03-09", "2024-03-10", "no trades")]


def test_empty_answer_beyond_the_border_is_no_trades(bench: Bench) -> None:
    """Where the series had ended already nothing can be missing."""
    bench.exchange.candles[24] = bench.exchange.candles[24][:5]
    assert [landed.state for landed in bench.fetch([Window(DAYS, T("2024-03-11"), D("2024-03-12"))])] == ["no trades"]


def test_calendar_decides_over_the_timetable(bench: Bench) -> None:
    """Working Saturdays, holidays and weekend sessions are the calendar's; the timetable knows weekdays only."""
    bench.exchange.off_days = [["2024-03-08", 0, "H"], ["2024-03-09", 1, "W"]]
    read_market_tables(bench.context, "stock", "shares", NOW)
    calendar = known_calendar(bench.context, bench.conn, "stock")
    week = [D("2024-03-07") + DAY * day for day in range(5)]
    assert [f"{date}" for date in week if calendar.trades(date)] == ["2024-03-07", "2024-03-09", "2024-03-11"]
    assert calendar.weekend_sessions == {D("2024-03-09")}


def test_calendar_behind_a_login_page_leaves_the_timetable(bench: Bench) -> None:
    """Some do not get the calendar: weekdays then decide."""
    bench.exchange.fault = lambda path, asked, document: None if "calendars" in path else document
    calendar = known_calendar(bench.context, bench.conn, "stock")
    week = [D("2024-03-07") + DAY * day for day in range(5)]
    assert [f"{date}" for date in week if calendar.trades(date)] == ["2024-03-07", "2024-03-08", "2024-03-11"]


def test_failed_window_is_neither_complete_nor_empty(bench: Bench) -> None:
    """What cannot be read is recorded with its reason, lands nothing, is due at once, and keeps earlier proofs."""
    bench.fetch(bench.plan(till=D("2024-03-10")))
    bench.exchange.fault = lambda path, asked, document: None if path.endswith("/candles.json") else document
    (failed,) = bench.fetch(bench.plan(reread=True))
    assert isinstance(failed, Failed)
    assert failed.error.startswith("SBER TQBR 1d 2024-03-01..2024-03-20: http://127.0.0.1")
    assert "ServerDisconnectedError" in failed.error
    assert bench.covered() == [("2024-03-01", "2024-03-10", "complete"), ("2024-03-11", "2024-03-20", "failed")]
    assert coverage(bench.conn, DAYS)[1].error == failed.error
    assert len(list(bench.store.list("iss/candles"))) == 1
    bench.exchange.fault = lambda path, asked, document: document
    assert [landed.rows for landed in bench.fetch(bench.plan())] == [11]
    assert bench.covered()[-1] == ("2024-03-20", "2024-03-20", "forming")


def repeating(times: int) -> Any:
    """Return a fault that repeats the first page of candles instead of the second, *times* times."""
    left = [times]

    def fault(path: str, asked: Mapping[str, str], document: Document) -> Document:
        if path.endswith("/candles.json") and asked["start"] == "499" and left[0]:
            left[0] -= 1
            return {"candles": {**document["candles"], "data": minutes(T("2024-03-18T10:00"), 500)}}
        return document

    return fault


def test_broken_pages_are_read_again_from_the_start(bench: Bench) -> None:
    """Twice at most a window is read again; the object holds the reading that added up, and no page of the others."""
    window = Window(MINUTES, T("2024-03-18"), D("2024-03-19"))
    bench.exchange.fault = repeating(2)
    landed = fetch_window(bench.context, window)
    assert isinstance(landed, Landed)
    assert (landed.pages, landed.rows, landed.requests) == (3, 1200, 8)


def test_rows_of_one_begin_are_believed_when_said_twice(bench: Bench) -> None:
    """A candle that the exchange has twice lands with both rows after a second reading; one doubled once does not."""
    twice = [*minutes(T("2024-03-18T10:00"), 10), candle(T("2024-03-18T10:09"), close=1.25)]
    bench.exchange.candles[1] = [*twice, *bench.exchange.candles[1][600:]]
    window = Window(MINUTES, T("2024-03-18"), D("2024-03-18"))
    (lasting,) = bench.fetch([window])
    assert (lasting.rows, lasting.requests) == (11, 4)
    left = [1]

    def once(path: str, asked: Mapping[str, str], document: Document) -> Document:
        if path.endswith("/candles.json") and left[0]:
            left[0] -= 1
            document["candles"]["data"].insert(5, candle(T("2024-03-19T10:04"), 9.0))
        return document

    bench.exchange.fault = once
    (passing,) = bench.fetch([Window(MINUTES, T("2024-03-19"), D("2024-03-19"))])
    assert passing.rows == 600
    assert b",9.0," not in b"".join(bodies(bench.store, passing.object_key))


def test_pages_that_stay_broken_fail_the_window(bench: Bench) -> None:
    """After the third reading the window is failed."""
    bench.exchange.fault = repeating(9)
    failed = fetch_window(bench.context, Window(MINUTES, T("2024-03-18"), D("2024-03-19")))
    assert isinstance(failed, Failed)
    assert "the page from row 499 begins with 2024-03-18 10:00:00" in failed.error
    assert bench.exchange.requests("/candles.json") == 6
    assert bench.covered(MINUTES) == [("2024-03-18", "2024-03-19", "failed")]


def test_answer_that_nobody_understands_is_kept(bench: Bench) -> None:
    """A broken contract is not asked again; its body lies under rejected/, and the error says where."""
    bench.exchange.fault = lambda path, asked, document: {"klines": []} if path.endswith("/candles.json") else document
    (failed,) = bench.fetch(bench.plan())
    assert isinstance(failed, Failed)
    assert "has no block 'candles'" in failed.error
    assert bench.exchange.requests("/candles.json") == 1
    (key,) = bench.store.list("rejected/")
    assert f"the answer is kept as {key}" in failed.error
    assert bodies(bench.store, key) == [b'{"klines":[]}']
    assert b"rejected" in gzip.decompress(bench.store.get(key))


def test_cancelled_window_stops_at_the_next_page(bench: Bench) -> None:
    """A report that says stop ends the reading; nothing lands, and the ledger is as before."""

    def report(pages: int, rows: int) -> None:
        if pages == 2:
            raise Cancelled("stop")

    window = Window(MINUTES, T("2024-03-18"), D("2024-03-19"))
    assert fetch_window(bench.context, window, report) == Stopped(window)
    assert bench.exchange.requests("/candles.json") == 2
    assert bench.covered(MINUTES) == []
    assert list(bench.store.list("iss/candles")) == []


def test_windows_are_fetched_side_by_side_in_order(bench: Bench) -> None:
    """Outcomes come in the order of the windows, each told its own progress; news of each object goes out."""
    told: list[str] = []
    seen: dict[int, list[tuple[int, int]]] = {}

    def report(number: int) -> Any:
        return lambda pages, rows: seen.setdefault(number, []).append((pages, rows))

    windows = [Window(MINUTES, T(f"2024-03-{day}"), D(f"2024-03-{day}")) for day in (18, 19)] + bench.plan()
    context = replace(bench.context, on_landed=told.append)
    outcomes = fetch_windows(context, [(window, report(number)) for number, window in enumerate(windows)])
    landed = [outcome for outcome in outcomes if isinstance(outcome, Landed)]
    assert [outcome.window for outcome in landed] == windows
    assert [outcome.rows for outcome in landed] == [600, 600, 20]
    assert seen[0] == [(0, 0), (1, 500), (2, 600), (2, 600)]
    candles = sorted(key for key in told if key.startswith("iss/candles/"))
    assert candles == sorted(outcome.object_key for outcome in landed)


def test_context_can_be_sent_to_another_machine(bench: Bench) -> None:
    """A cluster's worker gets addresses and numbers, nothing that is open."""
    assert pickle.loads(pickle.dumps(bench.context)) == bench.context


def test_landing_twice_is_landing_once(bench: Bench) -> None:
    """The same answers at the same time are the same object."""
    (window,) = bench.plan()
    bench.fetch([window, window])
    assert len(list(bench.store.list("iss/candles"))) == 1


def test_ledger_is_rebuilt_from_the_store_alone(bench: Bench) -> None:
    """Wiped and rebuilt, the ledger has the rows it had, over days, re-reads and empty answers."""
    for day in range(4):
        bench.exchange.now = NOW + DAY * day
        bench.exchange.candles[24].append(candle(T("2024-03-21") + DAY * day))
        bench.fetch(
            instrument_windows(
                bench.context, SBER, list(Timeframe)[:4:3], from_=None, till=None, now=bench.exchange.now
            )
        )
    bench.fetch([Window(DAYS, T("2024-03-05"), D("2024-03-06")), Window(DAYS, T("2024-02-01"), D("2024-02-04"))])
    objects, covered = bench.dump("bronze_object", "object_key"), bench.dump("coverage", "family, timeframe, from_date")
    assert {row["state"] for row in covered} == {"complete", "forming", "no trades"}
    bench.conn.execute("UPDATE lake.bronze_object SET merged_at = now() WHERE family = 'history'")
    kept = bench.conn.execute("SELECT object_key, merged_at FROM lake.bronze_object ORDER BY 1").fetchall()
    assert rebuild(bench.conn, bench.store) == len(objects)
    assert bench.conn.execute("SELECT object_key, merged_at FROM lake.bronze_object ORDER BY 1").fetchall() == kept
    bench.conn.execute("DELETE FROM lake.bronze_object")
    bench.conn.execute("DELETE FROM lake.coverage")
    assert rebuild(bench.conn, bench.store) == len(objects)
    assert bench.dump("bronze_object", "object_key") == objects
    assert bench.dump("coverage", "family, timeframe, from_date") == covered


def test_rebuild_forgets_objects_that_are_gone(bench: Bench) -> None:
    """A row without its object is removed, and what it claimed is due again."""
    (landed,) = bench.fetch(bench.plan())
    (Path(bench.store.url) / landed.object_key.replace("%", "%25")).unlink()
    rebuild(bench.conn, bench.store)
    assert bench.covered() == []


def test_reference_table_is_asked_once_a_day(bench: Bench) -> None:
    """On the same day of the exchange the object is read; on the next day it is asked again."""
    first = read_reference(bench.context, "timetable", engine="stock", now=NOW)
    again = read_reference(bench.context, "timetable", engine="stock", now=NOW + dt.timedelta(hours=9))
    assert (first.was_fetched, again.was_fetched) == (True, False)
    assert again.blocks == first.blocks
    assert again.object_key == first.object_key
    bench.exchange.now += DAY
    assert read_reference(bench.context, "timetable", engine="stock").was_fetched


def test_market_tables_land_as_objects(bench: Bench) -> None:
    """Splits, renames and both calendars are Bronze objects like any other, in the ledger and complete."""
    read_market_tables(bench.context, "stock", "shares", NOW)
    rows = bench.dump("bronze_object", "family")
    assert [(row["family"], row["engine"], row["market"], row["secid"], row["complete"]) for row in rows] == [
        ("calendar", "stock", "", "", True),
        ("changeover", "stock", "shares", "", True),
        ("splits", "stock", "", "", True),
        ("timetable", "stock", "", "", True),
    ]


def test_instrument_is_found_on_its_primary_board(bench: Bench) -> None:
    """A code is written as the exchange writes it, and stands on the board that is the primary one."""
    assert resolve_instrument(bench.context, "sber") == SBER


def test_renames_are_read_as_chains(bench: Bench) -> None:
    """The codes of an instrument, oldest first; a row without a date or a code is passed over."""
    broken: list[list[Any]] = [[None, "A", "B"], ["0000-00-00", "A", "B"], ["2012-01-11", "A", ""]]
    table = block(["action_date", "old_secid", "new_secid"], [["2011-01-11", "SBRF", "SBER"], *broken])
    bench.exchange.fault = lambda path, asked, document: {"changeover": table}
    chains = read_renames(bench.context, "stock", "shares", NOW)
    assert [[holding.secid for holding in chain] for chain in chains] == [["SBRF", "SBER"]]


def test_unknown_code_is_bad_input(bench: Bench) -> None:
    """The exchange answers 200 and nothing: that is told, and leaves no object."""
    with pytest.raises(BadInput, match="the exchange does not know 'NOPE': use its SECID, such as SBER"):
        resolve_instrument(bench.context, "NOPE")
    with pytest.raises(BadInput, match="'N O' is not a ticker"):
        resolve_instrument(bench.context, "N O")
    assert list(bench.store.list("iss/")) == []


def test_reference_that_nobody_understands_is_kept_and_raised(bench: Bench) -> None:
    """A table without its block is kept under rejected/ and ends what needed it."""
    bench.exchange.fault = lambda path, asked, document: {"splits": []} if "splits" in path else document
    with pytest.raises(IssContractError, match="has no block 'splits'"):
        read_market_tables(bench.context, "stock", "shares", NOW)
    assert len(list(bench.store.list("rejected/"))) == 1


def test_coverage_of_one_series_is_its_own(bench: Bench) -> None:
    """Other series are not touched by what lands."""
    bench.fetch(bench.plan())
    assert coverage(bench.conn, MINUTES) == []
    found = [(f"{row.from_date}", f"{row.till_date}", row.state) for row in coverage(bench.conn, DAYS)]
    assert found == [("2024-03-01", "2024-03-19", "complete"), ("2024-03-20", "2024-03-20", "forming")]


def test_same_graph_runs_on_a_cluster(bench: Bench) -> None:
    """Given the address of a Dask cluster, windows are fetched by its workers and land in the same store and ledger."""
    windows = [Window(MINUTES, T(f"2024-03-{day}"), D(f"2024-03-{day}")) for day in (18, 19)]
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:  # type: ignore[no-untyped-call]
        outcomes = fetch_windows(bench.context, [(window, max) for window in windows], cluster.scheduler_address)
    assert [(outcome.window, outcome.rows) for outcome in outcomes if isinstance(outcome, Landed)] == [
        (window, 600) for window in windows
    ]
    assert bench.covered(MINUTES) == [
        ("2024-03-18", "2024-03-18", "complete"),
        ("2024-03-19", "2024-03-19", "complete"),
    ]


def test_every_request_is_within_the_budget(bench: Bench) -> None:
    """With a rate, requests of all windows together keep it, and no lease is left behind."""
    context = replace(bench.context, rate_per_s=20, in_flight=2)
    windows = [Window(MINUTES, T(f"2024-03-{day}"), D(f"2024-03-{day}")) for day in (18, 19)]
    begun = time.monotonic()
    outcomes = fetch_windows(context, [(window, max) for window in windows])
    assert [outcome.pages for outcome in outcomes if isinstance(outcome, Landed)] == [2, 2]
    assert time.monotonic() - begun > 5 / 20
    assert bench.conn.execute("SELECT count(*) FROM lake.request_lease").fetchone() == (0,)
