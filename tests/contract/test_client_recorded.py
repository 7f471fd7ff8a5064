"""The client reads what the exchange once sent: bodies recorded by others, which may not be part of the project."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lakehouse.iss.blocks import read_block
from lakehouse.iss.client import IssClient, Patience
from lakehouse.iss.errors import IssContractError
from lakehouse.iss.history import history_pages
from lakehouse.iss.reference import TIMETABLE, fetch_timetable
from lakehouse.iss.securities import CARD, fetch_security
from tests.contract.test_client_transport import CountedBudget
from tests.contract.wayward import Step, Wayward, says, wayward

pytestmark = pytest.mark.recorded
FIRST, LAST = dt.date(2014, 1, 1), dt.date(2014, 12, 31)


@pytest.fixture
def bodies(recorded_dir: Path) -> Path:
    return recorded_dir / "raw_iss"


def client_of(server: Wayward) -> IssClient:
    return IssClient(server.url, CountedBudget(), Patience(attempts=1))


def page_with_cursor(bodies: Path) -> Step:
    """Answer with the recorded page of the request's start; its cursor, which was not recorded, is put back."""

    async def step(request: web.Request) -> web.StreamResponse:
        start = int(request.query["start"])
        recorded = json.loads((bodies / f"security_history_page{start // 100 + 1}.json").read_text())
        recorded["history.cursor"] = {"columns": ["INDEX", "TOTAL", "PAGESIZE"], "data": [[start, 250, 100]]}
        return await says(json.dumps(recorded))(request)

    return step


async def test_recorded_history_is_read_to_its_end(bodies: Path) -> None:
    """A year of MOEX on TQBR: three pages, 250 dates, none twice, each with the exchange's own values."""
    async with wayward(page_with_cursor(bodies)) as server, client_of(server) as client:
        pages = [page async for page in history_pages(client, "stock", "shares", "MOEX", FIRST, LAST)]
    dates = [key for page in pages for key in page.keys]
    assert [len(page.keys) for page in pages] == [100, 100, 50]
    assert dates == sorted(set(dates))
    recorded: list[Any] = []
    for number in (1, 2, 3):
        recorded += json.loads((bodies / f"security_history_page{number}.json").read_text())["history"]["data"]
    assert [row for page in pages for row in page.block.rows] == recorded


async def test_recorded_page_without_its_cursor_proves_nothing(bodies: Path) -> None:
    """The recorded bodies were asked without a cursor, as many clients do: such a page is refused."""
    body = (bodies / "security_history_page1.json").read_bytes()
    async with wayward(says(body)) as server, client_of(server) as client:
        with pytest.raises(IssContractError, match=r"has no block 'history\.cursor'"):
            [page async for page in history_pages(client, "stock", "shares", "MOEX", FIRST, LAST)]


@pytest.mark.parametrize(
    ("name", "secid", "primary"),
    [
        ("shares_market_security", "MOEX", ("stock", "shares", "TQBR")),
        ("bonds_market_security", None, ("stock", "bonds", "EQOB")),
        ("index_market_security", "RTSI", ("stock", "index", "RTSI")),
        ("selt_market_security", None, ("currency", "selt", "CETS")),
        ("forts_market_security", None, ("futures", "forts", "RFUD")),
    ],
)
async def test_recorded_cards_name_a_primary_board(
    bodies: Path, name: str, secid: str | None, primary: tuple[str, str, str]
) -> None:
    """Shares, bonds, indices, currencies and futures have cards of one shape."""
    body = (bodies / f"{name}.json").read_bytes()
    async with wayward(says(body)) as server, client_of(server) as client:
        answer = await fetch_security(client, secid or "ANY")
    boards = [row for row in read_block(answer, "boards", CARD["boards"]).records() if row["is_primary"]]
    assert [(row["engine"], row["market"], row["boardid"]) for row in boards] == [primary]
    assert secid in (None, boards[0]["secid"])


@pytest.mark.parametrize("engine", ["stock", "currency", "futures", "commodity", "state", "interventions", "offboard"])
async def test_recorded_timetables_are_read(bodies: Path, engine: str) -> None:
    """Every engine has a timetable and exceptions, the empty ones of the OTC system included."""
    body = (bodies / f"{engine}_engine.json").read_bytes()
    async with wayward(says(body)) as server, client_of(server) as client:
        (answer,) = await fetch_timetable(client, engine)
    week = read_block(answer, "timetable", TIMETABLE["timetable"]).column("week_day")
    assert week == ([] if engine == "offboard" else [1, 2, 3, 4, 5, 6, 7])
