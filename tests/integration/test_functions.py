"""What the API and the command line tell of jobs and of the data's quality."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection
from psycopg.types.json import Jsonb

from lakehouse.cli import main
from lakehouse.database.connection import connect
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.jobs import queue
from tests.deployed import Deployed
from tests.functions_api import Api, deployed_functions, served_functions
from tests.hostile_requests import Hostile

pytestmark = pytest.mark.postgres
ERROR = "XXXX: the exchange does not know 'XXXX': use its SECID, such as SBER, T or RU000A0JX0J2"
COUNTS = {"received": 10, "accepted": 7, "unchanged": 1, "revised": 1, "outranked": 0, "quarantined": 1, "vanished": 0}
ADDED = "All 10 rows received are accounted for: received = accepted + unchanged + revised + outranked + quarantined"


@pytest.fixture(scope="module")
def embedded(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The functions over a job that failed in part, rows in quarantine and dates in doubt."""
    with served_functions(postgres, tmp_path_factory.mktemp("functions")) as found:
        make_quality(found.conn)
        yield found


@pytest.fixture(scope="module")
def on_aws(deployed: Deployed) -> Iterator[Api]:
    """The same as they are deployed."""
    with deployed_functions(deployed) as found:
        make_quality(found.conn)
        yield found


@pytest.fixture(scope="module", params=["embedded", "on_aws"])
def api(request: pytest.FixtureRequest) -> Api:
    """Each of both."""
    found: Api = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def job_id(api: Api) -> int:
    """A job of two tickers of which one is unknown, over; one of its merges is on record."""
    row = api.conn.execute(
        """
        INSERT INTO lake.job (kind, state, requested_by, params, report, started_at, planned_at, finished_at)
        VALUES ('ingest', 'failed', 'anna', %s, %s, now(), now(), now()) RETURNING job_id
        """,
        (
            Jsonb({"instruments": ["SBER", "XXXX"], "timeframes": ["1d"]}),
            Jsonb({"errors": [{"secid": "XXXX", "message": ERROR}], "notes": {"SBER": "1d asked from the start"}}),
        ),
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def merged(api: Api) -> Iterator[None]:
    """A merge that ran meanwhile, and of all times."""
    api.conn.execute(
        "INSERT INTO lake.step_run (run_id, step, started_at, report) VALUES ('silver-1', 'silver', now(), %s)",
        (Jsonb({"tables": {"silver.candles": COUNTS}}),),
    )
    api.conn.execute("UPDATE lake.step_run SET started_at = '2020-01-01Z'")
    yield
    api.conn.execute("DELETE FROM lake.step_run")


def make_quality(conn: Connection[Any]) -> None:
    for number in range(3):
        conn.execute(
            "INSERT INTO lake.quarantine VALUES (%s, 'silver.candles', 'stock', 'shares', 'TQBR', 'SBER', '1d',"
            " 'high below low', %s, '2026-01-05 10:00Z')",
            (f"iss/x#1.{number}", '{"high": [1, 2]}'),
        )
    conn.execute("INSERT INTO lake.quarantine_count VALUES ('silver.candles', 'high below low', 3)")
    conn.execute(
        "INSERT INTO lake.volume_gap (engine, market, board, secid, timeframe, trade_date, state, measure, day_volume,"
        " intraday_volume, object_key) VALUES ('stock', 'shares', 'TQBR', 'SBER', '1m', '2026-01-05', 'differs',"
        " 'volume', 1000, 900, 'iss/x')"
    )
    conn.execute(
        "INSERT INTO gold.dim_instrument (instrument_id, secid, engine, market, board)"
        " VALUES (1, 'SBER', 'stock', 'shares', 'TQBR')"
    )
    conn.execute(
        "INSERT INTO lake.price_jump VALUES (1, '2026-01-04 21:00Z', '2026-01-05', 'SBER', '2026-01-04', 2747, 340.8,"
        " 1, 1, 8)"
    )


def ask(api: Api, method: str, target: str) -> Any:
    status, body = api.ask(Hostile(method, target.encode(), 200, "", headers=(b"Content-Type: application/json",)))
    return status, json.loads(body)


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], api: Api, *arguments: str) -> Any:
    """Run a command against the API's database; return how it ended and what it printed."""
    monkeypatch.setenv("LAKEHOUSE_DATABASE_URL", api.dsn)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["lakehouse", *arguments])
    ended: Any = 0
    try:
        main()
    except SystemExit as error:
        ended = error.code
    said = capsys.readouterr()
    return ended, said.out, said.err


@pytest.mark.usefixtures("merged")
def test_the_api_says_what_failed_and_that_rows_add_up(api: Api, job_id: int) -> None:
    """One job's document names what failed and what to do, what was cut, and what became of every row."""
    status, job = ask(api, "GET", f"/v1/jobs/{job_id}")
    assert status == 200
    assert job["report"]["errors"] == [{"secid": "XXXX", "message": ERROR}]
    assert job["report"]["notes"] == {"SBER": "1d asked from the start"}
    assert job["why_failed"] == (
        f"1 of 2 instruments failed: {ERROR}; all else landed. See `lakehouse jobs show {job_id}`, then: "
        f"lakehouse jobs retry {job_id}"
    )
    assert job["conservation"] == [{"table": "silver.candles", **COUNTS, "adds_up": True}]
    assert job["verdict"] == ADDED


def test_a_document_is_of_one_moment(api: Api, job_id: int) -> None:
    """What a job's document counts are the windows that it shows, though they move between its statements."""
    api.conn.execute(
        """
        INSERT INTO lake.job_window (job_id, family, engine, market, board, secid, timeframe, from_at, till_date)
        VALUES (%s, 'candles', 'stock', 'shares', 'TQBR', 'SBER', '1d', '2026-01-05Z', '2026-01-05')
        """,
        (job_id,),
    )
    is_over = threading.Event()

    def move() -> None:
        with connect(api.dsn) as conn:
            while not is_over.is_set():
                for state, rows in (("landed", 5), ("queued", 0)):
                    conn.execute(
                        "UPDATE lake.job_window SET state = %s, rows = %s WHERE job_id = %s", (state, rows, job_id)
                    )

    with ThreadPoolExecutor(1) as moving:
        moved = moving.submit(move)
        documents = [ask(api, "GET", f"/v1/jobs/{job_id}")[1] for _ in range(40)]
        is_over.set()
        moved.result()
    counted = [(each["windows_done"], each["rows"]) for each in documents]
    shown = [(int(window["state"] == "landed"), window["rows"]) for each in documents for window in each["windows"]]
    assert counted == shown


def test_the_api_retries_what_failed(api: Api, job_id: int) -> None:
    """The job goes on with the ticker that failed; a second retry finds nothing."""
    assert ask(api, "POST", f"/v1/jobs/{job_id}/retry") == (202, {"job_id": job_id, "state": "running"})
    job = queue.job(api.conn, job_id)
    assert job is not None
    assert (job.state, job.report["again"]) == ("running", ["XXXX"])
    status, said = ask(api, "POST", f"/v1/jobs/{job_id}/retry")
    assert (status, said["detail"]) == (400, f"nothing of job {job_id} failed: nothing to retry")


def test_the_api_lists_the_quarantine_in_pages(api: Api) -> None:
    """Rule, payload and Bronze reference of each row, once over all pages."""
    sources, target = [], "/v1/quarantine?limit=2&table=silver.candles&secid=SBER&rule=high%20below%20low"
    _, page = ask(api, "GET", target)
    sources += [row["source"] for row in page["rows"]]
    _, rest = ask(api, "GET", f"{target}&token={page['next']}")
    sources += [row["source"] for row in rest["rows"]]
    assert (sources, rest["next"]) == (["iss/x#1.0", "iss/x#1.1", "iss/x#1.2"], None)
    assert page["rows"][0] == {
        **{"table": "silver.candles", "engine": "stock", "market": "shares", "board": "TQBR", "secid": "SBER"},
        **{"timeframe": "1d", "rule": "high below low", "payload": '{"high": [1, 2]}', "source": "iss/x#1.0"},
        "fetched_at": "2026-01-05T10:00:00Z",
    }
    assert ask(api, "GET", "/v1/quarantine?secid=GAZP") == (200, {"rows": [], "next": None})


def test_the_api_tells_the_quality(api: Api) -> None:
    """Rows in quarantine by rule, and dates that do not add up, of one ticker and state if asked."""
    _, found = ask(api, "GET", "/v1/quality")
    assert found["quarantine"] == [{"table": "silver.candles", "rule": "high below low", "rows": 3}]
    assert found["volume_counts"] == {"differs": 1, "not provable": 0}
    assert [(gap["trade_date"], gap["day_volume"]) for gap in found["volume_gaps"]] == [("2026-01-05", 1000.0)]
    for filter_ in ("secid=GAZP", "state=not%20provable"):
        assert ask(api, "GET", f"/v1/quality?{filter_}")[1]["volume_gaps"] == []
    (jump,) = found["price_jumps"]
    assert (found["jump_count"], jump["trade_date"], jump["close"], jump["after"]) == (1, "2026-01-05", 2747.0, 8)
    assert ask(api, "GET", "/v1/quality?secid=GAZP")[1]["price_jumps"] == []


def test_the_api_shows_the_schedules_and_an_admin_changes_them(api: Api) -> None:
    """Analysts read them; what an admin changes is there at once, and on the audit record."""
    status, body = api.ask(Hostile("GET", b"/v1/schedules", 200, "", role="analyst"))
    names = [each["name"] for each in json.loads(body)["schedules"]]
    assert (status, names) == (200, ["increment", "forming", "reconcile", "care"])
    wanted = {"at": "06:30", "is_on": False}
    status, changed = put(api, "increment", wanted)
    assert (status, changed["at"], changed["is_on"], changed["next_due_at"]) == (200, "06:30", False, None)
    query = "SELECT target, detail, outcome FROM lake.audit WHERE action = 'schedule'"
    assert api.conn.execute(query).fetchall() == [("increment", wanted, "done")]


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("night", {"is_on": True}, "there is no schedule 'night'"),
        ("increment", {}, "the body must be"),
        ("increment", {"when": "now"}, "when: there is no such field; the fields are at, weekday, is_on"),
        ("increment", {"is_on": 1}, "is_on: must be true or false, was 1"),
        ("increment", {"at": 415}, "at: must be a text, was 415"),
        ("increment", {"at": "4:15"}, "'4:15' is no time for increment: write HH:MM, Moscow time"),
    ],
)
def test_what_no_schedule_can_be_is_refused(api: Api, name: str, body: dict[str, Any], said: str) -> None:
    """With the reason, and nothing changed."""
    before = api.conn.execute("SELECT * FROM lake.schedule ORDER BY name").fetchall()
    status, answer = put(api, name, body)
    assert (status, answer["code"], said in answer["detail"]) == (400, "bad_input", True), answer
    assert api.conn.execute("SELECT * FROM lake.schedule ORDER BY name").fetchall() == before


def put(api: Api, name: str, body: dict[str, Any]) -> Any:
    headers = (b"Content-Type: application/json",)
    sent = Hostile("PUT", f"/v1/schedules/{name}".encode(), 200, "", json.dumps(body).encode(), headers=headers)
    status, answer = api.ask(sent)
    return status, json.loads(answer)


def test_the_api_puts_back_what_was_given_up(api: Api) -> None:
    """It says how much that is, and what goes on."""
    api.conn.execute(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('spark', 'publish', 'failed')"
    )
    assert ask(api, "GET", "/v1/jobs")[1]["dead_letters"] == 1
    status, done = ask(api, "POST", "/v1/jobs/redrive")
    assert (status, [letter["task"] for letter in done["letters"]]) == (202, ["publish"])
    assert ask(api, "GET", "/v1/jobs")[1]["dead_letters"] == 0
    api.conn.execute("DELETE FROM procrastinate_jobs WHERE task_name = 'publish'")


@pytest.mark.parametrize(("method", "target"), [("PUT", b"/v1/schedules/increment"), ("POST", b"/v1/jobs/redrive")])
@pytest.mark.parametrize(("role", "status"), [("", 401), ("viewer", 403), ("analyst", 403)])
def test_who_is_no_admin_changes_nothing(api: Api, method: str, target: bytes, role: str, status: int) -> None:
    """Neither a schedule nor what was given up."""
    sent = Hostile(method, target, status, "", b'{"is_on": true}', role, (b"Content-Type: application/json",))
    assert api.ask(sent)[0] == status


def test_the_commands_show_schedules_and_dead_letters(
    embedded: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As tables for people; what is set is told."""
    _, shown, _ = told(monkeypatch, capsys, embedded, "schedules")
    assert all(name in shown for name in ("increment", "forming", "reconcile", "care"))
    said = told(monkeypatch, capsys, embedded, "schedules", "set", "care", "--weekday", "monday")
    assert said == (0, "care: every Monday at 05:30\n", "")
    query = "INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('spark', 'merge', 'failed')"
    embedded.conn.execute(query)
    _, shown, _ = told(monkeypatch, capsys, embedded, "jobs")
    assert "dead letters: 1; see and put them back: lakehouse jobs redrive" in shown
    _, shown, _ = told(monkeypatch, capsys, embedded, "jobs", "redrive")
    assert shown.startswith("merge: no reason was written down\n1 dead letters put back")


@pytest.mark.usefixtures("merged")
def test_the_command_shows_a_job_whole(
    api: Api, job_id: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`jobs show` holds what the API holds; `jobs` shows what failed beside the job."""
    ended, out, _ = told(monkeypatch, capsys, api, "jobs", "show", str(job_id))
    job = json.loads(out)
    assert (ended, job["verdict"], job["conservation"][0]["adds_up"]) == (0, ADDED, True)
    assert job["why_failed"].startswith("1 of 2 instruments failed: XXXX: ")
    assert "1 of 2 instruments failed: XXXX" in told(monkeypatch, capsys, api, "jobs")[1]


def test_ingest_says_what_failed_what_was_cut_and_that_rows_add_up(
    embedded: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It waits for the job, prints what landed and its notes, and ends with 1 and one line when a ticker failed."""
    before = {job.job_id for job in queue.jobs(embedded.conn)}

    def finish() -> None:
        while not (new := {job.job_id for job in queue.jobs(embedded.conn)} - before):
            time.sleep(0.05)
        report = {"errors": [{"secid": "XXXX", "message": ERROR}], "notes": {"SBER": "1d asked till 1990-01-01"}}
        embedded.conn.execute(
            "UPDATE lake.job SET state = 'failed', report = %s, started_at = now(), planned_at = now(),"
            " finished_at = now() WHERE job_id = %s",
            (Jsonb(report), new.pop()),
        )

    worker = threading.Thread(target=finish)
    worker.start()
    ended, out, err = told(monkeypatch, capsys, embedded, "ingest", "SBER", "XXXX")
    worker.join()
    job_id = max(job.job_id for job in queue.jobs(embedded.conn))
    assert ended == 1
    assert out.splitlines() == [f"job {job_id} failed: 0 windows, 0 pages, 0 rows", "SBER: 1d asked till 1990-01-01"]
    assert err.splitlines() == [
        f"job {job_id} is queued",
        f"Error: 1 of 2 instruments failed: {ERROR}; all else landed. See `lakehouse jobs show {job_id}`, then: "
        f"lakehouse jobs retry {job_id}",
    ]


def test_the_command_lists_the_quarantine(
    embedded: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rule, payload, Bronze reference and when, for people and for programs; how many there are, beside."""
    ended, out, err = told(monkeypatch, capsys, embedded, "quarantine", "--limit", "2")
    assert ended == 0
    for text in (
        "2026-01-05 10:00:00",
        "silver.candles",
        "SBER TQBR 1d",
        "high below low",
        '{"high": [1, 2]}',
        "iss/x#1.0",
    ):
        assert text in out
    assert err == "3 rows are in quarantine, 2 of them shown (--limit)\n"
    _, out, _ = told(monkeypatch, capsys, embedded, "quarantine", "--json", "--secid", "SBER", "--table", "candles")
    assert [row["source"] for row in json.loads(out)] == ["iss/x#1.0", "iss/x#1.1", "iss/x#1.2"]


def test_the_command_tells_the_quality(
    embedded: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counts by rule, and the dates in doubt with both volumes."""
    ended, out, _ = told(monkeypatch, capsys, embedded, "quality")
    lines = out.splitlines()
    assert ended == 0
    assert lines[:3] == [
        "In quarantine: 3 rows (lakehouse quarantine lists them)",
        "  silver.candles: high below low: 3",
        "Dates whose volumes differ: 1; not provable: 0",
    ]
    assert " ".join(lines[4].split()) == "2026-01-05 SBER TQBR 1m differs volume 1,000 900"
    assert lines[5] == "Days that jump as by a split that is not known: 1"
    assert "lakehouse splits add SBER 2026-01-05 1 8" in " ".join(" ".join(lines[6:]).split())
    found = json.loads(told(monkeypatch, capsys, embedded, "quality", "--json", "--state", "not provable")[1])
    assert found["volume_gaps"] == []


def test_a_page_of_the_functions_needs_no_delta(embedded: Api, tmp_path: Path) -> None:
    """What a process that serves the functions has loaded holds no reader of Delta and no Arrow."""
    maps = Path(f"/proc/{embedded.process_id}/maps")
    if not maps.exists():
        pytest.skip("there is no /proc here")
    assert ask(embedded, "GET", "/v1/quarantine")[0] == 200
    assert not any(name in maps.read_text() for name in ("pyarrow", "deltalake", "polars"))
