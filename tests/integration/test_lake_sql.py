from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable

from lakehouse.cli.sql import sql
from lakehouse.market.candle import CANDLES, DIM_DATE, DIM_INSTRUMENT
from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Table
from lakehouse.serving.lake_sql.duckdb_child import answer
from lakehouse.serving.lake_sql.run import SqlFailed, SqlRefused, run_sql
from lakehouse.serving.lake_sql.tables import LakeEmpty
from lakehouse.serving.lake_sql.views import VIEWS, View
from lakehouse.silver.lake import Lake
from tests.sql_lake import BEGIN, DAY, FIRST, SECOND, candle, date, write


@pytest.fixture(scope="module")
def between() -> list[str]:
    return []


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, between: list[str]) -> Path:
    """A lake where SBER's candle was revised in the table's second version."""
    folder = tmp_path_factory.mktemp("lake")
    write(folder, CANDLES, [candle("SBER", 300.0, FIRST)])
    time.sleep(0.05)
    between.append(dt.datetime.now(dt.UTC).isoformat())
    time.sleep(0.05)
    write(
        folder,
        CANDLES,
        [candle("SBER", 300.0, FIRST, SECOND), candle("SBER", 301.5, SECOND), candle("GAZP", 160.0, FIRST)],
    )
    write(folder, DIM_DATE, [date(DAY)])
    return folder


def ask(lake: Path, statement: str, at: str | None = None) -> list[tuple[Any, ...]]:
    """Ask in this process: one of its own for each would take most of the time."""
    found = answer(statement, Lake(str(lake)), at, 100)
    return [tuple(row.values()) for row in found.rows.to_pylist()]


def test_answer_of_a_process(lake: Path) -> None:
    """Rows come back from the process as they are in the lake, with their types."""
    found = run_sql("SELECT begin_at, trade_date, close FROM candles WHERE secid = 'SBER'", Lake(str(lake)))
    assert found.rows.to_pylist() == [{"begin_at": BEGIN, "trade_date": DAY, "close": 301.5}]
    assert found.rows.schema.types == [pa.timestamp("us", tz="UTC"), pa.date32(), pa.float64()]


def test_bare_name_is_the_current_view(lake: Path) -> None:
    """A versioned table's name shows the current rows, and since when they are known."""
    assert ask(lake, "SELECT secid, close, known_from FROM silver.candles ORDER BY secid") == [
        ("GAZP", 160.0, FIRST),
        ("SBER", 301.5, SECOND),
    ]


def test_versions_are_all_rows(lake: Path) -> None:
    """`..._versions` shows every version, the closed ones with their end."""
    found = ask(lake, "SELECT close, known_till FROM silver.candles_versions WHERE secid = 'SBER' ORDER BY known_from")
    assert found == [(300.0, SECOND), (301.5, None)]


def test_current_view_hides_its_always_empty_column_only(lake: Path) -> None:
    """The current view has all columns but known_till, the versions have that too."""
    columns = [row[0] for row in ask(lake, "DESCRIBE silver.candles")]
    assert columns == [name for name in CANDLES.names if name != "known_till"]
    assert [row[0] for row in ask(lake, "DESCRIBE silver.candles_versions")] == list(CANDLES.names)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT count(*) FROM candles", [(2,)]),
        ("SELECT count(*) FROM dim_date", [(1,)]),
        ("SELECT count(*) FROM gold.dim_date", [(1,)]),
        (
            "WITH day AS (SELECT * FROM dim_date) SELECT c.secid FROM candles c JOIN day USING (trade_date) ORDER BY 1",
            None,
        ),
        ("FROM Silver.CANDLES SELECT min(secid)", [("GAZP",)]),
        ("VALUES (1)", [(1,)]),
        ("SELECT sum(range)::BIGINT FROM range(5)", [(10,)]),
        ("SELECT unnest([1, 2])", [(1,), (2,)]),
        ("SELECT timestamptz '2024-03-05 10:00:00+03' = '2024-03-05 07:00:00'", [(True,)]),
    ],
)
def test_statements_that_are_taken(lake: Path, statement: str, expected: list[tuple[Any, ...]] | None) -> None:
    """Schema names may be left out, names know no capitals, and times are UTC."""
    assert ask(lake, statement) == (expected or [("GAZP",), ("SBER",)])


def test_show_tables_lists_what_is_there(lake: Path) -> None:
    """SHOW TABLES and the information schema list the tables that exist, without the scaffolding."""
    listed = [("candles",), ("candles_versions",), ("dim_date",)]
    assert [name for name in ask(lake, "SHOW TABLES") if not name[0].startswith("_")] == listed
    assert (
        ask(lake, "SELECT table_name FROM information_schema.tables WHERE table_schema <> 'main' ORDER BY 1") == listed
    )


def test_explain_takes_a_query(lake: Path) -> None:
    """EXPLAIN shows a plan, with and without running it; comments may stand behind it."""
    for explain in ("EXPLAIN", "explain analyze", "\n EXPLAIN /* why */ -- explain\n"):
        assert ask(lake, " ".join((explain, "FROM candles")))


def test_version_of_the_table(lake: Path) -> None:
    """--at with a number reads the table as that version was."""
    assert ask(lake, "SELECT secid, close FROM candles", at="0") == [("SBER", 300.0)]


def test_time_of_the_table(lake: Path, between: list[str]) -> None:
    """--at with a time reads the version that was the newest then."""
    assert ask(lake, "SELECT secid, close FROM candles", at=between[0]) == [("SBER", 300.0)]
    assert len(ask(lake, "SELECT secid FROM candles", at="2999-01-01")) == 2


def test_a_date_is_the_end_of_that_day_in_moscow_and_a_time_is_utc(tmp_path: Path) -> None:
    """Merges at 09:00 on 3, 4 and 5 March and at midnight behind the 5th: a date reads the last one of its day."""
    committed = [f"2026-03-0{day}T09:00+03:00" for day in (3, 4, 5)] + ["2026-03-06T00:00+03:00"]
    for version, at in enumerate(committed):
        write(tmp_path, CANDLES, [candle("SBER", float(version), FIRST)])
        log = tmp_path / "silver" / "candles" / "_delta_log" / f"{version:020}.json"
        made_ms = round(dt.datetime.fromisoformat(at).timestamp() * 1000)
        log.write_text(re.sub(r'("commitInfo":\{.*?"timestamp":)\d+', rf"\g<1>{made_ms}", log.read_text()))
    wanted = {
        "2026-03-03": 0.0, "2026-03-04": 1.0, "2026-03-05": 2.0, "2026-03-06": 3.0, "2026-03-05T05:59:59": 1.0,
        "2026-03-05T06:00": 2.0, "2026-03-05T00:00": 1.0, "2026-03-05T09:00+03:00": 2.0, "2026-03-05T09:00Z": 2.0,
    }  # fmt: skip
    assert {at: ask(tmp_path, "SELECT close FROM candles", at)[0][0] for at in wanted} == wanted
    with pytest.raises(
        SqlRefused, match=r"^silver\.candles did not exist at 2026-03-02 20:59:59\+0000: it was made at "
    ):
        ask(tmp_path, "SELECT close FROM candles", "2026-03-02")


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.name))
def test_every_table_has_its_views_and_former_states(tmp_path: Path, view: View) -> None:
    """Each name shows its declared columns, now and as of a version and a time before."""
    write(tmp_path, view.table, [])
    between = dt.datetime.now(dt.UTC)
    write(tmp_path, view.table, [row_of(view.table)])
    assert [row[0] for row in ask(tmp_path, f"DESCRIBE {view.name}")] == [column.name for column in view.columns]
    for at, count in ((None, 1), ("1", 1), ("0", 0), (between.isoformat(), 0)):
        assert ask(tmp_path, f"SELECT count(*) FROM {view.bare}", at) == [(count,)]  # noqa: S608 - declared


def row_of(table: Table) -> dict[str, Any]:
    """Return a current row of any table."""
    values = {"string": "x", "double": 1.0, "long": 1, "int": 1, "boolean": True, "timestamp": FIRST, "date": DAY}
    return {column.name: None if column.nullable else values[column.type] for column in table.columns}


def test_a_version_whose_files_are_gone(tmp_path: Path) -> None:
    """After a vacuum the log still knows a version: the answer says what happened, not which file."""
    write(tmp_path, CANDLES, [candle("SBER", 300.0, FIRST)])
    write(tmp_path, CANDLES, [candle("SBER", 301.5, SECOND)])
    delta = DeltaTable(tmp_path / "silver" / "candles")
    delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    with pytest.raises(LakehouseError, match=r"^files of the tables as of 0 are gone, by a vacuum: the views"):
        ask(tmp_path, "SELECT close FROM candles", at="0")
    assert ask(tmp_path, "SELECT close FROM candles") == [(301.5,)]


@pytest.mark.parametrize(
    ("statement", "at", "message"),
    [
        ("FROM candles", "7", r"silver\.candles has no version 7: its newest is 1$"),
        ("FROM candles", "9" * 20, r"silver\.candles has no version 9{20}: its newest is 1$"),
        ("FROM candles", "-1", r"'-1' is neither a version such as 12 nor a time such as 2026-03-05T18:00"),
        ("FROM candles", "1999-01-01", r"silver\.candles did not exist at 1999-01-01 20:59:59\+0000: it was made at "),
        ("FROM candles", "9999-12-31", r"'9999-12-31' is neither a version such as 12 nor a time such as 2026"),
        ("FROM candles", "lately", r"'lately' is neither a version such as 12 nor a time such as 2026-03-05T18:00 "
         r"\(UTC\), nor a date such as 2026-03-05 \(the end of that day in Moscow\)$"),
        ("FROM candles, dim_date", "1", r"^1 is the version of one table, and the statement reads "
         r"silver\.candles and gold\.dim_date: give a time instead"),
    ],
)  # fmt: skip
def test_a_time_that_cannot_be_read(lake: Path, statement: str, at: str, message: str) -> None:
    """A version or time that the tables do not have is refused, and never answered from another one."""
    with pytest.raises(SqlRefused, match=message):
        answer(statement, Lake(str(lake)), at, 100)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("COPY candles TO '{folder}/leak'", "^COPY is refused: a single SELECT"),
        ("COPY (SELECT 1) TO '{folder}/leak'", "^COPY is refused"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/leak'", "^what cannot be checked is refused .*a single SELECT"),
        ("CREATE TABLE t AS SELECT 1", "^CREATE is refused"),
        ("INSERT INTO candles VALUES (1)", "^INSERT is refused"),
        ("WITH x AS (SELECT 1) DELETE FROM candles", "^DELETE is refused"),
        ("DROP VIEW silver.candles", "^DROP is refused"),
        ("ATTACH '{folder}/leak.db'", "^ATTACH is refused"),
        ("INSTALL httpfs", "^LOAD is refused"),
        ("LOAD httpfs", "^LOAD is refused"),
        ("SET threads = 8", "^SET is refused"),
        ("SET enable_external_access = true", "^SET is refused"),
        ("RESET lock_configuration", "^SET is refused"),
        ("PRAGMA database_list", "^PRAGMA is refused"),
        ("UPDATE candles SET close = 1", "^UPDATE is refused"),
        ("MERGE INTO candles USING dim_date ON true WHEN MATCHED THEN DELETE", "^MERGE_INTO is refused"),
        ("TRUNCATE candles", "^DELETE is refused"),
        ("BEGIN", "^TRANSACTION is refused"),
        ("PREPARE x AS SELECT 1", "^PREPARE is refused"),
        ("SELECT * FROM sniff_csv('/etc/passwd')", "^the table function sniff_csv is refused"),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "^Max expression depth limit of 1000 exceeded"),
        ("CALL pragma_version()", "^CALL is refused"),
        ("EXPORT DATABASE '{folder}/leak'", "^EXPORT is refused"),
        ("SELECT 1; SELECT 2", "^the text holds 2 statements"),
        ("SELECT 1; COPY candles TO '{folder}/leak'", "^the text holds 2 statements"),
        ("", "^the text holds 0 statements"),
        ("-- nothing", "^the text holds 0 statements"),
        ("SELECT * FROM read_csv('/etc/passwd')", "^the table function read_csv is refused: the lake's tables"),
        ("SELECT (SELECT content FROM read_text('/etc/passwd'))", "^the table function read_text is refused"),
        ("SELECT * FROM glob('/*')", "^the table function glob is refused"),
        ("DESCRIBE SELECT * FROM read_blob('/etc/passwd')", "^the table function read_blob is refused"),
        ("EXPLAIN SELECT * FROM parquet_scan('/x')", "^the table function parquet_scan is refused"),
        ("SELECT * FROM arrow_scan(1, 2, 3)", "^the table function arrow_scan is refused"),
        ("WITH x AS (FROM system.main.arrow_scan(1, 2, 3)) SELECT 1", "^the table function arrow_scan is refused"),
        ("SELECT * FROM query('SELECT 1')", "^the table function query is refused"),
        ("SELECT * FROM json_execute_serialized_sql('{{}}')", "^the table function json_execute_serialized_sql is"),
        ("SELECT * FROM duckdb_settings()", "^the table function duckdb_settings is refused"),
        ("SELECT * FROM '/etc/passwd'", "^line 1, column 15: Table with name /etc/passwd does not exist"),
        ("SELECT * FROM 'https://example.com/x.csv'", "^Cannot access file .*disabled by configuration"),
        ("SELECT * FROM text", "^line 1, column 15: Table with name text does not exist"),
        ("SELECT getenv('HOME')", "^line 1, column 8: Scalar Function with name getenv does not exist"),
        ("SELEC 1", '^line 1, column 1: syntax error at or near "SELEC"'),
        ("SELECT 'я',\n  clos FROM candles", '^line 2, column 3: Referenced column "clos" not found'),
        ("SELECT 'x'::INTEGER", "Could not convert string 'x' to INT32"),
        ("SELECT '" + "x" * 100_000 + "'", "^the statement has 100,009 characters; 100,000 are taken"),
    ],
)  # fmt: skip
def test_texts_that_are_refused(lake: Path, tmp_path: Path, statement: str, message: str) -> None:
    """No text reaches a file, the network, a setting, a variable or a second statement; the message is one line."""
    with pytest.raises(SqlRefused, match=message) as refused:
        answer(statement.format(folder=tmp_path), Lake(str(lake)), None, 100)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_was_never_made(lake: Path, tmp_path: Path) -> None:
    """A table that the lake lacks is named, with what to do; a CTE may have its name."""
    with pytest.raises(
        LakeEmpty, match=rf"^there is no data in {re.escape(str(tmp_path))} yet \(silver\.candles is not "
    ):
        answer("SELECT * FROM candles", Lake(str(tmp_path)), None, 100)
    with pytest.raises(
        LakeEmpty, match=r"gold\.dim_instrument is not there\): run lakehouse demo or lakehouse ingest$"
    ):
        answer("SELECT * FROM candles JOIN dim_instrument USING (secid)", Lake(str(lake)), None, 100)
    with pytest.raises(LakeEmpty, match="there is no data in"):
        answer("SHOW TABLES", Lake(str(tmp_path)), None, 100)
    assert ask(lake, "WITH splits AS (SELECT 1) SELECT * FROM splits") == [(1,)]


def test_only_named_tables_are_opened(lake: Path) -> None:
    """A table that a statement does not name may be broken."""
    log = lake / DIM_INSTRUMENT.name.replace(".", "/") / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("broken")
    assert ask(lake, "SELECT count(*) FROM candles") == [(2,)]
    (log / f"{0:020}.json").unlink()
    log.rmdir()
    log.parent.rmdir()


def test_endless_statement_is_stopped(lake: Path) -> None:
    """A statement that would never end is killed at its time, and said so."""
    with pytest.raises(SqlFailed, match=r"^the statement took longer than 2 s and was stopped: narrow it with WHERE$"):
        run_sql(
            "SELECT sum(a.range + b.range) FROM range(1000000000) a, range(100000) b",
            Lake(str(lake)),
            timeout_s=2,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a FROM t) SELECT count(*) FROM t"],
         "^the statement took longer than 2 s and was stopped: narrow it with WHERE$"),
        (["SELECT '\udcff'"], "^the statement is not UTF-8 text$"),
        (["DELETE FROM candles"], "^DELETE is refused: a single SELECT"),
        (["FROM candles", "--at", "9" * 20], r"^silver\.candles has no version 9{20}: its newest is 1$"),
    ],
)  # fmt: skip
def test_hostile_statement_through_the_command(lake: Path, arguments: list[str], message: str) -> None:
    """What never ends, writes or is no text ends the command with one line; the lake is as it was."""
    before = sorted(path for path in lake.rglob("*") if path.is_file())
    done = command(lake, *arguments, "--timeout", "2" if "RECURSIVE" in arguments[0] else "60")
    assert isinstance(done.exception, LakehouseError)
    assert re.search(message, str(done.exception))
    assert sorted(path for path in lake.rglob("*") if path.is_file()) == before


def test_limit_beyond_reason_is_refused(lake: Path) -> None:
    """A limit that no program could hold is wrong usage."""
    done = command(lake, "SELECT 1", "--limit", "9" * 25)
    assert (done.exit_code, "is not in the range 1<=x<=10000000" in done.output) == (2, True)


def test_large_statement_is_stopped(lake: Path) -> None:
    """Memory is limited: of what a statement gathers, and of its answer."""
    with pytest.raises(
        SqlFailed, match=r"^the statement needs more than 1GiB of memory: narrow it with WHERE or LIMIT$"
    ):
        run_sql("SELECT list(range::VARCHAR || repeat('x', 100)) FROM range(100000000)", Lake(str(lake)))
    with pytest.raises(SqlFailed, match=r"^the answer is larger than 256 MiB: narrow it with WHERE or LIMIT$"):
        run_sql("SELECT repeat('x', 1000000) FROM range(1000)", Lake(str(lake)))


def test_row_limit(lake: Path) -> None:
    """No more rows than the limit come, and the answer says whether there were more."""
    for there_are, is_truncated in ((100_000, True), (5000, False)):
        found = run_sql(f"SELECT * FROM range({there_are})", Lake(str(lake)), row_limit=5000)  # noqa: S608 - a number
        said = "there are more than 5,000 rows: only these are shown" if is_truncated else ""
        assert (len(found.rows), found.reached) == (5000, said)


def command(lake: Path, *arguments: str) -> Any:
    return CliRunner().invoke(sql, [*arguments, "--data", str(lake)])


def test_command_prints_a_table(lake: Path) -> None:
    """The command aligns numbers right, leaves NULL empty, and shows no character that steers a terminal."""
    done = command(lake, "SELECT secid, close, open, known_from, chr(27) AS c FROM candles ORDER BY secid")
    assert done.output.splitlines() == [
        "secid  close  open  known_from            c",
        "-----  -----  ----  --------------------  ----",
        "GAZP   160.0        2024-03-06 00:00:00Z  \\x1b",
        "SBER   301.5        2024-03-07 00:00:00Z  \\x1b",
    ]


def test_command_prints_for_programs(lake: Path) -> None:
    """JSON and CSV hold the same values; instants are ISO with Z, NULL is null or empty, equal names get numbers."""
    statement = (
        "SELECT secid, open, known_from, trade_date, close, 'nan'::DOUBLE AS close FROM candles WHERE secid = 'GAZP'"
    )
    row = ["GAZP", None, "2024-03-06T00:00:00Z", "2024-03-05", 160.0, "nan"]
    names = ["secid", "open", "known_from", "trade_date", "close", "close_2"]
    assert json.loads(command(lake, statement, "--json").stdout) == [dict(zip(names, row, strict=True))]
    table = list(csv.reader(io.StringIO(command(lake, statement, "--csv").stdout)))
    assert table == [names, ["GAZP", "", "2024-03-06T00:00:00Z", "2024-03-05", "160.0", "nan"]]
    assert json.loads(command(lake, "SELECT 1 WHERE false", "--json").stdout) == []


def test_command_notes_the_limit_beside_the_rows(lake: Path) -> None:
    """What the limit cut off is said on standard error, so that the output stays a table."""
    done = command(lake, "SELECT * FROM range(9)", "--limit", "2", "--csv")
    assert done.stdout == "range\n0\n1\n"
    assert done.stderr == "there are more than 2 rows: only these are shown (--limit)\n"


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_what_programs_read_is_never_cut_unasked(lake: Path, form: str) -> None:
    """Without a limit more rows than the usual one are refused, and nothing is printed; a table says so beside it."""
    done = command(lake, "SELECT * FROM range(10001)", form)
    assert isinstance(done.exception, LakehouseError)
    assert re.match(
        r"there are more than 10,000 rows, .*: narrow the statement, or give --limit \(", str(done.exception)
    )
    assert done.stdout == ""
    assert len(command(lake, "SELECT * FROM range(10000)", form).stdout.splitlines()) >= 10_000
    done = command(lake, "SELECT * FROM range(10001)")
    assert done.stderr == "there are more than 10,000 rows: only these are shown (--limit)\n"


def test_command_passes_the_time(lake: Path) -> None:
    """--at reaches the tables."""
    assert json.loads(command(lake, "SELECT close FROM candles", "--at", "0", "--json").stdout) == [{"close": 300.0}]


def test_command_fails_with_one_error(lake: Path) -> None:
    """What is wrong rises as an error that the command line prints in one line."""
    with pytest.raises(LakehouseError, match=r"^SET is refused"):
        CliRunner().invoke(sql, ["SET threads = 1", "--data", str(lake)], catch_exceptions=False)
