"""Spark's standalone cluster and Dask's on loopback: what runs on one machine here runs on many elsewhere."""

from __future__ import annotations

import json
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from lakehouse.engines.jars import java_home
from lakehouse.market.errors import LakehouseError
from lakehouse.ports import LOOPBACK, free_port
from lakehouse.processes import ServerProcess

_REGISTERED_WITHIN_S = 60


@dataclass(frozen=True)
class Cluster:
    """What a driver or client is to connect to, and the workers, which may be killed one by one."""

    address: str
    workers: list[ServerProcess]


@contextmanager
def spark_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Run a standalone master and *workers* workers of one core while the block runs; all files lie in *folder*."""
    port, page = free_port(), free_port()
    address = f"spark://{LOOPBACK}:{port}"
    master = _spark("master.Master", ["--port", str(port)], folder / "master", page)
    give = ["--cores", "1", "--memory", "1g", address]
    places = [folder / f"worker-{number}" for number in range(workers)]
    started = [_spark("worker.Worker", ["--work-dir", str(place), *give], place, free_port()) for place in places]
    with _running([master, *started]):
        _wait_for_workers(page, workers)
        yield Cluster(address, started)


@contextmanager
def dask_cluster(folder: Path, workers: int = 2, threads: int = 2) -> Iterator[Cluster]:
    """Run a scheduler and *workers* workers of *threads* threads while the block runs; logs lie in *folder*."""
    port = free_port()
    address = f"tcp://{LOOPBACK}:{port}"
    scheduler = _dask("scheduler", ["--port", str(port)], folder / "scheduler")
    options = [address, "--nthreads", str(threads), "--no-nanny"]
    places = [folder / f"worker-{number}" for number in range(workers)]
    started = [_dask("worker", [*options, "--local-directory", str(place)], place) for place in places]
    with _running([scheduler, *started]):
        yield Cluster(address, started)


@contextmanager
def _running(servers: Sequence[ServerProcess]) -> Iterator[None]:
    """Start all at once: the workers go on asking until the first of them answers."""
    with ExitStack() as stack, ThreadPoolExecutor(len(servers)) as pool:
        for server in servers:
            stack.callback(server.stop)
        list(pool.map(ServerProcess.start, servers))
        yield


def _spark(module: str, arguments: list[str], folder: Path, page: int) -> ServerProcess:
    program = Path(pyspark.__file__).parent / "bin" / "spark-class"
    return ServerProcess(
        f"Spark's {module.partition('.')[0]}",
        [program, f"org.apache.spark.deploy.{module}", "--host", LOOPBACK, "--webui-port", str(page), *arguments],
        {
            "JAVA_HOME": str(java_home()),
            "SPARK_LOCAL_IP": LOOPBACK,  # else its page is shown to everyone
            "SPARK_LOCAL_DIRS": str(folder / "local"),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_NO_DAEMONIZE": "1",
        },
        folder / "spark.log",
        (page, "/"),
    )


def _dask(role: str, arguments: list[str], folder: Path) -> ServerProcess:
    page = free_port()
    listen = ["--host", LOOPBACK, "--dashboard-address", f"{LOOPBACK}:{page}"]
    return ServerProcess(
        f"Dask's {role}",
        [sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments, *listen],
        {"HOME": str(folder)},  # where it looks for a configuration
        folder / "dask.log",
        (page, "/health"),
    )


def _wait_for_workers(page: int, workers: int) -> None:
    until = time.monotonic() + _REGISTERED_WITHIN_S
    while (alive := _alive_workers(page)) < workers:
        if time.monotonic() > until:
            raise LakehouseError(f"{alive} of {workers} Spark workers had registered after {_REGISTERED_WITHIN_S} s")
        time.sleep(0.1)


def _alive_workers(page: int) -> int:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{page}/json/", timeout=10) as answer:
        return int(json.load(answer)["aliveworkers"])
