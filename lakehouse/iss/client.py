"""One request to the exchange: budget, time-outs, retries, and what counts as an answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from types import TracebackType
from typing import Any, Protocol, Self

import aiohttp
import orjson
import stamina

from lakehouse.database.breaker import NeverOpen
from lakehouse.iss.answer import Answer
from lakehouse.iss.errors import IssContractError, IssUnavailable

USER_AGENT = f"moex-lakehouse/{version('moex-lakehouse')}"
# 500-504 is the exchange's overload; it also resets connections, which aiohttp raises (docs/iss.md section 8).
RETRIED_STATUS = frozenset({429, 500, 501, 502, 503, 504})


# Asked, when there is doubt, to tell an exchange that is away from a request that it cannot answer: small, and its own
_PLAIN_QUESTION, _PLAIN_PARAMS = "/index.json", {"iss.meta": "off", "iss.only": "engines"}
# So many attempts in vain of all workers, without an answer between, are reason to doubt
DOUBTED_AFTER = 10
_CLAIM_S, _LOOK_AGAIN_S = 30, 0.25


class Budget(Protocol):
    """Who may ask when, across all workers (lakehouse/database/budget.py)."""

    def slot(self, ready: Callable[[], Awaitable[bool]] | None = None) -> AbstractAsyncContextManager[bool]:
        """Wait until one request may go out, if *ready* says so; it is in flight until the context ends."""


class Breaker(Protocol):
    """Whether the exchange answers at all, as all workers know it (lakehouse/database/breaker.py)."""

    async def lets_ask(self) -> bool: ...

    async def answered(self) -> None: ...

    async def failed(self) -> int: ...

    async def claim_question(self, lease_s: float) -> bool: ...

    async def is_answering(self) -> bool: ...

    async def stay_away(self, reason: str, at_least_s: float) -> Exception: ...


class Requests(Protocol):
    """Where requests are counted by what became of them (lakehouse/database/counters.py)."""

    def count(self, counts: Mapping[tuple[str, ...], float]) -> None:
        """Count up."""


@dataclass(frozen=True)
class Patience:
    """How long a request is tried: *timeout_s* for one attempt, *total_s* and *attempts* for all of them."""

    timeout_s: float = 60
    attempts: int = 5
    total_s: float = 180
    wait_s: float = 0.5
    longest_wait_s: float = 60


class IssClient:
    """
    A connection to the exchange, used as an async context manager.

    Args:
        base_url: Address of the API without a trailing slash, such as ``https://iss.moex.com/iss``.
        budget: Asked before every attempt, retries included.
        patience: Limits of an attempt and of all attempts.
        breaker: Told of every attempt; while it is open nothing is asked.
        tally: Told at the end how many attempts there were of each outcome, and what they took.

    Attributes:
        requests: Attempts that were sent so far.
    """

    def __init__(
        self,
        base_url: str,
        budget: Budget,
        patience: Patience | None = None,
        breaker: Breaker | None = None,
        tally: Requests | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.requests = 0
        self._budget = budget
        self._breaker: Breaker = breaker or NeverOpen()
        self._failures = 0
        self._patience = patience or Patience()
        self._tally = tally
        self._counts: defaultdict[tuple[str, ...], float] = defaultdict(float)

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=self._patience.timeout_s, sock_connect=10)
        connector = aiohttp.TCPConnector(limit=4, keepalive_timeout=30)
        self._session = aiohttp.ClientSession(
            timeout=timeout, connector=connector, headers={"User-Agent": USER_AGENT, "Accept": "application/json"}
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        if self._tally and self._counts:
            await asyncio.to_thread(self._tally.count, self._counts)

    async def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Answer:
        """
        Ask for *path*, such as ``/securities/SBER.json``, without metadata.

        Raises:
            IssUnavailable: if the exchange gave no usable answer in all attempts, though it answers others.
            BreakerOpen: if it answers nobody: nothing is wrong with this request.
            IssContractError: if it refused (403, 404) or its answer is not an object with a ``Date``.
        """
        url, attempts = self.base_url + path, 0
        try:
            async for attempt in stamina.retry_context(
                on=self._back_off,
                attempts=self._patience.attempts,
                timeout=self._patience.total_s,
                wait_initial=self._patience.wait_s,
                wait_jitter=self._patience.wait_s,
                wait_max=self._patience.longest_wait_s,
            ):
                attempts = attempt.num
                with attempt:
                    return await self._attempt(url, {"iss.meta": "off", **(params or {})})
        except IssUnavailable:
            if self._failures >= attempts:  # nobody had an answer since we began
                await self._resolve_doubt()
            raise
        raise IssUnavailable(url, "no attempt was made")

    async def _attempt(self, url: str, params: Mapping[str, str | int]) -> Answer:
        while True:
            try:
                async with self._budget.slot(self._breaker.lets_ask) as may_ask:
                    answer = await self._ask(url, params) if may_ask else None
            except IssUnavailable:
                self._failures = await self._breaker.failed()
                if self._failures >= DOUBTED_AFTER:
                    await self._resolve_doubt()
                raise
            except IssContractError:
                await self._breaker.answered()
                raise
            if answer:
                await self._breaker.answered()
                return answer
            await self._resolve_doubt()

    async def _resolve_doubt(self) -> None:
        """Return once the exchange answers a plain question, ours or another worker's; else raise BreakerOpen."""
        self._failures = 0
        while not await self._breaker.claim_question(self._patience.timeout_s + _CLAIM_S):
            if await self._breaker.is_answering():
                return
            await asyncio.sleep(_LOOK_AGAIN_S)
        try:
            async with self._budget.slot():
                await self._ask(self.base_url + _PLAIN_QUESTION, _PLAIN_PARAMS)
        except IssUnavailable as error:
            reason = error.reason.removeprefix("answered ")
            raise await self._breaker.stay_away(reason, error.retry_after_s or 0) from error
        except IssContractError:
            pass  # it answers
        await self._breaker.answered()

    def _back_off(self, error: Exception) -> bool | float:
        if not isinstance(error, IssUnavailable):
            return False
        if error.retry_after_s is None:
            return True
        return error.retry_after_s if error.retry_after_s <= self._patience.longest_wait_s else False

    async def _ask(self, url: str, params: Mapping[str, str | int]) -> Answer:
        self.requests += 1
        outcome, began = "broken", time.monotonic()
        try:
            async with self._session.get(url, params=params, middlewares=[_sent_once()]) as response:
                body = await response.read()
            outcome = "unavailable" if response.status in RETRIED_STATUS else "unusable"
            answer = _answer(response, body)
            outcome = "answered"
        except TimeoutError as error:
            outcome = "timeout"
            raise IssUnavailable(_full(url, params), f"no answer in {self._patience.timeout_s:g} s") from error
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
            raise IssUnavailable(_full(url, params), f"{type(error).__name__}: {error}") from error
        except IssContractError:
            outcome = "refused"
            raise
        finally:
            self._counts["exchange_requests", outcome] += 1
            self._counts["exchange_seconds", outcome] += time.monotonic() - began
        return answer


def _sent_once() -> aiohttp.ClientMiddlewareType:
    """Keep aiohttp from sending a request again by itself when a connection breaks: that is not in the budget."""
    sent: set[str] = set()

    async def send(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if str(request.url) in sent:
            raise aiohttp.ServerDisconnectedError
        sent.add(str(request.url))
        return await handler(request)

    return send


def _answer(response: aiohttp.ClientResponse, body: bytes) -> Answer:
    url, status = str(response.url), response.status
    if status in RETRIED_STATUS:
        raise IssUnavailable(url, f"answered {status} {response.reason}", _retry_after_s(response))
    headers = {str(name): value for name, value in response.headers.items()}
    if status != 200:
        rejected = Answer(url, status, headers, _date(response) or _unknown_time(), body, None)
        raise IssContractError(f"{url}: answered {status} {response.reason}, expected 200", rejected)
    document = _parse(url, response.content_type, body)
    date = _date(response)
    if date is None:
        rejected = Answer(url, status, headers, _unknown_time(), body, document)
        raise IssContractError(f"{url}: the answer has no Date header, so nothing in it can be dated", rejected)
    return Answer(url, status, headers, date, body, document)


def _parse(url: str, content_type: str, body: bytes) -> Any:
    if not body:
        raise IssUnavailable(url, "answered 200 with an empty body")
    # A login or error page comes as 200 and HTML (docs/iss.md section 8).
    if content_type == "text/html" or body.lstrip()[:1] == b"<":
        raise IssUnavailable(url, f"answered 200 with a web page ({content_type}, {len(body)} bytes) instead of JSON")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise IssUnavailable(url, f"answered 200 with cut or broken JSON ({len(body)} bytes): {error}") from error


def _date(response: aiohttp.ClientResponse) -> dt.datetime | None:
    try:
        return parsedate_to_datetime(response.headers["Date"]).astimezone(dt.UTC)
    except (KeyError, ValueError):
        return None


def _unknown_time() -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """Return the seconds to wait: the header holds seconds or an HTTP date, which counts from the answer's own date."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    answered = _date(response)
    return None if answered is None else max(0.0, (until.astimezone(dt.UTC) - answered).total_seconds())


def _full(url: str, params: Mapping[str, str | int]) -> str:
    return f"{url}?{'&'.join(f'{name}={value}' for name, value in params.items())}"
