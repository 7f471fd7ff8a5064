"""What is hostile or wrong is refused with what was wrong: no traceback, no 5xx, nothing stored."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from lakehouse.cli import main
from lakehouse.database.runner import EmbeddedPostgres
from tests.deployed import Deployed
from tests.functions_api import Api, deployed_functions, served_functions
from tests.hostile_requests import REQUESTS, Hostile

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def embedded(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The functions over a database that holds one job, which is done."""
    with served_functions(postgres, tmp_path_factory.mktemp("hostile")) as found:
        make_job(found)
        yield found


@pytest.fixture(scope="module")
def on_aws(deployed: Deployed) -> Iterator[Api]:
    """The same as they are deployed."""
    with deployed_functions(deployed) as found:
        make_job(found)
        yield found


@pytest.fixture(scope="module", params=["embedded", "on_aws"])
def api(request: pytest.FixtureRequest) -> Api:
    """Each of both."""
    found: Api = request.getfixturevalue(request.param)
    return found


def make_job(api: Api) -> None:
    api.conn.execute(
        "INSERT INTO lake.job (kind, state, requested_by, params, started_at, planned_at, finished_at)"
        " VALUES ('ingest', 'done', 'anna', %s, now(), now(), now())",
        (Jsonb({"instruments": ["SBER"]}),),
    )


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_a_hostile_request_is_refused(api: Api, request_: Hostile) -> None:
    """The answer says what was wrong under a 4xx status; nothing is stored, nobody sees or logs a traceback."""
    before = api.stored()
    status, body = api.ask(request_)
    said = json.loads(body)
    assert api.stored() == before
    if api.is_on_aws and not request_.is_routed:
        # The gateway refuses it itself; in which words, infra/aws/refusals.py says, and LocalStack does not heed
        assert status == 404
        return
    assert (status, said["status"]) == (request_.status, request_.status)
    assert re.search(request_.message, said["detail"]), said["detail"]
    assert len(said["detail"]) < 600
    assert b"Traceback" not in api.logged()


def test_there_are_a_hundred_of_them() -> None:
    """A request that is taken out of the list is missed."""
    assert len({str(request) for request in REQUESTS}) >= 100


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/instruments?q=%ff%fe",
        b"/v1/instruments?q='%3Bdrop%20table%20lake.job%3B--",
        b"/v1/instruments?q=%25_",
        b"/v1/instruments?q=%C2%A0x%E2%80%8B",
    ],
)
def test_a_search_for_anything_is_a_search(api: Api, target: bytes) -> None:
    """Text that is no name finds nothing, and is run as nothing else."""
    before = api.stored()
    assert api.ask(Hostile("GET", target, 200, "")) == (200, b'{"instruments":[],"more":false}')
    assert api.stored() == before


def test_what_is_no_http_is_refused_by_the_server(embedded: Api) -> None:
    """Bytes that are no request never reach the functions."""
    for target in (b"/v1/jobs/\xff", b"/v1/jobs?q= x"):
        assert embedded.ask(Hostile("GET", target, 400, ""))[0] == 400


def test_a_hostile_client_fails_at_logging_in_often(api: Api) -> None:
    """After five failures of a name from an address the sixth is not even tried."""
    request = Hostile("POST", b"/v1/login", 401, "", b'{"user": "admin", "password": "guess"}', "")
    answers = [api.ask(request) for _ in range(6)]
    assert [status for status, _ in answers] == [401] * 5 + [429]
    assert re.search("^too many failed logins: try again in [0-9]+ s$", json.loads(answers[-1][1])["detail"])


HOSTILE_COMMANDS = [
    ("ingest", 2, "^Error: say which SECID, or --held for all that is held"),
    ("ingest SB/ER", 1, "^Error: instruments.0: 'SB/ER' is not a ticker: use the exchange's SECID"),
    ("ingest ../../x", 1, "^Error: instruments.0: '../../x' is not a ticker"),
    ("ingest СБЕР", 1, "^Error: instruments.0: 'СБЕР' is not a ticker"),
    ("ingest SBER@", 1, "^Error: instruments.0: 'SBER@' names no board: write SECID@BOARD"),
    ("ingest SBER --timeframe 5m", 2, "Invalid value for '--timeframe': '5m' is not one of '1m', '10m'"),
    ("ingest SBER --from 2024-02-30", 2, "Invalid value for '--from': '2024-02-30' does not match the format"),
    ("ingest SBER --from 0000-01-01", 2, "Invalid value for '--from'"),
    ("ingest SBER --from 1989-12-31", 1, "^Error: request: from 1989-12-31 lies before 1990-01-01"),
    ("ingest SBER --till 9999-12-31", 1, "^Error: request: till 9999-12-31 lies after 2999-12-31"),
    ("ingest SBER --from 2024-01-02 --till 2024-01-01", 1, "^Error: request: till 2024-01-01 lies before from"),
    ("ingest SBER --reread", 1, "^Error: request: a re-read needs from"),
    ("ingest SBER --no-such", 2, "No such option"),
    ("ingest " + "SBER " * 10_000, 1, "^Error: instruments: 10,000 were given, at most 1,000 are taken at once"),
    ("jobs show 2", 1, "^Error: there is no job 2: `lakehouse jobs` lists them$"),
    ("jobs show x", 2, "Invalid value for 'JOB_ID': 'x' is not a valid integer range"),
    ("jobs show 0", 2, "Invalid value for 'JOB_ID': 0 is not in the range"),
    ("jobs show 99999999999999999999", 2, "Invalid value for 'JOB_ID': 99999999999999999999 is not in the range"),
    ("jobs cancel 2", 1, "^Error: there is no job 2$"),
    ("jobs cancel 1", 1, r"^Error: job 1 is over \(done\): nothing to cancel$"),
    ("jobs retry", 2, "say which job, or --failed for all"),
    ("jobs retry 2", 1, "^Error: there is no job 2: `lakehouse jobs` lists them$"),
    ("jobs retry 2 --failed", 1, "^Error: there is no job 2"),
    ("jobs nothing", 2, "No such command 'nothing'"),
    ("nothing", 2, "No such command 'nothing'"),
    ("quarantine --table users", 1, "^Error: table 'users' is not one of silver.candles, silver.history"),
    ("quarantine --limit 0", 2, "Invalid value for '--limit': 0 is not in the range"),
    ("quarantine --secid ../x", 1, "^Error: '../x' is not a ticker"),
    ("quality --state bad", 2, "Invalid value for '--state': 'bad' is not one of"),
    ("users add BÖSE --password xxxxxxxxxxxx", 1, "^Error: a user's name is 1 to 64 of a-z"),
    ("users add eve --password short", 1, "^Error: a password has 10 to 1000 characters, this one has 5"),
    ("users role admin viewer", 1, "^Error: admin is the last admin: make another one first$"),
    ("users remove nobody", 1, "^Error: there is no user nobody$"),
    ("sql DROP", 1, "^Error: line 1, column"),
    ("rebuild everything", 2, "Invalid value for"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "code", "message"), HOSTILE_COMMANDS, ids=[c[0][:50] for c in HOSTILE_COMMANDS])
def test_a_hostile_command_is_refused(
    embedded: Api,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    code: int,
    message: str,
) -> None:
    """It ends with 1 (failed) or 2 (wrong usage) and one line that says what was wrong; nothing is stored."""
    monkeypatch.setenv("LAKEHOUSE_DATABASE_URL", embedded.dsn)
    before = embedded.stored()
    ended, said = run(monkeypatch, capsys, *command.split())
    assert (ended, bool(re.search(message, said.splitlines()[-1]))) == (code, True), said
    assert "Traceback" not in said
    if code == 1:
        assert len(said.splitlines()) == 1
    assert embedded.stored() == before


def test_a_command_without_a_platform_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A folder that no platform runs on, one that is a file, and one that cannot be are one line each."""
    monkeypatch.delenv("LAKEHOUSE_DATABASE_URL", raising=False)
    (tmp_path / "run.json").write_bytes(b"\xff\0{")
    for folder in (tmp_path, tmp_path / "run.json" / "x", tmp_path / "missing"):
        ended, said = run(monkeypatch, capsys, "jobs", "--data", str(folder))
        assert (ended, len(said.splitlines())) == (1, 1), said
        assert re.search(f"^Error: no platform runs on {folder}: start it with `lakehouse up`", said)


def test_a_database_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody answers at the address: it is said where was asked, without a password, and what to do."""
    monkeypatch.setenv("LAKEHOUSE_DATABASE_URL", "postgresql://lakehouse:secret@127.0.0.1:1/lakehouse")
    ended, said = run(monkeypatch, capsys, "jobs")
    assert (ended, len(said.splitlines())) == (1, 1), said
    assert re.search("^Error: the database does not answer: .*refused", said)
    assert "secret" not in said


def test_bytes_that_are_no_text_are_refused(embedded: Api, tmp_path: Path) -> None:
    """Arguments that are not UTF-8 end with one line, too: as a process, as a shell would run it."""
    environment = {**os.environ, "LAKEHOUSE_DATABASE_URL": embedded.dsn, "LAKEHOUSE_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-c", "from lakehouse.cli import main; main()"]
    for arguments, message in (
        ([b"ingest", b"\xff\xfe"], rb"^Error: instruments.0: '\\udcff\\udcfe' is not a ticker"),
        ([b"sql", b"SELECT '\xff'"], rb"^Error: the statement is not UTF-8"),
    ):
        done = subprocess.run([*map(str.encode, command), *arguments], env=environment, capture_output=True)
        assert done.returncode == 1
        assert re.search(message, done.stderr), done.stderr
        assert len(done.stderr.splitlines()) == 1


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    """Run the command line in this process; return how it ended and what it said on standard error."""
    monkeypatch.setattr(sys, "argv", ["lakehouse", *arguments])
    ended: Any = 0
    try:
        main()
    except SystemExit as error:
        ended = error.code
    return ended, capsys.readouterr().err.strip()
