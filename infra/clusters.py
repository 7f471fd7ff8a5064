"""Spark's standalone cluster and Dask's on loopback: what runs on one machine here runs on many elsewhere."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lakehouse.engines.node import Node, dask_scheduler, dask_worker, spark_master, spark_worker
from lakehouse.market.errors import LakehouseError
from lakehouse.ports import LOOPBACK, direct, free_port
from lakehouse.processes import ServerProcess

_REGISTERED_WITHIN_S = 600
_OF_JAVA = ("JDK_JAVA_OPTIONS",)  # for the JVMs of the cluster, executors among them


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
    master = _server("Spark's master", spark_master(LOOPBACK, port, page), folder / "master", page, "/")
    started = [_spark_worker(address, folder / f"worker-{number}") for number in range(workers)]
    with _running([master, *started]):
        _wait_for_workers(page, workers)
        yield Cluster(address, started)


@contextmanager
def dask_cluster(folder: Path, workers: int = 2, threads: int = 2) -> Iterator[Cluster]:
    """Run a scheduler and *workers* workers of *threads* threads while the block runs; logs lie in *folder*."""
    port, page = free_port(), free_port()
    address = f"tcp://{LOOPBACK}:{port}"
    scheduler = _server("Dask's scheduler", dask_scheduler(LOOPBACK, port, page), folder / "scheduler", page, "/health")
    started = [_dask_worker(address, folder / f"worker-{number}", threads) for number in range(workers)]
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


def _spark_worker(master: str, folder: Path) -> ServerProcess:
    page = free_port()
    return _server("Spark's worker", spark_worker(master, page, folder), folder, page, "/")


def _dask_worker(scheduler: str, folder: Path, threads: int) -> ServerProcess:
    page = free_port()
    return _server("Dask's worker", dask_worker(scheduler, page, folder, threads), folder, page, "/health")


def _server(name: str, node: Node, folder: Path, page: int, path: str) -> ServerProcess:
    # Spark shows its page to everyone without the address, and Dask looks for a configuration in HOME
    here = {"HOME": str(folder), "SPARK_LOCAL_IP": LOOPBACK}
    here |= {name: os.environ[name] for name in _OF_JAVA if name in os.environ}
    return ServerProcess(name, node.command, {**here, **node.environment}, folder / "node.log", (page, path))


def _wait_for_workers(page: int, workers: int) -> None:
    until = time.monotonic() + _REGISTERED_WITHIN_S
    while (alive := _alive_workers(page)) < workers:
        if time.monotonic() > until:
            raise LakehouseError(f"{alive} of {workers} Spark workers had registered after {_REGISTERED_WITHIN_S} s")
        time.sleep(0.1)


def _alive_workers(page: int) -> int:
    with direct().open(f"http://{LOOPBACK}:{page}/json/", timeout=10) as answer:
        return int(json.load(answer)["aliveworkers"])
