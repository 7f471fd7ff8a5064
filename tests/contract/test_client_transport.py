"""The client against a server that does what the exchange does on a bad day."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from lakehouse.iss.answer import Answer
from lakehouse.iss.client import IssClient, Patience
from lakehouse.iss.errors import IssContractError, IssUnavailable
from tests.contract.wayward import Step, Wayward, cuts, hangs, resets, says, wayward

PATIENT = Patience(timeout_s=120, attempts=3, total_s=600, wait_s=0.01, longest_wait_s=2)
IMPATIENT = replace(PATIENT, timeout_s=0.5)


class CountedBudget:
    """Lets everyone through, and counts."""

    def __init__(self) -> None:
        self.slots = 0

    @asynccontextmanager
    async def slot(self, ready: Any = None) -> AsyncIterator[bool]:
        self.slots += 1
        yield True


async def ask(server: Wayward, budget: Any = None, patience: Patience = PATIENT) -> Answer:
    async with IssClient(server.url, budget or CountedBudget(), patience) as client:
        return await client.get("/index.json", {"iss.only": "engines"})


async def test_answer_carries_body_headers_and_the_exchanges_clock() -> None:
    """What comes back is what was sent, dated by the Date header in UTC."""
    async with wayward(says('{"engines": "Фондовый"}', X_Marker="granted")) as server:
        answer = await ask(server)
    assert answer.body == '{"engines": "Фондовый"}'.encode()
    assert answer.document == {"engines": "Фондовый"}
    assert answer.fetched_at == dt.datetime(2024, 3, 20, 12, 0, tzinfo=dt.UTC)
    assert (answer.status, answer.headers["X-Marker"]) == (200, "granted")
    assert answer.url == f"{server.url}/index.json?iss.meta=off&iss.only=engines"


async def test_client_names_itself_and_keeps_its_connection() -> None:
    """The exchange can tell who asks, and is not asked for a connection each time."""
    async with wayward(says("{}")) as server, IssClient(server.url, CountedBudget(), PATIENT) as client:
        for _ in range(3):
            await client.get("/index.json")
        agents = {request.headers["User-Agent"] for request in server.seen}
        ports = {request.transport.get_extra_info("peername")[1] for request in server.seen if request.transport}
    assert [agent.split("/")[0] for agent in agents] == ["moex-lakehouse"]
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (resets, "index.json.*Server ?Disconnected"),
        (hangs, "no answer in 0.5 s"),
        (cuts, "ClientPayloadError|Disconnected|Reset"),
        (says("", status=429), "answered 429"),
        (says("<html>busy</html>", status=503, content_type="text/html"), "answered 503"),
        (says("", status=500), "answered 500"),
        (says("", status=504), "answered 504"),
        (says(""), "answered 200 with an empty body"),
        (says('{"engines": {"columns": ['), r"answered 200 with cut or broken JSON \(25 bytes\)"),
        (says("<!doctype html><p>please log in", content_type="text/html"), "answered 200 with a web page"),
        (says("\n<html>please log in</html>"), r"web page \(application/json, 27 bytes\) instead of JSON"),
    ],
    ids=["reset", "time-out", "cut body", "429", "503", "500", "504", "empty", "cut JSON", "HTML", "HTML called JSON"],
)
async def test_exchange_on_a_bad_day_is_asked_again(step: Step, message: str) -> None:
    """What may pass is tried as often as patience allows, each time within the budget; a later answer counts."""
    budget, patience = CountedBudget(), IMPATIENT if step is hangs else PATIENT
    async with wayward(step) as server:
        with pytest.raises(IssUnavailable, match=message):
            await ask(server, budget, patience)
    assert (len(server.seen), budget.slots) == (3, 3)
    async with wayward(step, says("{}")) as server:
        assert (await ask(server, patience=patience)).document == {}


async def test_nobody_listening_is_unavailable() -> None:
    """A refused connection is told with the address."""
    async with wayward(says("{}")) as server:
        pass
    with pytest.raises(IssUnavailable, match=r"iss/index\.json\?.*ClientConnectorError"):
        await ask(server)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (says("gone", status=404), "answered 404 Not Found, expected 200"),
        (says("no", status=403), "answered 403 Forbidden, expected 200"),
        (says("{}", Date="yesterday"), "the answer has no Date header, so nothing in it can be dated"),
    ],
    ids=["404", "403", "no date"],
)
async def test_refusal_is_not_asked_again(step: Step, message: str) -> None:
    """What will not pass is raised at once, with the answer."""
    async with wayward(step) as server:
        with pytest.raises(IssContractError, match=message) as caught:
            await ask(server)
    assert len(server.seen) == 1
    assert caught.value.answer is not None
    assert caught.value.answer.body in (b"gone", b"no", b"{}")


@pytest.mark.parametrize("after", ["1", "Wed, 20 Mar 2024 12:00:01 GMT"], ids=["seconds", "date"])
async def test_retry_after_is_honoured(after: str) -> None:
    """The exchange says how long to wait, in seconds or by its own clock."""
    async with wayward(says("", status=429, Retry_After=after), says("{}")) as server:
        begun = dt.datetime.now(dt.UTC)
        await ask(server)
    assert dt.datetime.now(dt.UTC) - begun > dt.timedelta(seconds=0.9)


async def test_nobody_waits_for_an_hour() -> None:
    """A longer wait than patience allows ends the attempts."""
    async with wayward(says("", status=429, Retry_After="3600")) as server:
        with pytest.raises(IssUnavailable, match="answered 429") as caught:
            await ask(server)
    assert (len(server.seen), caught.value.retry_after_s) == (1, 3600)


async def test_attempts_are_bounded_in_time() -> None:
    """However many attempts are left, their time is limited."""
    patience = Patience(timeout_s=120, attempts=1000, total_s=0.5, wait_s=0.1, longest_wait_s=0.1)
    async with wayward(says("", status=503)) as server:
        with pytest.raises(IssUnavailable, match="answered 503"):
            await ask(server, patience=patience)
    assert len(server.seen) <= 10


async def test_budget_is_kept_while_a_request_is_in_flight() -> None:
    """The slot is held until the body is read, not only until the request is sent."""
    order: list[str] = []

    class Watched:
        @asynccontextmanager
        async def slot(self, ready: Any = None) -> AsyncIterator[bool]:
            order.append("taken")
            yield True
            order.append("given back")

    async def step(request: Any) -> Any:
        order.append("answered")
        return await says("{}")(request)

    async with wayward(step) as server:
        await ask(server, Watched())
    assert order == ["taken", "answered", "given back"]
