"""Texts that SQL over the lake refuses or stops: what is sent, the status of the answer, and what it says."""

from __future__ import annotations

from dataclasses import dataclass

TAKEN = "a single SELECT, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN statement is taken$"
STOPPED = "^the statement took longer than 2 s and was stopped: narrow it with WHERE$"
MEMORY = "^the statement needs more than 1GiB of memory: narrow it with WHERE or LIMIT$"
FILES_OFF = "file system operations are disabled by configuration$"
DEEP = "^Max expression depth limit of 1000 exceeded.$"
TOO_DEEP = "^the statement is nested too deep to be checked: write it with WITH, or flatter$"


@dataclass(frozen=True)
class HostileSql:
    """*message* is a pattern of what the answer says; a statement may run for *timeout_s* at most."""

    kind: str
    statement: str
    message: str
    status: int = 400
    timeout_s: int = 60

    def __str__(self) -> str:
        shown = self.statement if len(self.statement) < 60 else self.statement[:57] + "..."
        return f"{self.kind}: {shown!a}"


def _function(name: str) -> str:
    return f"^the table function {name} is refused: the lake's tables are there by name"


FILES = [
    HostileSql("file", "SELECT * FROM read_csv('/etc/passwd')", _function("read_csv")),
    HostileSql("file", "SELECT content FROM read_text('/etc/passwd')", _function("read_text")),
    HostileSql("file", "SELECT (SELECT count(*) FROM glob('/root/**'))", _function("glob")),
    HostileSql("file", "FROM parquet_metadata('/var/lib/x.parquet')", _function("parquet_metadata")),
    HostileSql("file", "SELECT * FROM '/etc/passwd.csv'", FILES_OFF),
    HostileSql("file", 'SELECT * FROM "/tmp/x.parquet"', FILES_OFF),
    HostileSql("file", "SUMMARIZE 'x.csv'", FILES_OFF),
    HostileSql("file", "COPY candles TO '/tmp/sql-leak.csv'", f"^COPY is refused: {TAKEN}"),
    HostileSql("file", "COPY candles FROM '/etc/passwd'", f"^COPY is refused: {TAKEN}"),
    HostileSql("file", "EXPORT DATABASE '/tmp/sql-leak'", f"^EXPORT is refused: {TAKEN}"),
    HostileSql(
        "file", "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/sql-leak'", f"^what cannot be checked is refused .*{TAKEN}"
    ),
]
NETWORK = [
    HostileSql("network", "SELECT * FROM 'http://127.0.0.1:9/x.csv'", FILES_OFF),
    HostileSql("network", "SELECT * FROM 's3://bucket/x.parquet'", FILES_OFF),
    HostileSql("network", "SELECT * FROM postgres_scan('host=127.0.0.1', 'a', 'b')", _function("postgres_scan")),
    HostileSql("network", "ATTACH 'postgres://127.0.0.1/x' AS x (TYPE postgres)", f"^ATTACH is refused: {TAKEN}"),
]
SETTINGS = [
    HostileSql("setting", "SET enable_external_access = true", f"^SET is refused: {TAKEN}"),
    HostileSql("setting", "RESET memory_limit", f"^SET is refused: {TAKEN}"),
    HostileSql("setting", "PRAGMA memory_limit = '64GB'", f"^(PRAGMA|SET) is refused: {TAKEN}"),
    HostileSql("setting", "USE system", f"^SET is refused: {TAKEN}"),
    HostileSql("setting", "SELECT current_setting('secret_directory')", "^the function current_setting is refused"),
    HostileSql("setting", "SELECT * FROM duckdb_settings()", _function("duckdb_settings")),
    HostileSql("secret", "SELECT * FROM duckdb_secrets()", _function("duckdb_secrets")),
    HostileSql("secret", "CREATE SECRET (TYPE s3)", f"^CREATE is refused: {TAKEN}"),
    HostileSql("variable", "SELECT getenv('PATH')", "^line 1, column 8: Scalar Function with name getenv does not"),
    HostileSql("extension", "INSTALL httpfs", f"^LOAD is refused: {TAKEN}"),
    HostileSql("extension", "FORCE INSTALL httpfs FROM 'http://127.0.0.1:9'", f"^LOAD is refused: {TAKEN}"),
    HostileSql("extension", "LOAD '/tmp/x.duckdb_extension'", f"^LOAD is refused: {TAKEN}"),
]
CATALOGS = [
    HostileSql("catalog", "ATTACH ':memory:' AS other", f"^ATTACH is refused: {TAKEN}"),
    HostileSql("catalog", "DETACH memory", f"^DETACH is refused: {TAKEN}"),
    HostileSql("catalog", "SELECT * FROM pragma_database_list()", _function("pragma_database_list")),
    HostileSql("catalog", "FROM other.silver.candles", "^line 1, column 6: Table with name .* does not exist"),
    HostileSql("write", "INSERT INTO silver.candles VALUES (1)", f"^INSERT is refused: {TAKEN}"),
    HostileSql("write", "WITH x AS (SELECT 1) DELETE FROM candles", f"^DELETE is refused: {TAKEN}"),
    HostileSql("write", "CREATE MACRO f(x) AS x", f"^CREATE is refused: {TAKEN}"),
    HostileSql("write", "SELECT 1; DROP VIEW silver.candles", f"^the text holds 2 statements: {TAKEN}"),
    HostileSql("write", "/* */ --\nDROP VIEW silver.candles", f"^DROP is refused: {TAKEN}"),
    HostileSql("text as code", "SELECT * FROM query('SELECT 1')", _function("query")),
    HostileSql("text as code", "EXECUTE x", f"^EXECUTE is refused: {TAKEN}"),
    HostileSql("address", "SELECT * FROM arrow_scan(1, 2, 3)", _function("arrow_scan")),
]
# What is cut off to be checked must not be cut out of a comment: another text would run than the one that was checked
NOT_FIRST = "^what comes before EXPLAIN is not checked: begin with EXPLAIN, and write comments behind it$"
EXPLAINS = [
    HostileSql(
        "explain",
        "-- explain \nEXPLAIN ANALYZE WITH a AS (SELECT * FROM duckdb_settings())\nSELECT 1 FROM a",
        NOT_FIRST,
    ),
    HostileSql(
        "explain", "-- explain \nEXPLAIN ANALYZE WITH a AS (FROM query('SELECT 42'))\nSELECT * FROM a", NOT_FIRST
    ),
    HostileSql("explain", "-- explain \nEXPLAIN ANALYZE CREATE TABLE silver.x AS\nSELECT 1 AS a", NOT_FIRST),
    HostileSql("explain", "-- explain \nEXPLAIN ANALYZE WITH a AS (SELECT sleep_ms(9))\nSELECT * FROM a", NOT_FIRST),
    HostileSql(
        "explain", "/* explain */ EXPLAIN WITH a AS (SELECT current_setting('threads'))\nSELECT * FROM a", NOT_FIRST
    ),
    HostileSql(
        "explain", "EXPLAIN -- explain \n ANALYZE CREATE TABLE silver.x AS\nSELECT 1", "^what cannot be checked"
    ),
    HostileSql("explain", "EXPLAIN /* explain */ SELECT * FROM duckdb_settings()", _function("duckdb_settings")),
    HostileSql("explain", "EXPLAIN ANALYZE--explain \nFROM query('SELECT 1')", _function("query")),
    HostileSql("explain", "explain analyze(SELECT sleep_ms(9))", "^the function sleep_ms is refused"),
]
HUGE = [
    HostileSql("huge", "SELECT range(1000000000)", MEMORY, 422),
    HostileSql("huge", "SELECT list(range::VARCHAR || repeat('x', 99)) FROM range(100000000)", MEMORY, 422),
    HostileSql("huge", "SELECT repeat('x', 100000) FROM range(1000)", "^the answer is larger than 64 MiB: ", 422),
    HostileSql("huge", "SELECT repeat(chr(1), 60000000)", "^the answer is larger than 64 MiB: ", 422),  # as JSON has it
    HostileSql(
        "huge",
        "SELECT list_transform(range(5000), lambda x: true) FROM range(50000)",
        "^the answer is larger than 6",
        422,
    ),
    HostileSql("huge", "SELECT '" + "x" * 100_000 + "'", "^the statement has 100,009 characters; 100,000 are taken$"),
    HostileSql("huge", "SELECT '" + "x" * (1 << 20) + "'", "^the body is larger than 1 MiB$", 413),
    HostileSql(
        "regex bomb", "SELECT regexp_matches('a', '((a{999}){999}){999}')", r"^invalid repetition size: \{999\}$"
    ),
    HostileSql("nesting", "SELECT " + "(" * 5000 + "1" + ")" * 5000, DEEP),
    HostileSql("nesting", "SELECT " + "+".join(["1"] * 20_000), DEEP),
    HostileSql("nesting", "SELECT * FROM (" * 600 + "SELECT 1" + ")" * 600, TOO_DEEP),
    HostileSql("nesting", "SELECT " + "CASE WHEN true THEN " * 500 + "1" + " END" * 500, TOO_DEEP),
]
ENDLESS = [
    HostileSql("endless", "WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a FROM t) SELECT count(*) FROM t",
               STOPPED, 422, 2),
    HostileSql("endless", "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3",
               STOPPED, 422, 2),
    HostileSql("endless", "SELECT count(*) FROM candles a, candles b, range(1000000000) c WHERE c.range % 7 > a.close",
               STOPPED, 422, 2),
    HostileSql("endless", "EXPLAIN ANALYZE SELECT sum(range % 3) FROM range(1000000000000)", STOPPED, 422, 2),
    HostileSql("endless", "SELECT sleep_ms(1000000)", "^the function sleep_ms is refused"),
]  # fmt: skip
UNICODE = [
    HostileSql("unicode", "ＳＥＬＥＣＴ 1", '^line 1, column 1: syntax error at or near "ＳＥＬＥＣＴ"$'),
    HostileSql("unicode", "SE\u200bLECT 1", '^line 1, column 1: syntax error at or near "SE"$'),
    HostileSql("unicode", "\u202eSELECT 1", "^line 1, column 1: syntax error at or near"),
    HostileSql("unicode", "\ufeffCOPY (SELECT 1) TO '/tmp/sql-leak'", f"^COPY is refused: {TAKEN}"),
    HostileSql("unicode", "SELECT 'я', getenv('HOME')", "^line 1, column 13: Scalar Function with name getenv does"),
    HostileSql("unicode", "SELECT '\ud800'", "^the statement is not UTF-8 text$"),
    HostileSql("unicode", "SELECT 'a\0b'", r"^the statement holds the character U\+0000$"),
]

STATEMENTS = [*FILES, *NETWORK, *SETTINGS, *CATALOGS, *EXPLAINS, *HUGE, *ENDLESS, *UNICODE]
