"""
Pages of candles that the simulator serves in a second, over a real socket.

    python benchmarks/simulator_pages.py [--seconds 5] [--connections 8]

Each page has 500 rows. `cold` pages are of minutes that no one asked for before: they are made, then served; `warm`
ones are served again. Beside the pages in a second of the clock, which the client and other programs slow down, stand
the pages in a second of the server's processor time: what one core of its own would give.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

_BOARD = "/iss/engines/stock/markets/shares/boards/TQBR/securities"
_MONTHS = [f"{year}-{month:02}" for year in (2023, 2024, 2025) for month in range(1, 13)]


@dataclass(frozen=True)
class Server:
    """A simulator that runs."""

    pid: int
    port: int

    def processor_s(self) -> float:
        """Return the seconds of processor time that it has used; 0 where the system does not tell."""
        stat = Path(f"/proc/{self.pid}/stat")
        if not stat.exists():
            return 0
        return sum(map(int, stat.read_text().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def _paths(months: list[str], secids: list[str], pages: int) -> Iterator[str]:
    for secid in secids:
        for month in months:
            for page in range(pages):
                span = f"from={month}-01&till={month}-28"
                yield f"{_BOARD}/{secid}/candles.json?iss.only=candles&interval=1&{span}&start={page * 500}"


async def _read(host: str, port: int, paths: Iterator[str], until: float) -> tuple[int, int]:
    """Read pages over one connection until *paths* or the time end; return pages and bytes."""
    reader, writer = await asyncio.open_connection(host, port)
    pages = size = 0
    for path in paths:
        if time.monotonic() > until:
            break
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if body.count(b"],[") != 499:
            raise RuntimeError(f"{path}: expected 500 rows, received {body.count(b'],[') + 1}: {body[:200]!r}")
        pages, size = pages + 1, size + length
    writer.close()
    return pages, size


async def _measure(name: str, server: Server, paths: Iterator[str], connections: int, seconds: float) -> None:
    started, used = time.monotonic(), server.processor_s()
    read = [_read("127.0.0.1", server.port, paths, started + seconds) for _ in range(connections)]
    counts = await asyncio.gather(*read)
    took, used = time.monotonic() - started, server.processor_s() - used
    pages, size = (sum(count[at] for count in counts) for at in (0, 1))
    core = f"{pages / used:7.0f} pages/s of a core" if used else "processor time unknown here"
    speed = f"{pages / took:7.0f} pages/s  {pages * 500 / took:10.0f} rows/s  {size / took / 2**20:5.0f} MiB/s"
    print(f"{name}: {speed}  {core}")


async def _run(server: Server, connections: int, seconds: float) -> None:
    secids = ["SBER", "GAZP", "LKOH", "ROSN"]
    await _measure("cold", server, _paths(_MONTHS, secids, 26), connections, seconds)
    warm = list(_paths(_MONTHS[-2:], secids, 26))
    await _measure("load", server, iter(warm), connections, 60)
    await _measure("warm", server, cycle(warm), connections, seconds)


def main() -> None:
    """Start the simulator as a process of its own, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="how long each kind is measured")
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    command = [sys.executable, "-m", "lakehouse.simulator", "--frozen"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as simulator:
        try:
            ready = simulator.stdout.readline() if simulator.stdout else ""
            port = int(ready.removesuffix("/iss\n").rsplit(":", 1)[1])
            asyncio.run(_run(Server(simulator.pid, port), options.connections, options.seconds))
        finally:
            simulator.terminate()


if __name__ == "__main__":
    main()
