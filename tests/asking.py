"""Processes of workers that ask an exchange within one budget, and an exchange that writes down when it was asked."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from aiohttp import web
from aiohttp.typedefs import Handler

from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.server import create_app
from lakehouse.simulator.weather import Faults

WORKERS = 4  # threads of a process, as a batch of windows has them
_PROCESS = """
import asyncio, contextlib, os, sys, threading, time
from lakehouse.database.breaker import Breaker, Pause
from lakehouse.database.budget import Budget
from lakehouse.iss.client import IssClient, Patience
from lakehouse.logs import configure_logs

url, dsn, rate_per_s, in_flight, seconds, workers = sys.argv[1:]

async def ask(until):
    budget = Budget(dsn, float(rate_per_s), int(in_flight))
    async with IssClient(url, budget, Patience(attempts=1), Breaker(dsn, Pause())) as client:
        while time.monotonic() < until and not ended.is_set():
            await client.get("/index.json", {"iss.only": "engines"})

def listen():
    os.read(0, 1)
    ended.set()

configure_logs("warning", "json")
with contextlib.suppress(PermissionError):  # what is measured is the budget, not what else runs here
    os.nice(-15)
print("ready", flush=True)
sys.stdin.readline()
until, ended = time.monotonic() + float(seconds), threading.Event()
threading.Thread(target=listen, daemon=True).start()
threads = [threading.Thread(target=lambda: asyncio.run(ask(until))) for _ in range(int(workers))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


class Arrivals:
    """
    When requests came, and how many were being answered at once.

    Attributes:
        at: Seconds of the monotonic clock, in order.
        paths: What they asked for, in order.
        most_in_flight: How many requests had come and were not answered yet, at most.
    """

    def __init__(self, latency_s: float) -> None:
        self.at: list[float] = []
        self.paths: list[str] = []
        self.most_in_flight = 0
        self._latency_s = latency_s
        self._in_flight = 0

    @web.middleware
    async def record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Write the request down, and take some time to answer it."""
        self.at.append(time.monotonic())
        self.paths.append(request.path)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            await asyncio.sleep(self._latency_s)
            return await handler(request)
        finally:
            self._in_flight -= 1

    def busiest_second(self) -> int:
        """Return how many requests came in the busiest second, wherever it begins."""
        return max(bisect.bisect_left(self.at, begin + 1) - number for number, begin in enumerate(self.at))

    def within(self, seconds: float, after_s: float = 0) -> int:
        """Return how many requests came in *seconds*, counted from *after_s* after the first."""
        begin = self.at[0] + after_s
        return bisect.bisect_right(self.at, begin + seconds) - bisect.bisect_left(self.at, begin)


@contextmanager
def recording(latency_s: float, faults: Faults | None = None) -> Iterator[tuple[str, Arrivals]]:
    """Serve a made exchange in a thread; yield its address, and when it was asked for what."""
    exchange, arrivals = MadeExchange(seed=1), Arrivals(latency_s)
    application = create_app(exchange, Clock(exchange.default_now, frozen=True), faults)
    application.middlewares.append(arrivals.record)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0, handler_cancellation=True)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> None:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -15)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

    asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/iss", arrivals
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def asking(
    url: str, dsn: str, *, rate_per_s: float, in_flight: int, processes: int, seconds: float
) -> Iterator[Sequence[subprocess.Popen[str]]]:
    """Yield processes that began together to ask for *seconds*, or until their input ends; none is left afterwards."""
    arguments = [url, dsn, rate_per_s, in_flight, seconds, WORKERS]
    command = [sys.executable, "-c", _PROCESS, *map(str, arguments)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    try:
        for process in running:
            piped(process.stdout).readline()
        for process in running:
            print(file=piped(process.stdin), flush=True)
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def piped(end: IO[str] | None) -> IO[str]:
    """Return our end of a pipe."""
    if end is None:
        raise RuntimeError("the process was started without this pipe")
    return end
