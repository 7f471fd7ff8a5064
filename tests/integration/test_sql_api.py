"""SQL over the lake through the API: what it answers, to whom, and that hostile texts hold up nobody."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import psutil
import pytest

from lakehouse.access.audit import MAX_REFUSED
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.market.candle import CANDLES, DIM_DATE, QUARANTINE
from lakehouse.serving.lake_sql.desk import AT_ONCE, PER_USER
from tests.functions_api import Api, served_functions
from tests.hostile_sql import STATEMENTS, HostileSql
from tests.killing import until
from tests.sql_lake import DAY, FIRST, SECOND, candle, date, write

pytestmark = pytest.mark.postgres
ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3"


@dataclass(frozen=True)
class Said:
    """An answer of the API."""

    status: int
    headers: Message
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def api(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The functions over a lake where SBER's candle was revised in the table's second version."""
    folder = tmp_path_factory.mktemp("sql")
    write(folder, CANDLES, [candle("SBER", 300.0, FIRST)])
    write(folder, CANDLES, [candle("SBER", 300.0, FIRST, SECOND), candle("SBER", 301.5, SECOND)])
    write(folder, DIM_DATE, [date(DAY)])
    write(folder, QUARANTINE, [dict.fromkeys(QUARANTINE.names, "x") | {"fetched_at": FIRST}])
    with served_functions(postgres, folder) as found:
        yield found


def post(api: Api, path: str, document: object, role: str = "analyst") -> Said:
    headers = {"Content-Type": "application/json"}
    if role:
        headers["Authorization"] = f"Bearer {api.tokens[role]}"
    address = f"http://127.0.0.1:{api.port}{path}"
    body = None if document is None else json.dumps(document).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=300) as answer:
            return Said(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Said(error.code, error.headers, error.read())


def ask(api: Api, statement: str, role: str = "analyst", **fields: object) -> Said:
    return post(api, "/v1/sql", {"statement": statement, **fields}, role)


def wait_until_run(api: Api, count: int) -> None:
    """Wait until *count* statements run: each has a process of its own. One that asked would take another's place."""
    until(lambda: len(psutil.Process(api.process_id).children()) == count, 300, 0.05)


def test_an_answer_has_columns_types_and_rows(api: Api) -> None:
    """Types are the dictionary's; instants are ISO with Z; equal names get numbers; whole numbers are exact."""
    statement = (
        "SELECT secid, close, known_from, trade_date, is_final, open, 9007199254740993 AS id, 1 AS id FROM candles"
    )
    said = ask(api, statement)
    assert (said.status, said.headers["Cache-Control"]) == (200, "no-store")
    assert said.document["columns"] == [
        {"name": name, "type": type_}
        for name, type_ in (
            ("secid", "string"), ("close", "double"), ("known_from", "timestamp"), ("trade_date", "date"),
            ("is_final", "boolean"), ("open", "double"), ("id", "long"), ("id_2", "int"),
        )
    ]  # fmt: skip
    assert said.document["rows"] == [
        ["SBER", 301.5, "2024-03-07T00:00:00Z", "2024-03-05", True, None, 9007199254740993, 1]
    ]
    assert (said.document["reached"], said.document["seconds"] > 0) == (None, True)


def test_csv_holds_the_same_values(api: Api) -> None:
    """`?format=csv` answers a file; what the limit cut off is said in a header."""
    said = post(api, "/v1/sql?format=csv", {"statement": "FROM range(9) SELECT range, 'я,\"'", "limit": 2})
    assert said.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(io.StringIO(said.body.decode())))[1:] == [["0", 'я,"'], ["1", 'я,"']]
    assert said.headers["X-Limit-Reached"] == "there are more than 2 rows: only these are shown"


def test_csv_is_never_cut_unasked(api: Api) -> None:
    """Without a limit CSV has all rows or is refused, and so it stands on the audit record; JSON says what it lacks."""
    assert post(api, "/v1/sql?format=csv", {"statement": "FROM range(10000)"}).body.count(b"\n") == 10_001
    said = post(api, "/v1/sql?format=csv", {"statement": "FROM range(10001)"})
    assert (said.status, said.document["code"]) == (400, "bad_input")
    assert re.match(
        r"there are more than 10,000 rows, .*: narrow the statement, or send a limit", said.document["detail"]
    )
    assert audited(api)[-1] == ("analyst", "sql", "refused", "FROM range(10001)")
    assert ask(api, "FROM range(10001)").document["reached"] == "there are more than 10,000 rows: only these are shown"


def test_a_reached_limit_of_rows_is_said(api: Api) -> None:
    """So many rows as asked for come, and the answer says that there are more."""
    said = ask(api, "FROM range(100000)", limit=3).document
    assert (said["rows"], said["reached"]) == ([[0], [1], [2]], "there are more than 3 rows: only these are shown")


def test_versions_and_former_states_are_read(api: Api) -> None:
    """`..._versions` has all rows, `at` reads a version or a time, and one that is not there is refused."""
    assert len(ask(api, "FROM candles_versions").document["rows"]) == 2
    assert ask(api, "SELECT close FROM candles", at="0").document["rows"] == [[300.0]]
    assert ask(api, "SELECT close FROM candles", at="2999-01-01T00:00").document["rows"] == [[301.5]]
    refused = ask(api, "SELECT close FROM candles", at="7")
    assert (refused.status, refused.document["detail"]) == (400, "silver.candles has no version 7: its newest is 1")


def test_what_is_not_there_yet_is_said(api: Api) -> None:
    """A table that the lake lacks is an error of its own, never an empty answer."""
    said = ask(api, "FROM splits")
    assert (said.status, said.document["code"]) == (422, "sql_failed")
    assert re.search(r"^there is no data in .* yet \(silver\.splits is not there\)", said.document["detail"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"statement": None}, "statement: must be a text, was None"),
        ({"at": 7}, "at: must be a text, was 7"),
        ({"at": "1\0"}, "at: holds characters that cannot be kept"),
        ({"at": "\ud800"}, "at: holds characters that cannot be kept"),
        ({"limit": 0}, "limit: must be at least 1, was 0"),
        ({"limit": 100_001}, "limit: must be at most 100,000, was 100001"),
        ({"limit": True}, "limit: must be a whole number, was True"),
        ({"timeout": 61}, "timeout: must be at most 60, was 61"),
        ({"timeout": "1"}, "timeout: must be a whole number, was '1'"),
        ({"id": "../x"}, "id: must be 1 to 64 letters, digits and hyphens"),
        ({"spark": True}, "spark: there is no such field; the fields are statement, at, limit, timeout, id"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong(api: Api, fields: dict[str, object], message: str) -> None:
    """The answer says which field is wrong, and what it must be."""
    said = post(api, "/v1/sql", {"statement": "SELECT 1", **fields})
    assert (said.status, said.document["code"], said.document["detail"]) == (400, "bad_input", message)


def test_analysts_ask_and_viewers_do_not(api: Api) -> None:
    """The role is checked on the server, and what was refused is on the audit record, as is what was asked."""
    before = audited(api)
    assert ask(api, "SELECT 1", "").status == 401
    assert ask(api, "SELECT 1", "viewer").status == 403
    assert post(api, "/v1/sql/x/stop", {}, "viewer").status == 403
    assert ask(api, "SELECT 42").status == 200
    assert ask(api, "SELEC 42", "admin").status == 400
    assert audited(api)[len(before) :] == [
        ("", "sql", "refused", None),
        ("viewer", "sql", "refused", None),
        ("viewer", "sql stop", "refused", None),
        ("analyst", "sql", "done", "SELECT 42"),
        ("admin", "sql", "refused", "SELEC 42"),
    ]


def audited(api: Api) -> list[tuple[Any, ...]]:
    return api.conn.execute(
        "SELECT user_name, action, outcome, detail->>'statement' FROM lake.audit WHERE action LIKE 'sql%%' ORDER BY at"
    ).fetchall()


def test_the_schema_names_all_that_can_be_asked(api: Api) -> None:
    """Each table and column that DuckDB lists stands in the schema, with its type and its meaning."""
    with urllib.request.urlopen(
        urllib.request.Request(
            f"http://127.0.0.1:{api.port}/v1/schema", headers={"Authorization": f"Bearer {api.tokens['viewer']}"}
        )
    ) as answer:
        tables = {table["name"]: table for table in json.load(answer)["tables"]}
    for name in ("silver.candles", "silver.candles_versions", "gold.dim_date"):
        told = tables[name]
        columns = [row[0] for row in ask(api, f"DESCRIBE {name}").document["rows"]]
        assert [column["name"] for column in told["columns"]] == columns
        assert all(column["type"] and column["meaning"] for column in told["columns"])
    assert tables["silver.candles"]["meaning"].startswith("Current rows: every candle")
    assert tables["silver.candles_versions"]["key"][-1] == "known_from"


def test_rows_in_quarantine_are_for_admins(api: Api) -> None:
    """To others the table is not there: by no name, in no list."""
    statements = (
        "SELECT payload FROM silver.quarantine",
        "SELECT payload FROM quarantine, silver.candles",
        "SELECT payload FROM _silver_quarantine",
        "SELECT payload FROM _silver_quarantine, (SELECT 1 FROM information_schema.tables)",
    )
    for statement in statements:
        said = ask(api, statement)
        assert (said.status, "does not exist" in said.document["detail"]) == (400, True), said.document
    assert ask(api, statements[0], "admin").document["rows"] == [["x"]]
    named = "SELECT count(*) FROM information_schema.columns WHERE table_name LIKE '%quarantine%'"
    assert ask(api, named).document["rows"] == [[0]]
    for role, has_it in (("viewer", False), ("analyst", False), ("admin", True)):
        headers = {"Authorization": f"Bearer {api.tokens[role]}"}
        address = f"http://127.0.0.1:{api.port}/v1/schema"
        with urllib.request.urlopen(urllib.request.Request(address, None, headers)) as answer:
            assert ("silver.quarantine" in {table["name"] for table in json.load(answer)["tables"]}) == has_it


def test_a_statement_is_stopped_by_its_owner_only(api: Api) -> None:
    """Nobody else can stop it; its owner can, its process is gone then, and the answer says so."""
    with ThreadPoolExecutor() as threads:
        running = threads.submit(ask, api, ENDLESS, id="mine-1")
        wait_until_run(api, 1)
        assert ask(api, "SELECT 1", id="mine-1").status == 400
        others = post(api, "/v1/sql/mine-1/stop", {}, "admin")
        assert (others.status, others.document["detail"]) == (404, "no statement of admin with the id mine-1 runs")
        assert post(api, "/v1/sql/mine-1/stop", {}).document == {"id": "mine-1", "state": "stopped"}
        said = running.result(timeout=300)
    assert (said.status, said.document["code"]) == (409, "stopped")
    recorded = "SELECT action, outcome FROM lake.audit WHERE target = 'mine-1' AND user_name = 'analyst'"
    assert set(api.conn.execute(recorded)) == {("sql", "refused"), ("sql", "stopped"), ("sql stop", "done")}
    assert post(api, "/v1/sql/mine-1/stop", {}).status == 404


def test_memory_that_runs_out_is_a_statement_s_end(api: Api) -> None:
    """Its process can hold 2 GiB and its answer, and the kernel takes it before the platform."""
    with ThreadPoolExecutor() as threads:
        running = threads.submit(ask, api, ENDLESS, id="first-to-go")
        wait_until_run(api, 1)
        (process,) = psutil.Process(api.process_id).children()
        # It sets them as it reads what it was asked
        until(lambda: process.rlimit(psutil.RLIMIT_DATA) == (9 << 28, 9 << 28), 300)
        until(lambda: Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "1000\n", 300)
        post(api, "/v1/sql/first-to-go/stop", {})
        running.result(timeout=300)


def test_a_full_house_is_said_at_once(api: Api) -> None:
    """Nothing waits in line: who has enough running gets 429, and 503 who finds the house full."""
    names = [("analyst", f"a{number}") for number in range(PER_USER)]
    names += [("admin", f"b{number}") for number in range(AT_ONCE - PER_USER)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        running = [threads.submit(ask, api, ENDLESS, role, id=name) for role, name in names]
        wait_until_run(api, AT_ONCE)
        own = ask(api, "SELECT 1")
        stopped = [post(api, f"/v1/sql/{name}/stop", {}, role).status for role, name in names]
        assert set(stopped) == {200}
        assert {future.result(timeout=300).status for future in running} == {409}
    assert (own.status, own.headers["Retry-After"]) == (429, "5")
    assert own.document["detail"] == (
        f"{PER_USER} statements of analyst run already, which is the most: stop one, or wait for one to end"
    )


def test_refused_statements_do_not_fill_the_record(api: Api) -> None:
    """Rows are never taken away: of what is refused a user gets so many an hour, and none where there is no room."""
    counted = "SELECT count(*) FROM lake.audit WHERE user_name = 'admin' AND action = 'sql' AND outcome = 'refused'"
    with ThreadPoolExecutor() as threads:
        running = [threads.submit(ask, api, ENDLESS, "admin", id=f"own-{number}") for number in range(PER_USER)]
        wait_until_run(api, PER_USER)
        assert {ask(api, "SELECT 1", "admin", id="own-0").status for _ in range(MAX_REFUSED + 9)} == {400}
        assert api.conn.execute(counted).fetchone() == (MAX_REFUSED,)
        before = audited(api)
        assert {ask(api, "SELECT 1", "admin").status for _ in range(5)} == {429}
        assert audited(api) == before
        for number in range(PER_USER):
            post(api, f"/v1/sql/own-{number}/stop", {}, "admin")
        assert {future.result(timeout=300).status for future in running} == {409}


@dataclass
class Others:
    """
    Statuses of what others ask all the while: the health, and a short statement where the house may be held up.

    *beside_endless* are those of the health that came while a statement ran that has no end.
    """

    health: list[int] = field(default_factory=list)
    statements: list[int] = field(default_factory=list)
    is_at_risk: bool = False
    beside_endless: list[int] | None = None


@pytest.fixture(scope="module")
def others(api: Api) -> Iterator[Others]:
    asking, is_over = Others(), threading.Event()

    def ask_health() -> None:
        while not is_over.wait(0.2):
            asking.health.append(post(api, "/v1/health", None, "").status)

    def ask_statements() -> None:
        while not is_over.wait(0.2):
            if asking.is_at_risk:
                asking.statements.append(ask(api, "SELECT count(*) FROM dim_date", "admin").status)

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(ask_health), pool.submit(ask_statements)]
        yield asking
        is_over.set()
    assert [each.exception() for each in both] == [None, None]
    assert asking.beside_endless != []


@pytest.mark.parametrize("hostile", STATEMENTS, ids=str)
def test_a_hostile_text_is_refused_and_others_are_answered(api: Api, others: Others, hostile: HostileSql) -> None:
    """It ends with a message that says why; no file is made, nothing is stored, and the others hear nothing of it."""
    before, leaks = api.stored(), sorted(Path("/tmp").glob("sql-leak*"))
    answered = len(others.health), len(others.statements)
    others.is_at_risk = hostile.kind in ("huge", "regex bomb", "nesting", "endless")  # the rest never runs
    said = ask(api, hostile.statement, timeout=hostile.timeout_s)
    assert (said.status, said.document["status"]) == (hostile.status, hostile.status), said.document
    assert re.search(hostile.message, said.document["detail"]), said.document["detail"]
    assert "\n" not in said.document["detail"]
    if hostile.kind == "endless" and hostile.timeout_s < 60:
        others.beside_endless = (others.beside_endless or []) + others.health[answered[0] :]
    assert {*others.health[answered[0] :], *others.statements[answered[1] :]} <= {200}
    assert (api.stored(), sorted(Path("/tmp").glob("sql-leak*"))) == (before, leaks)
    assert b"Traceback" not in api.logged()


def test_there_are_at_least_thirty_of_them() -> None:
    """A text that is taken out of the list is missed."""
    assert len({str(hostile) for hostile in STATEMENTS}) >= 55
