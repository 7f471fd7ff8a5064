"""The command that runs the exchange: ``python -m lakehouse.simulator``."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import sys
from collections.abc import Sequence
from pathlib import Path

from lakehouse.market.errors import BadInput
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.protocol import Exchange
from lakehouse.simulator.recorded import RecordedExchange
from lakehouse.simulator.server import serve
from lakehouse.simulator.weather import CALM, Faults, Weather


def open_exchange(seed: int = 1, recorded: Path | None = None) -> Exchange:
    """Return the exchange made from *seed*, or the one *recorded* in a folder; BadInput if that holds nothing."""
    return MadeExchange(seed) if recorded is None else RecordedExchange(recorded)


def start_clock(exchange: Exchange, now: dt.datetime | None = None, frozen: bool = False) -> Clock:
    """Return a clock at *now*, or where the exchange starts; BadInput if the exchange does not reach so far."""
    now = now or exchange.default_now
    if not exchange.first_moment <= now <= exchange.last_moment:
        raise BadInput(f"now is {now}: this exchange exists from {exchange.first_moment} to {exchange.last_moment}")
    return Clock(now, frozen)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the exchange until SIGTERM or SIGINT; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        exchange = open_exchange(options.seed, options.recorded)
        clock = start_clock(exchange, options.now, options.frozen)
        asyncio.run(serve(exchange, clock, Faults(weather=options.weather), options.host, options.port, _say_ready))
    except (BadInput, OSError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


def _say_ready(url: str) -> None:
    sys.stdout.write(f"simulator ready {url}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("lakehouse simulator", description="An exchange that speaks ISS.")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--seed", type=int, default=1, help="the market's seed (default 1)")
    parser.add_argument("--recorded", type=Path, metavar="DIR", help="serve recorded CSV files, no made market")
    parser.add_argument(
        "--now", type=dt.datetime.fromisoformat, metavar="TIME", help='Moscow time of its clock, "2026-07-01 06:00:00"'
    )
    parser.add_argument("--frozen", action="store_true", help="let the clock stand still")
    parser.add_argument(
        "--weather",
        type=_weather,
        metavar="SEED:RATE",
        default=CALM,
        help='let each request suffer a fault with a probability, "7:0.2" one in five; the same for the same seed. '
        "Other faults and their end: PUT and DELETE /_simulator/faults and /_simulator/weather",
    )
    return parser


def _weather(text: str) -> Weather:
    seed, _, rate = text.partition(":")
    try:
        return Weather(int(seed), float(rate))
    except (ValueError, BadInput) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no weather: expected SEED:RATE such as 7:0.2") from error
