"""The simulator's clock moves, candles are revised and vanish, and it says what it served."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import DEMO_NOW, MadeExchange
from lakehouse.simulator.server import running
from tests.contract.simulator_calls import BOARD, call, control

EXCHANGE = MadeExchange(seed=1)


@pytest.fixture
def url() -> Iterator[str]:
    """Base address of ISS; its clock stands before the opening of 2026-07-01."""
    with running(EXCHANGE, Clock(DEMO_NOW, frozen=True)) as base_url:
        yield base_url


def days(url: str, from_: str = "2026-06-25", interval: int = 24) -> dict[str, list[object]]:
    """Return candles of SBER by begin."""
    reply = call(f"{url}{BOARD}/SBER/candles.json", interval=interval, from_=from_)
    return {str(row[6]): row for row in reply.document["candles"]["data"]}


def test_the_clock_can_be_read_and_moved(url: str) -> None:
    """A moved clock dates the answers and lets candles and splits appear."""
    assert control(url, "GET", "clock").document == {"now": "2026-07-01 06:00:00", "frozen": True}
    assert "2026-07-01 00:00:00" not in days(url)
    moved = control(url, "PUT", "clock", {"now": "2026-07-01 12:15:00"})
    assert (moved.status, moved.document) == (200, {"now": "2026-07-01 12:15:00", "frozen": True})
    assert moved.date == "Wed, 01 Jul 2026 09:15:00 GMT"
    assert days(url)["2026-07-01 00:00:00"][7] == "2026-07-01 11:59:59"
    control(url, "PUT", "clock", {"now": "2026-04-16 12:00:00"})
    splits = call(f"{url}/statistics/engines/stock/splits.json").rows("splits")
    assert "T" not in {row["secid"] for row in splits}


def test_a_clock_that_is_let_go_runs(url: str) -> None:
    """An unfrozen clock moves on by itself."""
    control(url, "PUT", "clock", {"frozen": False})
    until = time.monotonic() + 60
    while control(url, "GET", "clock").document["now"] == "2026-07-01 06:00:00":
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_revision_holds_from_now_on(url: str) -> None:
    """A revised candle has its new values; its neighbours and other intervals keep theirs."""
    before, hours = days(url), days(url, interval=60)
    body = {"secid": "SBER", "interval": 24, "begin": "2026-06-26 00:00:00", "values": {"close": 1.25, "volume": 3}}
    reply = control(url, "POST", "revise", body)
    assert (reply.status, reply.document) == (200, {"revised": "SBER 24 2026-06-26 00:00:00"})
    after = days(url)
    assert (after["2026-06-26 00:00:00"][1], after["2026-06-26 00:00:00"][5]) == (1.25, 3)
    assert [begin for begin in before if before[begin] != after[begin]] == ["2026-06-26 00:00:00"]
    assert days(url, interval=60) == hours


def test_a_vanished_candle_is_absent(url: str) -> None:
    """A vanished candle is gone from pages and borders, and cannot be revised any more."""
    begin = "2026-06-30 00:00:00"
    candle = {"secid": "SBER", "interval": 24, "begin": begin}
    assert control(url, "POST", "vanish", candle).document == {"vanished": f"SBER 24 {begin}"}
    assert begin not in days(url)
    borders = {row["interval"]: row["end"] for row in call(f"{url}{BOARD}/SBER/candleborders.json").rows("borders")}
    assert borders[24] == "2026-06-29 23:59:59"
    again = control(url, "POST", "revise", {**candle, "values": {"close": 1}})
    assert again.status == 404
    assert again.document == {
        "error": f"there is no candle SBER 24 {begin}: only one that the exchange shows can change"
    }


@pytest.mark.parametrize(
    ("method", "name", "body", "status", "message"),
    [
        ("PUT", "clock", b"{", 400, "the body is not JSON"),
        ("PUT", "clock", [], 400, "the body is a list: expected a JSON object"),
        ("PUT", "clock", {"later": 1}, 400, "unknown later; known are frozen, now"),
        ("PUT", "clock", {"now": "noon"}, 400, "now is 'noon': expected a Moscow time such as 2026-06-30 10:00:00"),
        ("PUT", "clock", {"now": "2026-07-01T06:00:00+03:00"}, 400, "expected a Moscow time"),
        ("PUT", "clock", {"now": "1999-01-01 00:00:00"}, 400, "this exchange exists from 2016-07-01 00:00:00 to 2027"),
        ("PUT", "clock", {"frozen": "yes"}, 400, "frozen is 'yes': expected true or false"),
        (
            "POST",
            "vanish",
            {"secid": "SBER", "interval": 24, "begin": "2026-06-28 00:00:01"},
            404,
            "there is no candle SBER",
        ),
        (
            "POST",
            "vanish",
            {"secid": "NOSUCH", "interval": 24, "begin": "2026-06-26"},
            404,
            "there is no candle NOSUCH",
        ),
        ("POST", "vanish", {"secid": "SBER", "interval": 24, "begin": "2026-07-01"}, 404, "there is no candle SBER 24"),
        (
            "POST",
            "vanish",
            {"secid": "SBER", "interval": 5, "begin": "2026-06-26"},
            400,
            "interval is 5: expected one of 1, 10,",
        ),
        ("POST", "vanish", {"interval": 24, "begin": "2026-06-26"}, 400, "secid is None: expected a code such as SBER"),
        (
            "POST",
            "revise",
            {"secid": "SBER", "interval": 24, "begin": "2026-06-26"},
            400,
            "values is None: expected an object",
        ),
        (
            "POST",
            "revise",
            {"secid": "SBER", "interval": 24, "begin": "2026-06-26", "values": {"close": "1"}},
            400,
            "close is '1': expected a number",
        ),
        (
            "POST",
            "revise",
            {"secid": "SBER", "interval": 24, "begin": "2026-06-26", "values": {"end": 1}},
            400,
            "unknown end; known are close, high",
        ),
    ],
)
def test_what_cannot_be_is_told(url: str, method: str, name: str, body: object, status: int, message: str) -> None:
    """A control request that cannot be carried out is answered with what was expected, and changes nothing."""
    reply = control(url, method, name, body)
    assert reply.status == status
    assert re.search(re.escape(message), reply.document["error"])
    assert control(url, "GET", "clock").document["now"] == "2026-07-01 06:00:00"


def test_requests_and_pages_are_counted(url: str) -> None:
    """Requests are counted by family, pages of candles and history apart; control requests and errors are no pages."""
    days(url)
    call(f"{url}/history/engines/stock/markets/shares/securities/SBER.json")
    call(f"{url}{BOARD}/SBER/candleborders.json")
    call(f"{url}{BOARD}/SBER/candles.json", start="x")
    call(f"{url}/nothing.json")
    assert control(url, "GET", "stats").document == {
        "requests": {"candleborders": 1, "candles": 2, "history": 1, "unknown path": 1},
        "total": 5,
        "pages": {"candles": 1, "history": 1},
        "faults": {},
    }


def test_the_command_says_where_it_listens_and_stops_at_once() -> None:
    """`python -m lakehouse.simulator` prints one line, serves, and ends well on SIGTERM."""
    command = [sys.executable, "-m", "lakehouse.simulator", "--now", "2025-03-03 12:00:00", "--frozen", "--seed", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        found = re.fullmatch(r"simulator ready (http://127\.0\.0\.1:\d+/iss)\n", line)
        assert found
        assert control(found[1], "GET", "clock").document == {"now": "2025-03-03 12:00:00", "frozen": True}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recorded", "{empty}"], "Error: no recorded candles or history in "),
        (["--now", "2040-01-01"], "Error: now is 2040-01-01 00:00:00: this exchange exists from 2016-07-01"),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    """What cannot be served ends the command with code 1 and one line."""
    command = [sys.executable, "-m", "lakehouse.simulator", *(text.format(empty=tmp_path) for text in arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(message)
    assert ended.stderr.count("\n") == 1
