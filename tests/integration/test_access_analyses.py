"""Saved analyses, and the record of runs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from lakehouse.access import analyses, runs
from lakehouse.access.roles import Role, User
from lakehouse.access.users import create_user
from lakehouse.database.connection import connect
from lakehouse.market.errors import BadInput

pytestmark = [pytest.mark.postgres]

SELECTION = {"instruments": ["SBER"], "timeframe": "1d", "from": None, "till": None, "adjust": "split"}
BEGINNING = runs.Beginning("\n  df.describe()\n1/0", SELECTION, 7, 520, 50_000, "ab" * 32, {"wall_s": 10})
END = runs.End("error", "an error ended it", "ZeroDivisionError", 0.2, 0.1, 90 << 20, 1, 34, "cd" * 32, False)


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection[Any]]:
    with connect(dsn, "lakehouse_app") as connection:
        yield connection


@pytest.fixture
def anna(conn: Connection[Any]) -> User:
    return create_user(conn, "anna", "a password of hers", Role.ANALYST)


@pytest.fixture
def boris(conn: Connection[Any]) -> User:
    return create_user(conn, "boris", "a password of his", Role.ANALYST)


def test_an_analysis_is_kept_opened_renamed_and_deleted(conn: Connection[Any], anna: User) -> None:
    """What was saved comes back with its data; saving again replaces it; the last saved is first in the list."""
    assert analyses.save(conn, anna, "  my   study ", "df", SELECTION) == "my study"
    analyses.save(conn, anna, "other", "dfs", SELECTION)
    analyses.save(conn, anna, "my study", "df.describe()", {**SELECTION, "timeframe": "1m"})
    assert analyses.names(conn, anna) == ["my study", "other"]
    found = analyses.open_analysis(conn, anna, "my study")
    assert (found.code, found.selection["timeframe"]) == ("df.describe()", "1m")
    assert analyses.rename(conn, anna, "my study", "Разбор") == "Разбор"
    analyses.delete(conn, anna, "other")
    assert analyses.names(conn, anna) == ["Разбор"]


def test_analyses_are_each_users_own(conn: Connection[Any], anna: User, boris: User) -> None:
    """Nobody sees, opens, renames or deletes another one's."""
    analyses.save(conn, anna, "hers", "df", SELECTION)
    assert analyses.names(conn, boris) == []
    for act in (
        lambda: analyses.open_analysis(conn, boris, "hers"),
        lambda: analyses.rename(conn, boris, "hers", "his"),
        lambda: analyses.delete(conn, boris, "hers"),
    ):
        with pytest.raises(BadInput, match="there is no saved analysis 'hers'"):
            act()
    analyses.save(conn, boris, "hers", "1", SELECTION)
    assert analyses.open_analysis(conn, anna, "hers").code == "df"


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\x00b", "\u202eevil", "a\ud800", None, 7, ["x"]])
def test_a_name_that_cannot_be_is_refused(name: Any) -> None:
    """Names are 1 to 80 visible characters."""
    with pytest.raises(BadInput, match="a name of 1 to 80 visible characters"):
        analyses.parse_name(name)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("", "there is no code"),
        (" \n", "there is no code"),
        (None, "there is no code"),
        ("a\x00", "there is no code"),
        ("x = '\ud800'", "characters that are none"),
        ("я" * (32 << 10) + "x", "65,537 bytes, and 65,536 is the most"),
    ],
)
def test_code_that_cannot_be_is_refused(code: Any, why: str) -> None:
    """Code is text of at most 64 KiB."""
    with pytest.raises(BadInput, match=why):
        analyses.parse_code(code)
    assert analyses.parse_code("я" * (32 << 10))


def test_a_name_in_use_is_not_overwritten_by_renaming(conn: Connection[Any], anna: User) -> None:
    """Renaming onto another analysis is refused, and neither is lost."""
    for name in ("one", "two"):
        analyses.save(conn, anna, name, name, SELECTION)
    with pytest.raises(BadInput, match="you keep an analysis 'two' already"):
        analyses.rename(conn, anna, "one", "two")
    assert sorted(analyses.names(conn, anna)) == ["one", "two"]
    assert analyses.rename(conn, anna, "one", "one") == "one"


def test_the_limit_of_analyses_holds_for_many_at_once(dsn: str, conn: Connection[Any], anna: User) -> None:
    """A hundred are kept; of ten that come at once for the last place one gets it."""
    for number in range(analyses.MAX_ANALYSES - 1):
        analyses.save(conn, anna, f"n{number}", "df", SELECTION)
    refused: list[str] = []

    def save(number: int) -> None:
        with connect(dsn, "lakehouse_app") as own:
            try:
                analyses.save(own, anna, f"late {number}", "df", SELECTION)
            except BadInput as error:
                refused.append(str(error))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(analyses.names(conn, anna)) == analyses.MAX_ANALYSES
    assert refused == ["you keep 100 analyses, and 100 is the most: delete one first"] * 9
    analyses.save(conn, anna, "n1", "an existing one can still be saved", SELECTION)


def test_a_run_is_on_record_before_and_after(conn: Connection[Any], anna: User, boris: User) -> None:
    """Between the two rows it has no end; afterwards all that is known of it is there, for its user and for admins."""
    run_id = runs.record_beginning(conn, anna, "127.0.0.1", BEGINNING)
    (run,) = runs.newest(conn, anna)
    assert (run.run_id, run.status, run.ended_at, run.first_line) == (run_id, None, None, "df.describe()")
    runs.record_end(conn, run_id, END)
    (run,) = runs.newest(conn, None)
    assert (run.user_name, run.status, run.wall_s, run.peak_bytes) == ("anna", "error", 0.2, 90 << 20)
    assert runs.newest(conn, boris) == []
    row = conn.execute("SELECT code, code_sha256, address, data_sha256, limits FROM lake.sandbox_run").fetchone()
    code = BEGINNING.code
    assert row == (code, hashlib.sha256(code.encode()).hexdigest(), "127.0.0.1", "ab" * 32, {"wall_s": 10})


def test_runs_do_not_fill_the_record(dsn: str, conn: Connection[Any], anna: User, boris: User) -> None:
    """Programs and errors of a user's last 24 hours have a bound, and each run counts as a row at least."""
    large = replace(BEGINNING, code="#" * (64 << 10))
    for _ in range(runs.RECORDED_BYTES // (81 << 10) + 1):
        runs.record_end(conn, runs.record_beginning(conn, anna, "", large), replace(END, error="x" * (16 << 10)))
    with pytest.raises(BadInput, match=r"^your runs of the last 24 hours fill 16 MiB of the record, which is the most"):
        runs.record_beginning(conn, anna, "", BEGINNING)
    runs.record_beginning(conn, boris, "", BEGINNING)
    with connect(dsn) as owner:
        owner.execute("UPDATE lake.sandbox_run SET began_at = began_at - interval '1 day'")
    runs.record_beginning(conn, anna, "", BEGINNING)


@pytest.mark.parametrize("table", ["sandbox_run", "sandbox_run_end"])
@pytest.mark.parametrize("change", ["DELETE FROM lake.{}", "UPDATE lake.{} SET run_id = run_id", "TRUNCATE lake.{}"])
def test_the_record_is_never_changed(conn: Connection[Any], anna: User, table: str, change: str) -> None:
    """The role that pages use may add to it and nothing else."""
    runs.record_end(conn, runs.record_beginning(conn, anna, "", BEGINNING), END)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(change.format(table))


def test_a_run_ends_once(conn: Connection[Any], anna: User) -> None:
    """A second end of the same run is refused, and so is the end of a run that never began."""
    run_id = runs.record_beginning(conn, anna, "", BEGINNING)
    runs.record_end(conn, run_id, END)
    with pytest.raises(psycopg.errors.UniqueViolation):
        runs.record_end(conn, run_id, END)
