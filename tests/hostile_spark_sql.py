"""Texts that SQL on Spark refuses: what is sent, and what is said."""

from __future__ import annotations

TAKEN = "a single SELECT, WITH, VALUES, TABLE, FROM, DESCRIBE, SHOW TABLES, SHOW COLUMNS or EXPLAIN statement is taken$"
NO_TABLE = "is no table of the lake: SHOW TABLES IN silver lists them, and no file is read$"
BEYOND = "is refused: it reaches beyond the lake's tables$"
ENV = "'java.lang.System', 'getenv', 'HOME'"

FILES = [
    ("SELECT * FROM parquet.`/etc/passwd`", f"^parquet./etc/passwd {NO_TABLE}"),
    ("SELECT * FROM `text`.`/etc/passwd`", f"^text./etc/passwd {NO_TABLE}"),
    ("SELECT * FROM spark_catalog.delta.`/tmp`", f"^spark_catalog.delta./tmp {NO_TABLE}"),
    ("SELECT * FROM IDENTIFIER('text.`/etc/passwd`')", f"^text./etc/passwd {NO_TABLE}"),
    ("SELECT (SELECT count(*) FROM csv.`/etc/passwd`)", f"^csv./etc/passwd {NO_TABLE}"),
    ("SELECT 1 FROM candles WHERE EXISTS (SELECT 1 FROM json.`s3a://b/x`)", f"^json.s3a://b/x {NO_TABLE}"),
    ("WITH x AS (SELECT * FROM orc.`http://127.0.0.1:9/x`) SELECT 1", f"^orc.http://127.0.0.1:9/x {NO_TABLE}"),
    ("EXPLAIN SELECT * FROM text.`/etc/passwd`", f"^text./etc/passwd {NO_TABLE}"),
    ("DESCRIBE text.`/etc/passwd`", f"^text./etc/passwd {NO_TABLE}"),
    ("DESCRIBE SELECT * FROM text.`/etc/passwd`", f"^text./etc/passwd {NO_TABLE}"),
    ("SHOW COLUMNS IN text.`/etc/passwd`", f"^text./etc/passwd {NO_TABLE}"),
    ("SELECT * FROM candles WITH (`path` = '/etc')", "^options of a table .* are refused: the lake's tables are read"),
    ("SELECT input_file_name() FROM candles", f"^the function input_file_name {BEYOND}"),
    (
        "SELECT from_xml('<a/>', 'a INT', map('rowValidationXSDPath', '/x'))",
        f"^the function from_xml {BEYOND}",
    ),
    ("SELECT xpath('<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>', 'a')", f"^the function xpath {BEYOND}"),
    ("SELECT from_protobuf(X'00', 'M', '/etc/passwd')", f"^the function from_protobuf {BEYOND}"),
    (
        "SELECT * FROM table_changes_by_path('/tmp', 0)",
        "^the table function table_changes_by_path is refused",
    ),
    ("SELECT * FROM python_worker_logs()", "^the table function python_worker_logs is refused"),
    ("INSERT OVERWRITE DIRECTORY '/tmp/sql-leak' USING csv SELECT 1", f"^InsertIntoDir is refused: {TAKEN}"),
    ("FROM candles INSERT OVERWRITE DIRECTORY '/tmp/sql-leak' USING csv SELECT 1", "^InsertIntoDir is refused: "),
    ("CREATE TABLE x USING csv LOCATION '/tmp/sql-leak' AS SELECT 1", f"^CreateTableAsSelect is refused: {TAKEN}"),
    ("DESCRIBE DETAIL delta.`/tmp`", f"^DescribeDeltaDetailCommand is refused: {TAKEN}"),
    ("CONVERT TO DELTA parquet.`/tmp`", f"^ConvertToDeltaCommand is refused: {TAKEN}"),
]
CODE = [
    (f"SELECT reflect({ENV})", f"^the function reflect {BEYOND}"),
    (f"SELECT `system`.builtin.java_method({ENV})", f"^the function java_method {BEYOND}"),
    ("SELECT try_reflect('java.lang.System', 'exit', 1)", f"^the function try_reflect {BEYOND}"),
    (f"SELECT filter(array(1), x -> reflect({ENV}) IS NULL)", f"^the function reflect {BEYOND}"),
    (
        "SELECT sum(1) FILTER (WHERE java_method('java.lang.System', 'getenv', 'HOME') = '') FROM candles",
        f"^the function java_method {BEYOND}",
    ),
    ("SELECT 1 FROM candles ORDER BY reflect('java.lang.System', 'getenv', 'HOME')", f"^the function reflect {BEYOND}"),
    (f"SELECT IDENTIFIER('reflect')({ENV})", r"^IDENTIFIER\(...\) is refused: write the name itself$"),
    (
        "SELECT TRANSFORM(secid) USING 'cat /x' AS (a) FROM candles",
        f"^ScriptTransformation is refused: {TAKEN}",
    ),
    ("SELECT * FROM (FROM candles MAP secid USING 'sh' AS a)", f"^ScriptTransformation is refused: {TAKEN}"),
    ("CREATE FUNCTION f AS 'x.Y' USING JAR '/tmp/x.jar'", f"^CreateFunction is refused: {TAKEN}"),
    ("ADD JAR '/tmp/x.jar'", f"^AddJarsCommand is refused: {TAKEN}"),
    ("ADD FILE '/etc/passwd'", f"^AddFilesCommand is refused: {TAKEN}"),
    ("EXECUTE IMMEDIATE 'SELECT 1'", f"^UnresolvedExecuteImmediate is refused: {TAKEN}"),
    ("BEGIN SELECT 1; END", f"^CompoundBody is refused: {TAKEN}"),
]
SETTINGS = [
    ("SET spark.sql.runSQLOnFiles = true", f"^SetCommand is refused: {TAKEN}"),
    ("SET", f"^SetCommand is refused: {TAKEN}"),
    ("RESET", f"^ResetCommand is refused: {TAKEN}"),
    ("DECLARE x = 1", f"^CreateVariable is refused: {TAKEN}"),
    ("USE silver", f"^SetCatalogAndNamespace is refused: {TAKEN}"),
    ("SELECT * FROM hive.default.x", f"^hive.default.x {NO_TABLE}"),
    ("SELECT :x", r"^line 1, column 8: \[UNBOUND_SQL_PARAMETER\]"),
]
WRITES = [
    ("INSERT INTO silver.candles VALUES (1)", f"^InsertIntoStatement is refused: {TAKEN}"),
    ("WITH x AS (SELECT 1) INSERT INTO silver.candles SELECT * FROM x", f"^InsertIntoStatement is refused: {TAKEN}"),
    ("DELETE FROM silver.candles", f"^DeleteFromTable is refused: {TAKEN}"),
    (
        "MERGE INTO silver.candles USING candles ON true WHEN MATCHED THEN DELETE",
        f"^MergeIntoTable is refused: {TAKEN}",
    ),
    ("/* SELECT */ DROP VIEW silver.candles", f"^DropView is refused: {TAKEN}"),
    ("VACUUM silver.candles", f"^VacuumTableCommand is refused: {TAKEN}"),
    ("RESTORE TABLE silver.candles TO VERSION AS OF 0", f"^RestoreTableStatement is refused: {TAKEN}"),
    ("CACHE TABLE candles", f"^CacheTable is refused: {TAKEN}"),
]
TEXTS = [
    (
        "SELECT 1; DROP VIEW silver.candles",
        r"^line 1, column 11: \[PARSE_SYNTAX_ERROR\] Syntax error at or",
    ),
    ("SELECT * FROM STREAM candles", f"^NamedStreamingRelation is refused: {TAKEN}"),
    ("SELECT * FROM candles VERSION AS OF 0", f"^RelationTimeTravel is refused: {TAKEN}"),
    ("ＳＥＬＥＣＴ 1", r"^line 1, column 1: \[PARSE_SYNTAX_ERROR\] Syntax error at or near 'ＳＥＬＥＣＴ'"),
    (
        "SELECT 'я',\n  clos FROM candles",
        r"^line 2, column 3: \[UNRESOLVED_COLUMN.WITH_SUGGESTION\] .*`clos`",
    ),
    ("SELECT '" + "x" * 100_000 + "'", "^the statement has 100,009 characters; 100,000 are taken$"),
    ("SELECT " + ",".join(["1"] * 9_000), "^the statement has more than 20,000 parts: more than are checked$"),
    ("SELECT " + "(" * 3_000 + "1" + ")" * 3_000, "^the statement is nested too deep to be checked"),
    ("SELECT 1/0", r"^(line 1, column 8: )?\[DIVIDE_BY_ZERO\] Division by zero\. Use `try_divide` [^\"]*$"),
]

STATEMENTS = [*FILES, *CODE, *SETTINGS, *WRITES, *TEXTS]
