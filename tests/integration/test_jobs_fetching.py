"""Planning and fetching a job: what fails stays apart, what was cancelled or left by a dead worker comes to an end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from lakehouse.bronze.fetch import FetchContext
from lakehouse.database.connection import connect
from lakehouse.iss.client import Patience
from lakehouse.jobs import queue, retrying
from lakehouse.jobs.fetching import fetch_batch
from lakehouse.jobs.planning import plan_ingest
from lakehouse.jobs.running import running
from tests.exchange import candle, days, minutes
from tests.served_exchange import Document, ServedExchange, block, served

pytestmark = pytest.mark.postgres
T = dt.datetime.fromisoformat
# Wednesday, 15:00 in Moscow
NOW = dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)
NAMES = ("boardid", "market", "engine", "is_primary")


class OneCode(ServedExchange):
    """SBER, which had no other code before."""

    def _document(self, path: str, asked: Mapping[str, str]) -> Document:
        document = super()._document(path, asked)
        return {"changeover": {**document["changeover"], "data": []}} if "changeover" in document else document


@dataclass
class Chain:
    """A queue over an exchange, worked off by hand."""

    exchange: ServedExchange
    context: FetchContext
    conn: Connection[Any]

    def submit(self, *instruments: str, **asked: Any) -> int:
        request = queue.IngestRequest.parse({"instruments": list(instruments), **asked})
        return queue.submit_ingest(self.conn, request, "anna")

    def work(self, *tasks: str) -> None:
        """Take the waiting messages of *tasks* and run their steps; all others are dropped."""
        rows = self.conn.execute("DELETE FROM procrastinate_jobs RETURNING task_name, args").fetchall()
        for task, arguments in rows:
            if task == "ingest" and "ingest" in tasks:
                plan_ingest(self.context, arguments["job_id"])
            elif task == "fetch" and "fetch" in tasks:
                fetch_batch(self.context, arguments["job_id"], arguments["window_ids"])

    def publish(self) -> None:
        """Do as if all that landed were merged and published."""
        self.conn.execute("UPDATE lake.bronze_object SET merged_at = now(), published_at = now()")
        queue.settle(self.conn)

    def job(self, job_id: int) -> queue.Job:
        found = queue.job(self.conn, job_id)
        assert found is not None
        return found

    def states(self, job_id: int) -> list[str]:
        return [window.state for window in queue.windows(self.conn, job_id)]


@pytest.fixture
def chain(dsn: str, tmp_path: Path) -> Iterator[Chain]:
    exchange = OneCode(NOW)
    exchange.candles[24] = [candle(T("2024-03-01") + dt.timedelta(day)) for day in range(20)]
    exchange.history = days(dt.date(2024, 3, 1), 19, ["SMAL", "TQBR"])
    with served(exchange), connect(dsn) as conn:
        patience = Patience(attempts=1, wait_s=0.01, total_s=600)
        yield Chain(exchange, FetchContext(exchange.url, dsn, str(tmp_path / "bronze"), 0, patience=patience), conn)


def with_boards(*boards: tuple[str, str, str, int]) -> Any:
    """Return a fault that gives every card these boards: board, market, engine, whether primary."""

    def fault(path: str, asked: Mapping[str, str], document: Document) -> Document:
        if "boards" not in document:
            return document
        columns, (row, *_) = document["boards"]["columns"], document["boards"]["data"]
        rows = [
            [{**dict(zip(columns, row, strict=True)), **dict(zip(NAMES, board, strict=True))}[name] for name in columns]
            for board in boards
        ]
        return {**document, "boards": block(columns, rows)}

    return fault


def test_one_failing_ticker_stops_no_other(chain: Chain) -> None:
    """The others land; the job ends failed and names it, and says what to do."""
    job_id = chain.submit("XXXX", "SBER", "YYYY")
    chain.work("ingest")
    chain.work("fetch")
    chain.publish()
    job = chain.job(job_id)
    assert (job.state, job.windows_done, job.windows_total) == ("failed", 2, 2)
    message = "the exchange does not know 'XXXX': use its SECID, such as SBER, T or RU000A0JX0J2"
    assert job.report["errors"][0] == {"secid": "XXXX", "message": f"XXXX: {message}"}
    assert job.why_failed is not None
    assert job.why_failed.startswith(f"2 of 3 instruments failed: XXXX: {message}; YYYY: the exchange does not know")
    assert job.why_failed.endswith(
        f"all else landed. See `lakehouse jobs show {job_id}`, then: lakehouse jobs retry {job_id}"
    )


def test_many_failing_tickers_fill_no_page(chain: Chain) -> None:
    """The job's line names five and counts the rest; the report has them all."""
    job_id = chain.submit(*[f"X{number}" for number in range(9)])
    chain.work("ingest")
    job = chain.job(job_id)
    assert job.why_failed is not None
    assert job.why_failed.startswith("9 of 9 instruments failed: X0: ")
    assert "; and 4 more; all else landed." in job.why_failed
    assert len(job.report["errors"]) == 9


def test_a_retry_plans_what_the_exchange_did_not_answer(chain: Chain) -> None:
    """The instrument is planned when the exchange answers again; an unknown one fails with the same message, once."""
    working = chain.exchange.fault
    chain.exchange.fault = lambda path, asked, document: None if path.endswith("/securities/SBER.json") else document
    job_id = chain.submit("XXXX", "SBER")
    chain.work("ingest")
    before = {each["secid"]: each["message"] for each in chain.job(job_id).report["errors"]}
    assert set(before) == {"XXXX", "SBER"}
    assert (chain.job(job_id).state, chain.job(job_id).windows_total) == ("failed", 0)
    chain.exchange.fault = working
    assert retrying.retry_failed(chain.conn, job_id) == [job_id]
    chain.work("ingest")
    chain.work("fetch")
    chain.publish()
    job = chain.job(job_id)
    assert (job.state, job.windows_done) == ("failed", 2)
    assert job.report["errors"] == [{"secid": "XXXX", "message": before["XXXX"]}]
    assert "again" not in job.report


def test_a_retry_reads_only_the_window_that_failed(chain: Chain) -> None:
    """What landed is not asked again, and nothing that the job showed goes backwards."""
    chain.exchange.fault = lambda path, asked, document: None if "history" in document else document
    job_id = chain.submit("SBER")
    chain.work("ingest")
    shown = []
    chain.work("fetch")
    shown.append((chain.job(job_id).windows_done, chain.job(job_id).pages, chain.job(job_id).rows))
    assert sorted(chain.states(job_id)) == ["failed", "landed"]
    chain.publish()
    assert chain.job(job_id).state == "failed"
    chain.exchange.fault = lambda path, asked, document: document
    chain.exchange.asked.clear()
    retrying.retry_failed(chain.conn)
    shown.append((chain.job(job_id).windows_done, chain.job(job_id).pages, chain.job(job_id).rows))
    chain.work("fetch")
    shown.append((chain.job(job_id).windows_done, chain.job(job_id).pages, chain.job(job_id).rows))
    chain.publish()
    assert chain.job(job_id).state == "done"
    assert chain.exchange.requests("/candles.json") == 0
    assert shown == sorted(shown)


def test_a_window_read_again_with_fewer_rows_takes_nothing_back(chain: Chain) -> None:
    """Pages and rows shown count what was read so far, the reading in vain included."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    chain.conn.execute("UPDATE lake.job_window SET pages = 40, rows = 20000, state = 'running'")
    ids = [window.window_id for window in queue.windows(chain.conn, job_id)]
    fetch_batch(chain.context, job_id, ids)
    assert (chain.job(job_id).pages, chain.job(job_id).rows) == (80, 40_000)


def test_progress_never_goes_backwards_while_a_window_is_read_twice(chain: Chain) -> None:
    """Seen at every request of a run whose pages do not add up at first, done, pages and rows only grow."""
    chain.exchange.candles[1] = minutes(T("2024-03-18T07:00"), 1200)
    shown: list[tuple[int, int, int]] = []
    broken: list[str] = []
    job_id = chain.submit("SBER", timeframes=["1m"])
    chain.work("ingest")

    def lose_a_row_once(path: str, asked: Mapping[str, str], document: Document) -> Document:
        job = chain.job(job_id)
        shown.append((job.windows_done, job.pages, job.rows))
        if "candles" in document and int(asked["start"]) > 900 and not broken:
            broken.append(path)
            rows = document["candles"]["data"]
            return {"candles": {**document["candles"], "data": rows[:3] + rows[5:]}}
        return document

    chain.exchange.fault = lose_a_row_once
    chain.work("fetch")
    chain.publish()
    job = chain.job(job_id)
    shown.append((job.windows_done, job.pages, job.rows))
    assert job.state == "done"
    assert broken
    assert shown == sorted(shown)
    assert all(one <= other for before, after in pairwise(shown) for one, other in zip(before, after, strict=True))


def test_a_message_of_a_dead_worker_is_taken_up_again(chain: Chain) -> None:
    """Windows that it was reading are read by the next one that gets the message."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    ids = [window.window_id for window in queue.windows(chain.conn, job_id)]
    chain.conn.execute("UPDATE lake.job_window SET state = 'running', attempts = 1")
    fetch_batch(chain.context, job_id, ids)
    assert chain.states(job_id) == ["landed", "landed"]
    assert {window.attempts for window in queue.windows(chain.conn, job_id)} == {2}


def test_a_cancel_is_over_though_the_worker_died(chain: Chain) -> None:
    """Its message comes again, finds the job cancelled, and lets go of the windows that were being read."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    ids = [window.window_id for window in queue.windows(chain.conn, job_id)]
    chain.conn.execute("UPDATE lake.job_window SET state = 'running'")
    assert queue.cancel(chain.conn, job_id) == "cancelling"
    fetch_batch(chain.context, job_id, ids)
    assert chain.job(job_id).state == "cancelled"
    assert chain.states(job_id) == ["cancelled", "cancelled"]


def test_a_cancel_while_planning_plans_no_more(chain: Chain) -> None:
    """The job says cancelled when its planner has stopped, and asks no more instruments."""
    job_id = chain.submit("SBER", "XXXX")

    def cancel_at_the_card(path: str, asked: Mapping[str, str], document: Document) -> Document:
        if path.endswith("/securities/SBER.json") and not chain.job(job_id).state.startswith("cancel"):
            assert queue.cancel(chain.conn, job_id) == "cancelling"
        return document

    chain.exchange.fault = cancel_at_the_card
    chain.work("ingest")
    assert (chain.job(job_id).state, chain.job(job_id).windows_total) == ("cancelled", 0)
    assert chain.exchange.requests("/securities/XXXX.json") == 0


def test_a_cancel_is_over_though_the_planner_died(chain: Chain) -> None:
    """The planner's message comes again, finds the job cancelled, and ends it."""
    job_id = chain.submit("SBER")
    chain.conn.execute("UPDATE lake.job SET state = 'running', started_at = now()")
    assert queue.cancel(chain.conn, job_id) == "cancelling"
    chain.work("ingest")
    assert chain.job(job_id).state == "cancelled"


def test_a_cancel_while_fetching_stops_at_the_next_page(chain: Chain) -> None:
    """The window being read is cancelled, nothing of it lands, and then the job says so."""
    job_id = chain.submit("SBER")
    chain.work("ingest")

    def cancel_at_the_page(path: str, asked: Mapping[str, str], document: Document) -> Document:
        if path.endswith("/candles.json") and not chain.job(job_id).state.startswith("cancel"):
            queue.cancel(chain.conn, job_id)
        return document

    chain.exchange.fault = cancel_at_the_page
    chain.work("fetch")
    chain.publish()
    assert chain.job(job_id).state == "cancelled"
    assert set(chain.states(job_id)) <= {"cancelled", "landed"}


def test_a_cancel_while_merging_waits_for_what_landed(chain: Chain) -> None:
    """What landed is published first: the job says cancelled when nothing of it goes on."""
    job_id = chain.submit("SBER")
    chain.work("ingest")
    chain.conn.execute("UPDATE lake.job_window SET state = 'cancelled' WHERE family = 'history'")
    chain.work("fetch")
    ids = [window.window_id for window in queue.windows(chain.conn, job_id)]
    fetch_batch(chain.context, job_id, ids)
    assert queue.cancel(chain.conn, job_id) == "cancelling"
    chain.publish()
    job = chain.job(job_id)
    assert (job.state, job.windows_done, job.windows_cancelled, job.windows_published) == ("cancelled", 1, 1, 1)


def test_a_ticker_on_several_boards_is_read_on_its_primary_one(chain: Chain) -> None:
    """Boards of other engines and markets do not confuse it."""
    chain.exchange.fault = with_boards(
        ("FUTS", "futures", "currency", 0), ("TQBR", "shares", "stock", 1), ("SMAL", "shares", "stock", 0)
    )
    job_id = chain.submit("SBER")
    chain.work("ingest")
    assert {window.board for window in queue.windows(chain.conn, job_id) if window.family == "candles"} == {"TQBR"}


@pytest.mark.parametrize(
    ("primary", "count", "choices"),
    [
        ((0, 0), "no", "SBER@FUTS (currency/futures), SBER@TQBR (stock/shares)"),
        ((1, 1), "2", "SBER@FUTS (currency/futures), SBER@TQBR (stock/shares)"),
    ],
)
def test_a_ticker_in_several_markets_must_be_said_more_exactly(
    chain: Chain, primary: tuple[int, int], count: str, choices: str
) -> None:
    """Where no one board is primary the error names the choices as they are to be written; nothing is stored."""
    chain.exchange.fault = with_boards(
        ("FUTS", "futures", "currency", primary[0]), ("TQBR", "shares", "stock", primary[1])
    )
    job_id = chain.submit("SBER")
    chain.work("ingest")
    assert chain.job(job_id).instrument_errors == [
        f"SBER has {count} primary boards: say which one is meant, as {choices}"
    ]
    assert chain.states(job_id) == []


def test_a_ticker_may_name_its_board(chain: Chain) -> None:
    """SECID@BOARD reads the candles of that board, be it the primary one or not."""
    job_id = chain.submit("SBER@smal", "SBER")
    chain.work("ingest")
    boards = {window.board for window in queue.windows(chain.conn, job_id) if window.family == "candles"}
    assert boards == {"SMAL", "TQBR"}


def test_a_board_that_a_ticker_is_not_on_is_refused(chain: Chain) -> None:
    """The message names its boards."""
    job_id = chain.submit("SBER@CETS")
    chain.work("ingest")
    assert chain.job(job_id).instrument_errors == [
        "SBER@CETS: SBER is not traded on CETS: its boards are SBER@SMAL (stock/shares), SBER@TQBR (stock/shares)"
    ]


@pytest.mark.parametrize(
    ("asked", "note", "windows"),
    [
        ({}, None, 2),
        (
            {"from": "1990-01-01", "till": "2999-12-31"},
            "1d asked 1990-01-01..2999-12-31, the exchange has 2024-03-01..2024-03-20: cut to that",
            2,
        ),
        ({"from": "2990-01-01"}, "1d asked from 2990-01-01, the exchange has none after 2024-03-20", 0),
        ({"till": "1990-01-01"}, "1d asked till 1990-01-01, the exchange has none before 2024-03-01", 0),
        ({"timeframes": ["1q"]}, "the exchange has no 1q candles", 0),
    ],
)
def test_a_span_beyond_the_borders_is_cut_and_said(
    chain: Chain, asked: dict[str, Any], note: str | None, windows: int
) -> None:
    """Nothing is asked where the exchange has told that nothing is; the job's report says what was cut off."""
    job_id = chain.submit("SBER", **asked)
    chain.work("ingest")
    job = chain.job(job_id)
    assert (job.report.get("notes", {}).get("SBER"), job.windows_total) == (note, windows)


def test_every_line_of_a_fetch_says_whose_it_is(chain: Chain) -> None:
    """In the threads that fetch, too: the step, its run, the message and the job."""
    job_id = chain.submit("SBER", timeframes=["1d"])
    chain.work("ingest")
    row = chain.conn.execute("SELECT args FROM procrastinate_jobs WHERE task_name = 'fetch'").fetchone()
    assert row is not None
    with capture_logs(processors=[merge_contextvars]) as said, running(chain.context.dsn, "fetch", 5, row[0]):
        fetch_batch(chain.context, job_id, row[0]["window_ids"])
    assert {"bronze.object_landed", "jobs.batch_fetched", "jobs.step_ends"} <= {line["event"] for line in said}
    whose = {(line["step"], line["job_id"], line["message_id"]) for line in said}
    assert whose == {("fetch", job_id, 5)}
    assert len({line["run_id"] for line in said}) == 1
