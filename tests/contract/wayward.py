"""A server on a socket that answers what it is told to, well or badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

DATE = "Wed, 20 Mar 2024 12:00:00 GMT"
Step = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Wayward:
    """Answers the requests one after the other by *steps*, the last one for ever; *seen* are the requests so far."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.seen: list[web.Request] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        return await self.steps[min(len(self.seen), len(self.steps)) - 1](request)


@asynccontextmanager
async def wayward(*steps: Step) -> AsyncIterator[Wayward]:
    """Serve *steps* on a port of its own."""
    server = Wayward(steps)
    application = web.Application()
    application.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}/iss"
    try:
        yield server
    finally:
        await runner.cleanup()


def says(text: str | bytes, status: int = 200, content_type: str = "application/json", **headers: str) -> Step:
    """Answer with *text*; headers' underscores are dashes."""

    async def step(request: web.Request) -> web.StreamResponse:
        named: dict[str, Any] = {"Date": DATE, **{name.replace("_", "-"): value for name, value in headers.items()}}
        body = text.encode() if isinstance(text, str) else text
        return web.Response(body=body, status=status, content_type=content_type, headers=named)

    return step


async def resets(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    if request.transport:
        request.transport.abort()
    return web.Response()


async def hangs(request: web.Request) -> web.StreamResponse:
    """Send nothing until the client gives up."""
    while request.transport is not None:  # noqa: ASYNC110 - aiohttp tells it in no other way
        await asyncio.sleep(0.05)
    return web.Response()


async def cuts(request: web.Request) -> web.StreamResponse:
    """Announce more bytes than are sent."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json", "Date": DATE})
    await response.prepare(request)
    await response.write(b'{"boards": ')
    if request.transport:
        request.transport.abort()
    return response
