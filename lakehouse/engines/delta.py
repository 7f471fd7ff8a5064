"""How a change gets into a Delta table: one writer at a time, one MERGE, and a look that the commit is ours."""

# ruff: noqa: S608 - the text is made of names declared in lakehouse.market and of literals derived from data
from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

import structlog
from delta import exceptions as conflicts
from pyspark.errors import AnalysisException

from lakehouse.database.locks import table_lock
from lakehouse.engines.address import TableAddress, is_s3
from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Column, Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = structlog.get_logger()

ATTEMPTS = 3
# What a commit in between is called, by what it did; in Python they have nothing but PySpark's own class in common
CONFLICTS = (
    conflicts.DeltaConcurrentModificationException,
    conflicts.ConcurrentAppendException,
    conflicts.ConcurrentDeleteDeleteException,
    conflicts.ConcurrentDeleteReadException,
    conflicts.ConcurrentTransactionException,
    conflicts.ConcurrentWriteException,
    conflicts.MetadataChangedException,
    conflicts.ProtocolChangedException,
)
_MAKING_S = 10.0  # it takes 30 ms
_LOOK_S = 0.05
_LOG_FOLDERS = ("_delta_log/_staged_commits", "_delta_log")
_COMMIT = re.compile(r"_delta_log/\d{20}\.(json|checkpoint.*parquet)")
_RUN_ID = "spark.databricks.delta.commitInfo.userMetadata"


class CommitLost(LakehouseError):
    """Another writer committed to a table while its lock was ours."""


@dataclass(frozen=True)
class Difference:
    """
    What a table must change.

    Attributes:
        view: Temporary view with the table's columns and `op`: insert, update or drop. At most one row per merge key.
        partitions: The values of `Table.partition_by` that occur in the view, all of them: others are not searched.
    """

    view: str
    inserts: int
    updates: int
    drops: int
    partitions: Sequence[tuple[str, ...]]

    @property
    def is_empty(self) -> bool:
        """Whether the table is as it should be."""
        return self.inserts + self.updates + self.drops == 0


def ensure_table(spark: SparkSession, address: TableAddress, table: Table) -> None:
    """
    Create *table* at *address*; one that is there gets the columns that it lacks (`add_columns`).

    With change data feed; without deletion vectors and other features that deltalake cannot read or write.
    """
    if address.exists():
        add_columns(spark, address, table)
        return
    if is_s3(address.url):
        clear_empty_log(spark, address)
    else:
        clear_half_made(address.url)
    partitioned = f"PARTITIONED BY ({', '.join(table.partition_by)})" if table.partition_by else ""
    try:
        spark.sql(
            f"CREATE TABLE IF NOT EXISTS {address.spark_name} ({table.ddl()}) USING delta {partitioned} TBLPROPERTIES "
            "('delta.enableChangeDataFeed' = 'true', 'delta.enableDeletionVectors' = 'false')"
        )
    except (*CONFLICTS, AnalysisException):
        # Another worker makes it at the same moment, as it makes its first merge: its log may have no commit yet
        until = time.monotonic() + _MAKING_S
        while not address.exists():
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK_S)


def add_columns(spark: SparkSession, address: TableAddress, table: Table) -> None:
    """Add, in one commit, the columns that *table* declares and one made by a former version lacks."""
    missing = _missing_columns(address, table)
    if not missing:
        return
    added = ", ".join(f"{column.name} {column.ddl_type}" for column in missing)
    try:
        spark.sql(f"ALTER TABLE {address.spark_name} ADD COLUMNS ({added})")
    except (*CONFLICTS, AnalysisException):
        # Another worker that starts at the same moment adds them
        if _missing_columns(address, table):
            raise
    else:
        log.info("engines.columns_added", table=table.name, columns=[column.name for column in missing])


def _missing_columns(address: TableAddress, table: Table) -> list[Column]:
    there = {field.name for field in address.open().schema().fields}
    return [column for column in table.columns if column.name not in there]


def clear_half_made(url: str) -> None:
    """
    Remove a table's folder whose creation was cut short, by a kill or a full disk: it has a log without a commit.

    Spark takes any folder that is not empty for a table, and would never create it. Other folders are left alone, and
    one that changed a moment ago: another worker may be making it.
    """
    if "://" in url or not Path(url).is_dir():
        return
    try:
        paths = {path: path.stat() for path in (Path(url), *Path(url).rglob("*"))}
    except FileNotFoundError:
        return  # somebody is at work there
    files = {path.relative_to(url).as_posix() for path, found in paths.items() if S_ISREG(found.st_mode)}
    changed_at = max(found.st_mtime for found in paths.values())
    is_unborn = all(name.startswith("_delta_log/") and not _COMMIT.fullmatch(name) for name in files)
    if is_unborn and time.time() - changed_at > _MAKING_S:
        log.warning("engines.half_made_table_removed", url=url, files=sorted(files))
        shutil.rmtree(url)


def clear_empty_log(spark: SparkSession, address: TableAddress) -> None:
    """
    Remove the marks of empty folders that a creation on S3 left which was cut short.

    Spark takes them for a table, and would never create it. Only what is empty goes: nobody at work there is disturbed.
    """
    if address.exists():
        return
    hadoop: Any = spark.sparkContext._jvm
    paths = [hadoop.org.apache.hadoop.fs.Path(f"{address.spark_path}/{name}") for name in _LOG_FOLDERS]
    store = paths[0].getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
    if store.exists(paths[-1]) and not store.listFiles(paths[-1], True).hasNext():
        log.warning("engines.half_made_table_removed", url=address.url, files=[])
        for path in paths:
            store.delete(path, False)


def make_equal(
    spark: SparkSession,
    dsn: str,
    address: TableAddress,
    table: Table,
    run_id: str,
    derive: Callable[[int], Difference],
    record: Callable[[int], None],
) -> int | None:
    """
    Commit the difference between *table* and what it should be, alone on the table.

    Args:
        run_id: Goes into the commit (`userMetadata`).
        derive: Gives the difference to the table as it is at a version; called again when another writer came between.
        record: Called with the version at which the table is as it should be, before the lock is given back.

    Returns:
        The version committed, None if nothing differed.

    Raises:
        CommitLost: if another writer, who does not take the lock, was faster three times.
        LockLost: if the lock was taken over (database/locks.py).
    """
    with table_lock(dsn, table.name, run_id) as generation:
        for _ in range(ATTEMPTS):
            version = table_version(address)
            difference = derive(version)
            if difference.is_empty:
                record(version)
                return None
            generation.check()
            if _merged_next(spark, address, table, difference, run_id, version):
                record(version + 1)
                return version + 1
            log.warning("engines.commit_lost", table=table.name, version=version + 1, run_id=run_id)
    raise CommitLost(
        f"{table.name} at {address.url}: another writer committed in each of {ATTEMPTS} attempts of run {run_id}, "
        "though its lock is held by this run; stop whatever writes there without the lock, then: lakehouse jobs redrive"
    )


def _merged_next(
    spark: SparkSession, address: TableAddress, table: Table, difference: Difference, run_id: str, version: int
) -> bool:
    """Whether the MERGE became the commit after *version*: its difference was taken there."""
    try:
        merge(spark, address, table, difference, run_id)
    except CONFLICTS:
        return False
    return committed_by(address, version + 1) == run_id


def merge(spark: SparkSession, address: TableAddress, table: Table, difference: Difference, run_id: str) -> None:
    """Carry out *difference* in one MERGE, hence one commit. Nothing may be empty: even an empty MERGE commits."""
    spark.conf.set(_RUN_ID, run_id)
    try:
        spark.sql(merge_sql(address, table, difference))
    finally:
        spark.conf.unset(_RUN_ID)


def merge_sql(address: TableAddress, table: Table, difference: Difference) -> str:
    """Return the MERGE; one that only inserts reads the table once and rewrites no file."""
    names = table.names
    on = [f"t.{name} = s.{name}" for name in dict.fromkeys((*merge_key(table), *table.partition_by))]
    if table.partition_by:
        on.append(partition_predicate(table, difference.partitions, "t"))
    changed = [name for name in names if name not in (*merge_key(table), *table.partition_by)]
    clauses = [
        "WHEN MATCHED AND s.op = 'drop' THEN DELETE",
        f"WHEN MATCHED THEN UPDATE SET {', '.join(f'{name} = s.{name}' for name in changed)}" if changed else "",
        f"WHEN NOT MATCHED AND s.op <> 'drop' THEN INSERT ({', '.join(names)}) VALUES (s.{', s.'.join(names)})",
    ]
    used = clauses if difference.updates + difference.drops else clauses[2:]
    return f"MERGE INTO {address.spark_name} t USING {difference.view} s ON {' AND '.join(on)} {' '.join(used)}"


def merge_key(table: Table) -> tuple[str, ...]:
    """Return the columns that rows of *table* are unique by, versions included."""
    return (*table.key, "known_from") if "known_from" in table.names else table.key


def partition_predicate(table: Table, partitions: Sequence[tuple[str, ...]], alias: str) -> str:
    """
    Return a predicate that is true for exactly *partitions*, made of literals: only those let Delta skip files.

    Partitions are grouped by all but the last column, so hundreds of months of one timeframe make one IN.
    """
    *outer, last = table.partition_by
    grouped: dict[tuple[str, ...], list[str]] = {}
    for partition in sorted(set(partitions)):
        grouped.setdefault(partition[:-1], []).append(partition[-1])
    alternatives = [
        " AND ".join(
            [f"{alias}.{name} = {literal(value)}" for name, value in zip(outer, values, strict=True)]
            + [f"{alias}.{last} IN ({', '.join(map(literal, lasts))})"]
        )
        for values, lasts in grouped.items()
    ]
    return "(" + " OR ".join(f"({alternative})" for alternative in alternatives or ["FALSE"]) + ")"


def table_version(address: TableAddress) -> int:
    """Return the newest version of the table at *address*."""
    return address.open().version()


def committed_by(address: TableAddress, version: int) -> str | None:
    """Return the run that committed *version* of the table at *address*, None if it carries none."""
    commits = address.open().history(10)
    return next((commit.get("userMetadata") for commit in commits if commit["version"] == version), None)


def literal(text: str) -> str:
    """Return *text* as a SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
