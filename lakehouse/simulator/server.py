"""The exchange as an HTTP server."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from aiohttp import web

from lakehouse.market.errors import BadInput
from lakehouse.simulator.answer import Block, render
from lakehouse.simulator.book import PAGE_ROWS
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.control import Control
from lakehouse.simulator.families import Families, Route, route
from lakehouse.simulator.faults import Asked
from lakehouse.simulator.protocol import Exchange
from lakehouse.simulator.query import Query
from lakehouse.simulator.transport import send_badly
from lakehouse.simulator.weather import Faults

_JSON = {"Content-Type": "application/json; charset=utf-8"}
_SHUTDOWN_S = 0.2
_NOT_FOUND = "<html><head><title>404 Not Found</title></head><body><h1>404 Not Found</h1><p>{path}</p></body></html>"


def create_app(exchange: Exchange, clock: Clock, faults: Faults | None = None) -> web.Application:
    """
    Return the exchange as an application: ISS below ``/iss``, its control below ``/_simulator``.

    Args:
        faults: What goes wrong; the control changes it, too.
    """
    families, faults = Families(exchange, clock), faults or Faults()
    control = Control(families, faults)

    async def answer(request: web.Request) -> web.StreamResponse:
        found = route(request.match_info["path"])
        if found is None:
            control.count("unknown path", is_served=False)
            return _not_found(request)
        try:
            query = Query(request.rel_url.raw_query_string)
            if faults.is_calm:
                blocks, fault = found.answer(families, found.segments, query), None
            else:
                blocks, fault = faults.answer(_asked(request, found, families, query))
            body = render(blocks, query)
        except BadInput as error:
            control.count(found.family, is_served=False)
            return web.Response(text=f"<html><body>{error}</body></html>", status=400, content_type="text/html")
        control.count(found.family, is_served=fault is None)
        return await send_badly(request, fault, body) if fault else web.Response(body=body, headers=_JSON)

    async def date(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = clock.http_date()

    async def not_found(request: web.Request) -> web.Response:
        return _not_found(request)

    app = web.Application()
    app.on_response_prepare.append(date)
    app.router.add_get("/iss/{path:.*}", answer)
    app.add_routes(control.routes())
    app.router.add_route("*", "/{path:.*}", not_found)
    return app


def _asked(request: web.Request, found: Route, families: Families, query: Query) -> Asked:
    @cache
    def blocks(start: int) -> list[Block]:
        return found.answer(families, found.segments, query.from_row(start))

    place = "/".join(part.upper() for part in found.segments.values())
    interval = query.interval if found.family == "candles" else ""
    return Asked(
        url=request.path_qs,
        family=found.family,
        secid=found.segments.get("secid", "").upper(),
        series=f"{found.family} {place} {interval}",
        start=query.start,
        page_rows=query.history_limit if found.family == "history" else PAGE_ROWS,
        answer=blocks,
        shows=query.shows,
    )


def _not_found(request: web.Request) -> web.Response:
    # The exchange, too, answers a path that it does not have with HTML (docs/iss.md section 8)
    path = request.path.replace("&", "&amp;").replace("<", "&lt;")
    return web.Response(text=_NOT_FOUND.format(path=path), status=404, content_type="text/html")


async def serve(
    exchange: Exchange, clock: Clock, faults: Faults, host: str, port: int, ready: Callable[[str], None]
) -> None:
    """
    Serve until SIGTERM or SIGINT; *port* 0 takes a free one.

    Args:
        ready: Called with the base address of ISS once it listens.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await _serve(create_app(exchange, clock, faults), host, port, ready, stop)


async def _serve(app: web.Application, host: str, port: int, ready: Callable[[str], None], stop: asyncio.Event) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        ready(f"http://{host}:{runner.addresses[0][1]}/iss")
        await stop.wait()
    finally:
        await runner.cleanup()


@contextmanager
def running(exchange: Exchange, clock: Clock, faults: Faults | None = None) -> Iterator[str]:
    """Serve in a thread on a free port of this machine; yield the base address of ISS (control lies beside it)."""
    started = threading.Event()
    address: list[str] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def ready(url: str) -> None:
        address.append(url)
        started.set()

    def run() -> None:
        try:
            loop.run_until_complete(_serve(create_app(exchange, clock, faults), "127.0.0.1", 0, ready, stop))
        finally:
            loop.close()
            started.set()

    thread = threading.Thread(target=run, name="simulator", daemon=True)
    thread.start()
    started.wait()
    if not address:
        raise RuntimeError("the simulator did not start; its thread's error is above")
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
