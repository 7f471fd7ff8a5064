"""How many statements run at a time, and who may stop them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lakehouse.market.errors import BadInput
from lakehouse.serving.lake_sql.desk import SqlDesk, TooManyStatements
from lakehouse.serving.lake_sql.process import Answer, Question, SqlStopped, Statement


class Waiting(Statement):
    """A statement that runs until it is stopped."""

    def __init__(self) -> None:
        super().__init__(Question("SELECT 1"), {})
        self.has_begun = threading.Event()
        self._is_over = threading.Event()

    def run(self) -> Answer:
        self.has_begun.set()
        assert self._is_over.wait(60)
        raise SqlStopped("the statement was stopped")

    def stop(self) -> None:
        self._is_over.set()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_places_are_limited_and_given_back(threads: ThreadPoolExecutor) -> None:
    """A user has so many, all together have so many; whoever is stopped makes room."""
    desk, first, second = SqlDesk(at_once=2, per_user=1), Waiting(), Waiting()
    running = [threads.submit(desk.run, "anna", "a", first), threads.submit(desk.run, "boris", "a", second)]
    assert first.has_begun.wait(60)
    assert second.has_begun.wait(60)
    with pytest.raises(
        TooManyStatements, match=r"^1 statements of anna run already, which is the most: stop one"
    ) as own:
        desk.run("anna", "b", Waiting())
    with pytest.raises(TooManyStatements, match=r"^2 statements run already, which is the most") as full:
        desk.run("vera", "a", Waiting())
    assert (own.value.is_own, full.value.is_own) == (True, False)
    assert (desk.stop("vera", "a"), desk.stop("anna", "a"), desk.stop("boris", "a")) == (False, True, True)
    for future in running:
        with pytest.raises(SqlStopped):
            future.result(timeout=60)
    assert desk.stop("anna", "a") is False


def test_a_name_is_of_one_statement_at_a_time(threads: ThreadPoolExecutor) -> None:
    """Otherwise nobody would know which is stopped by it."""
    desk, first = SqlDesk(), Waiting()
    running = threads.submit(desk.run, "anna", "a", first)
    assert first.has_begun.wait(60)
    with pytest.raises(BadInput, match=r"^a statement with the id a runs already: choose another id$"):
        desk.run("anna", "a", Waiting())
    desk.stop("anna", "a")
    with pytest.raises(SqlStopped):
        running.result(timeout=60)
