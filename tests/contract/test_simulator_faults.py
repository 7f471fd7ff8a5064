"""The simulator's faults, each as a plain HTTP client sees it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lakehouse.market.errors import BadInput
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import DEMO_NOW, MadeExchange
from lakehouse.simulator.faults import KINDS, Fault
from lakehouse.simulator.main import main
from lakehouse.simulator.server import running
from lakehouse.simulator.weather import CALM, Faults, Weather
from tests.contract.simulator_calls import BOARD, MARKET, call, control

EXCHANGE = MadeExchange(seed=1)
MINUTES = f"{BOARD}/SBER/candles.json?interval=1&from=2026-06-22&till=2026-06-24"
HISTORY = f"/history{MARKET}/SBER.json?from=2025-09-01"
BEGIN = 6
FAULTS = Faults()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(EXCHANGE, Clock(DEMO_NOW, frozen=True), FAULTS) as base_url:
        yield base_url


@pytest.fixture
def faults() -> Iterator[Faults]:
    """What goes wrong at the exchange; nothing at first."""
    FAULTS.suffered.clear()
    yield FAULTS
    FAULTS.order([])
    FAULTS.change(CALM)


class Client:
    """Asks as any HTTP client does, once."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    async def get(self, path: str, timeout_s: float = 300) -> tuple[int, Any, bytes]:
        """Return status, headers and body."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(self._base_url + path) as response:
            return response.status, response.headers, await response.read()

    def block(self, path: str, name: str = "candles") -> dict[str, Any]:
        """Return a block of an answer."""
        found: dict[str, Any] = call(self._base_url + path).document[name]
        return found

    def rows(self, path: str = MINUTES, start: int = 0, name: str = "candles") -> list[list[Any]]:
        """Return the rows of a page."""
        found: list[list[Any]] = self.block(f"{path}&start={start}", name)["data"]
        return found

    def cursor(self, start: int) -> list[int]:
        """Return the cursor of a page of history: index, total, page size."""
        found: list[int] = self.rows(HISTORY, start, "history.cursor")[0]
        return found


@pytest.fixture
def client(url: str) -> Client:
    return Client(url)


async def test_a_reset_connection_gives_no_answer(client: Client, faults: Faults) -> None:
    """The client meets a reset, not an end of file."""
    faults.order([Fault("reset")])
    with pytest.raises(aiohttp.ClientOSError, match="reset by peer"):
        await client.get(MINUTES)


async def test_a_time_out_gives_no_headers_and_ends(client: Client, faults: Faults) -> None:
    """Nothing comes until the client gives up; for one with more patience the connection closes."""
    faults.order([Fault("time_out", seconds=1)])
    with pytest.raises(TimeoutError):
        await client.get(MINUTES, timeout_s=0.1)
    began = time.monotonic()
    with pytest.raises(aiohttp.ClientError):
        await client.get(MINUTES)
    assert time.monotonic() - began >= 1


async def test_a_stall_gives_headers_then_nothing(client: Client, url: str, faults: Faults) -> None:
    """Status and length come at once, the body never."""
    faults.order([Fault("stall", seconds=5)])
    async with aiohttp.ClientSession() as session, session.get(url + MINUTES) as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert int(response.headers["Content-Length"]) > 1000
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readany(), 0.2)


async def test_a_cut_body_is_shorter_than_announced(client: Client, url: str, faults: Faults) -> None:
    """Half of the bytes come, then the connection is closed."""
    whole = (await client.get(MINUTES))[2]
    faults.order([Fault("cut_body")])
    async with aiohttp.ClientSession() as session, session.get(url + MINUTES) as response:
        assert int(response.headers["Content-Length"]) == len(whole)
        with pytest.raises(aiohttp.ClientPayloadError, match="not completed"):
            await response.read()


async def test_cut_json_has_the_length_that_is_announced(client: Client, faults: Faults) -> None:
    """Half of the JSON comes as an answer that is sound to HTTP."""
    whole = (await client.get(MINUTES))[2]
    faults.order([Fault("cut_json")])
    status, headers, body = await client.get(MINUTES)
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert body == whole[: len(whole) // 2]


@pytest.mark.parametrize(
    ("fault", "status", "type_", "headers"),
    [
        (Fault("empty_body"), 200, "application/json", {}),
        (Fault("web_page"), 200, "text/html", {}),
        (Fault("429", retry_after_s=7), 429, "text/html", {"Retry-After": "7"}),
        (Fault("503"), 503, "text/html", {}),
    ],
)
async def test_an_answer_is_no_data(
    client: Client, faults: Faults, fault: Fault, status: int, type_: str, headers: dict[str, str]
) -> None:
    """Empty bodies and web pages carry the exchange's date like any answer."""
    faults.order([fault])
    found, received, body = await client.get(MINUTES)
    assert (found, received["Content-Type"].split(";")[0]) == (status, type_)
    assert headers.items() <= dict(received).items()
    assert received["Date"] == "Wed, 01 Jul 2026 03:00:00 GMT"
    assert body.startswith(b"<!DOCTYPE html>") == (type_ == "text/html")
    assert bool(body) == (fault.kind != "empty_body")


def test_a_short_page_lacks_its_tail(client: Client, faults: Faults) -> None:
    """The first rows are right, the rest of the page is cut."""
    whole = client.rows(start=500)
    faults.order([Fault("short_page", rows=120)])
    assert client.rows(start=500) == whole[:120]


def test_inner_rows_are_dropped(client: Client, faults: Faults) -> None:
    """The page is short; its first and last row are right."""
    whole = client.rows()
    faults.order([Fault("inner_rows", rows=3)])
    page = client.rows()
    assert len(page) == 497
    assert (page[0], page[-1]) == (whole[0], whole[-1])
    assert [row for row in whole if row in page] == page


def test_left_out_rows_leave_the_page_full(client: Client, faults: Faults) -> None:
    """The rows behind the page move up; the next page begins where it always does."""
    whole, behind = client.rows(), client.rows(start=500)
    faults.order([Fault("left_out_rows", rows=2, times=1)])
    page = client.rows()
    assert len(page) == 500
    assert page[-2:] == behind[:2]
    assert [row for row in whole if row in page] == page[:-2]
    assert client.rows(start=500) == behind


def test_an_empty_page_hides_what_follows(client: Client, faults: Faults) -> None:
    """A block without rows comes where rows are, and where there are none nothing can be hidden."""
    faults.order([Fault("empty_page")])
    assert client.rows(start=500) == []
    assert client.rows(start=100_000) == []
    assert faults.suffered == {"empty_page": 1}


def test_a_skipped_page_is_that_of_a_later_offset(client: Client, faults: Faults) -> None:
    """The page after the one that was asked comes, or that *rows* further on."""
    later, further = client.rows(start=1000), client.rows(start=520)
    faults.order([Fault("skipped_page", times=1), Fault("skipped_page", rows=20)])
    assert client.rows(start=500) == later
    assert client.rows(start=500) == further


def test_a_repeated_page_is_the_one_before(client: Client, faults: Faults) -> None:
    """The page before the one that was asked comes; the first page has none before it."""
    before = client.rows()
    faults.order([Fault("repeated_page")])
    assert client.rows(start=500) == before
    assert client.rows() == before
    assert faults.suffered == {"repeated_page": 1}


def test_rows_shift_at_the_border_of_a_page(client: Client, faults: Faults) -> None:
    """The page begins with the last row of the page before, and ends a row early."""
    before, page = client.rows(), client.rows(start=500)
    faults.order([Fault("shifted_row", times=1)])
    assert client.rows(start=500) == [before[-1], *page[:-1]]


def test_a_row_is_inserted_at_the_border_of_a_page(client: Client, faults: Faults) -> None:
    """The page begins with the last row of the page before, and is whole besides."""
    before, page = client.rows(), client.rows(start=500)
    faults.order([Fault("inserted_row", times=1)])
    assert client.rows(start=500) == [before[-1], *page]


def test_a_conflicting_duplicate_has_other_values(client: Client, faults: Faults) -> None:
    """One key has two rows in this answer: the first is right, the second has other turnover and volume."""
    whole = client.rows()
    faults.order([Fault("conflicting_duplicate")])
    page = client.rows()
    assert len(page) == 501
    doubled = [row for row in page if page.count(row) and sum(other[BEGIN] == row[BEGIN] for other in page) == 2]
    assert doubled[0] in whole
    assert [value for value in doubled[1] if value not in doubled[0]] == [doubled[0][4] + 1, doubled[0][5] + 1]


def test_the_cursor_names_another_row(client: Client, faults: Faults) -> None:
    """INDEX is not the start that was asked; a page without a cursor cannot suffer."""
    rows, (index, *rest) = client.rows(HISTORY, 100, "history"), client.cursor(100)
    faults.order([Fault("wrong_index", rows=50)])
    assert client.cursor(100) == [index + 50, *rest]
    assert client.rows(HISTORY, 100, "history") == rows
    client.rows()
    assert faults.suffered == {"wrong_index": 2}


def test_the_cursor_counts_other_rows(client: Client, faults: Faults) -> None:
    """TOTAL differs on one page, to either side."""
    index, total, size = client.cursor(100)
    faults.order([Fault("changed_total", times=1), Fault("changed_total", rows=-3, times=1)])
    assert client.cursor(100) == [index, total + 1, size]
    assert client.cursor(100) == [index, total - 3, size]
    assert client.cursor(100) == [index, total, size]


def test_history_keeps_its_cursor_when_rows_are_lost(client: Client, faults: Faults) -> None:
    """Only the rows change: the cursor still tells how many there are."""
    cursor = client.cursor(100)
    for kind in ("short_page", "inner_rows", "empty_page", "repeated_page", "skipped_page", "shifted_row"):
        faults.order([Fault(kind)])
        assert client.cursor(100) == cursor, kind
    assert len(faults.suffered) == 6


def test_hidden_rows_are_missing_everywhere_and_pages_are_full(client: Client, faults: Faults) -> None:
    """The exchange numbers its rows as if the hidden ones did not exist, in every answer of the series."""
    whole = [row for start in (0, 500, 1000) for row in client.rows(start=start)]
    hidden = (whole[3][BEGIN], whole[700][BEGIN])
    faults.order([Fault("hidden_rows", "candles", "SBER", begins=hidden)])
    pages = [client.rows(start=start) for start in (0, 500)]
    assert [len(page) for page in pages] == [500, 500]
    assert [*pages[0], *pages[1]] == [row for row in whole if row[BEGIN] not in hidden][:1000]
    assert client.rows(start=999) == client.rows(MINUTES.replace("&till=2026-06-24", ""), start=999)
    assert client.rows(MINUTES.replace("SBER", "GAZP"))[0][BEGIN] == "2026-06-22 06:59:00"


def test_hidden_rows_of_history_are_not_counted(client: Client, faults: Faults) -> None:
    """The cursor's TOTAL agrees with the rows that are there."""
    index, total, size = client.cursor(100)
    whole = client.rows(HISTORY, 0, "history")
    date = whole[5][1]
    faults.order([Fault("hidden_rows", "history", begins=(date,))])
    struck = sum(row[1] == date for row in whole)
    assert client.cursor(100) == [index, total - struck, size]
    assert len(client.rows(HISTORY, 0, "history")) == 100
    assert date not in {row[1] for row in client.rows(HISTORY, 0, "history")}


def test_conflicting_rows_are_numbered_like_any(client: Client, faults: Faults) -> None:
    """Two rows of one key stand one after the other in every answer, and push the next ones on."""
    whole = client.rows()
    faults.order([Fault("conflicting_rows", begins=(whole[10][BEGIN],))])
    page = client.rows()
    assert len(page) == 500
    assert (page[10], page[12]) == (whole[10], whole[11])
    assert page[11] == [*whole[10][:4], whole[10][4] + 1, whole[10][5] + 1, *whole[10][6:]]
    assert client.rows(start=499)[1] == whole[499]


def test_a_block_is_missing(client: Client, url: str, faults: Faults) -> None:
    """Of the blocks that were asked for, the first or the named one does not come."""
    faults.order([Fault("missing_block", block="history.cursor", times=1), Fault("missing_block")])
    assert list(call(url + HISTORY).document) == ["history"]
    assert list(call(url + HISTORY).document) == ["history.cursor"]
    assert call(f"{url}/securities/SBER.json?iss.only=boards").document == {}


def test_a_column_is_missing(client: Client, faults: Faults) -> None:
    """The column is gone from names and rows, the others keep their values."""
    whole = client.block(MINUTES)
    faults.order([Fault("missing_column", column="close")])
    page = client.block(MINUTES)
    assert page["columns"] == [name for name in whole["columns"] if name != "close"]
    assert page["data"] == [row[:1] + row[2:] for row in whole["data"]]


def test_a_column_is_added(client: Client, faults: Faults) -> None:
    """A column that nobody knows stands among the others, metadata included."""
    whole = client.block(MINUTES)
    faults.order([Fault("added_column", column="NEWS")])
    page = client.block(MINUTES)
    at = page["columns"].index("NEWS")
    assert "NEWS" in page["metadata"]
    assert [row[:at] + row[at + 1 :] for row in page["data"]] == whole["data"]


def test_columns_are_reordered(client: Client, faults: Faults) -> None:
    """Names and values stand in another order, and still belong together."""
    whole = client.block(MINUTES)
    faults.order([Fault("reordered_columns")])
    page = client.block(MINUTES)
    assert page["columns"] != whole["columns"]
    assert [dict(zip(page["columns"], row, strict=True)) for row in page["data"]] == [
        dict(zip(whole["columns"], row, strict=True)) for row in whole["data"]
    ]


def test_faults_are_ordered_for_some_requests(url: str, client: Client) -> None:
    """Family, code, how many are spared and how many suffer are kept to, and what happened is told."""
    order = {"kind": "empty_page", "family": "candles", "secid": "sber", "times": 2, "after": 1}
    reply = control(url, "PUT", "faults", {"faults": [order]})
    assert (reply.status, reply.document) == (200, {"faults": [{**order, "secid": "SBER", "suffered": 0}]})
    assert client.rows(MINUTES.replace("SBER", "GAZP"))
    assert client.rows(HISTORY, name="history")
    assert [len(client.rows()) for _ in range(4)] == [500, 0, 0, 500]
    assert control(url, "GET", "faults").document["faults"][0]["suffered"] == 2
    assert control(url, "GET", "stats").document["faults"]["empty_page"] >= 2
    assert control(url, "DELETE", "faults").document == {"faults": []}


def weathered(client: Client, url: str, **weather: object) -> list[list[int]]:
    """Return how many rows each of 40 addresses has, asked three times, under a weather."""
    assert control(url, "PUT", "weather", weather).status == 200
    lengths = [[len(client.rows(start=start)) for _ in range(3)] for start in range(40)]
    assert control(url, "DELETE", "weather").document["rate"] == 0
    return lengths


def test_equal_seeds_make_equal_weather(url: str, client: Client) -> None:
    """The same requests suffer the same, whatever came between; another seed is other weather."""
    weather = {"seed": 7, "rate": 0.3, "kinds": ["short_page", "empty_page"]}
    first = weathered(client, url, **weather)
    struck = sum(length != 500 for lengths in first for length in lengths)
    assert 18 <= struck <= 54
    assert weathered(client, url, **weather) == first
    assert weathered(client, url, **{**weather, "seed": 8}) != first
    assert {length for lengths in weathered(client, url, seed=7, rate=0) for length in lengths} == {500}


def test_weather_does_not_depend_on_the_order_of_requests(url: str, client: Client) -> None:
    """What happens to an address is decided by how often it was asked for, not by what else was."""
    weather = {"seed": 3, "rate": 0.3, "kinds": ["short_page"]}
    by_address = weathered(client, url, **weather)
    control(url, "PUT", "weather", weather)
    by_turn = [[len(client.rows(start=start)) for start in reversed(range(40))] for _ in range(3)]
    control(url, "DELETE", "weather")
    assert [[by_turn[turn][39 - start] for turn in range(3)] for start in range(40)] == by_address


def test_every_kind_of_fault_happens_in_foul_weather(client: Client, url: str, faults: Faults) -> None:
    """With all kinds in play each of them happens, and nothing but the fault is wrong with the exchange."""
    faults.change(Weather(seed=1, rate=1, seconds=0))
    for start in range(0, 400, 7):
        for path in (MINUTES, HISTORY, MINUTES.replace("SBER", "GAZP")):
            with suppress(OSError, HTTPException):
                call(f"{url}{path}&start={start}")
    assert set(faults.suffered) == set(KINDS)


BAD_ORDERS = [
    ({"faults": {}}, r'faults is \{\}: expected a list such as \[\{"kind": "reset", "times": 2\}\]'),
    ({"faults": ["reset"]}, "faults is .*: expected a list"),
    ({"faults": [{}]}, "a fault has no kind: expected one of reset, time_out"),
    ({"faults": [{"kind": "rain"}]}, "kind is 'rain': expected one of reset"),
    ({"faults": [{"kind": "reset", "often": 1}]}, "unknown often; known are after, begins"),
    ({"faults": [{"kind": "reset", "times": -1}]}, "times is -1: expected a whole number, 0 or more"),
    ({"faults": [{"kind": "reset", "after": None}]}, "after is None: expected a whole number, 0 or more"),
    ({"faults": [{"kind": "reset", "secid": 5}]}, "secid is 5: expected a text"),
    ({"faults": [{"kind": "stall", "seconds": "long"}]}, "seconds is 'long': expected a number, 0 or more"),
    ({"faults": [{"kind": "reset", "family": "news"}]}, "family is 'news': expected one of candles, candleborders"),
    ({"faults": [{"kind": "short_page", "family": "splits"}]}, "family is 'splits': short_page needs pages"),
    ({"faults": [{"kind": "wrong_index", "family": "candles"}]}, "family is 'candles': wrong_index needs a cursor"),
    ({"faults": [{"kind": "hidden_rows", "begins": [1]}]}, r"begins is \[1\]: expected a list of texts"),
    (b"{", "the body is not JSON"),
]


@pytest.mark.parametrize(("body", "says"), BAD_ORDERS)
def test_bad_orders_are_refused(url: str, client: Client, body: object, says: str) -> None:
    """An order that makes no sense is 400, says what was expected, and changes nothing."""
    control(url, "PUT", "faults", {"faults": [{"kind": "empty_page", "times": 1}]})
    reply = control(url, "PUT", "faults", body)
    assert reply.status == 400
    assert re.match(says, reply.document["error"])
    assert client.rows() == []
    control(url, "DELETE", "faults")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"seed": 1}, r"the weather has no rate: expected 0 \(calm\) to 1 \(every request suffers\)"),
        ({"rate": 1.5}, "rate is 1.5: expected 0 to 1"),
        ({"rate": "often"}, "rate is 'often': expected a number, 0 or more"),
        ({"rate": 0.1, "seed": 1.5}, "seed is 1.5: expected a whole number, 0 or more"),
        ({"rate": 0.1, "kinds": "reset"}, "kinds is 'reset': expected a list of texts"),
        ({"rate": 0.1, "kinds": ["rain"]}, "kinds has rain: known are reset"),
        ({"rate": 0.1, "wind": 3}, "unknown wind; known are kinds, rate"),
    ],
)
def test_bad_weather_is_refused(url: str, body: object, says: str) -> None:
    """Weather that makes no sense is 400, says what was expected, and changes nothing."""
    reply = control(url, "PUT", "weather", body)
    assert reply.status == 400
    assert re.match(says, reply.document["error"])
    assert control(url, "GET", "weather").document["rate"] == 0


def test_a_fault_of_an_unknown_kind_cannot_be_made() -> None:
    """A test that orders what does not exist is told so at once."""
    with pytest.raises(BadInput, match="kind is 'rain': expected one of reset, time_out"):
        Fault("rain")


def test_every_kind_is_documented() -> None:
    """What the simulator can do wrong is in its page of the documentation, and nothing else is."""
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    table = page[page.index("| kind |") :]
    told = {kind for row in re.findall("^\\| (`.*?) \\|", table, re.MULTILINE) for kind in re.findall("`(.*?)`", row)}
    assert told == set(KINDS)


@pytest.mark.parametrize("text", ["7", "7:often", "x:0.2", "7:1.5"])
def test_the_command_refuses_weather_that_is_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A seed and a probability are wanted."""
    with pytest.raises(SystemExit, match="2"):
        main(["--weather", text])
    assert re.search(f"'{text}' is no weather: expected SEED:RATE such as 7:0.2", capsys.readouterr().err)


def test_the_command_runs_an_exchange_with_weather() -> None:
    """The weather that the command was given is there when it is ready."""
    command = [sys.executable, "-m", "lakehouse.simulator", "--frozen", "--weather", "7:0.25"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("the simulator has no output")
        base_url = process.stdout.readline().split()[-1]
        weather = control(base_url, "GET", "weather").document
        process.terminate()
    assert (weather["seed"], weather["rate"], weather["kinds"]) == (7, 0.25, list(KINDS))
