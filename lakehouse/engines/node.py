"""
One process of a cluster on a machine or in a container of its own: ``python -m lakehouse.engines.node ROLE ...``.

It is replaced by the program of Spark or Dask, so signals reach that one.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from lakehouse.engines.jars import java_home
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.ports import LOOPBACK

ROLES = ("spark-master", "spark-worker", "dask-scheduler", "dask-worker")


@dataclass(frozen=True)
class Node:
    """A program with its arguments, and what it needs of the environment beside our own."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def spark_master(host: str, port: int, page: int) -> Node:
    """Return Spark's standalone master, which workers and drivers reach as *host*."""
    return _spark("master.Master", ["--host", host, "--port", str(port), "--webui-port", str(page)])


def spark_worker(master: str, page: int, folder: Path, memory: str = "1g") -> Node:
    """Return a worker of one core that keeps its files in *folder*; its executors have *memory* at most."""
    give = ["--cores", "1", "--memory", memory, "--work-dir", str(folder / "work")]
    node = _spark("worker.Worker", ["--host", own_address(master), "--webui-port", str(page), *give, master])
    folder.mkdir(parents=True, exist_ok=True)
    # Executors unpack Parquet's codecs, which are programs, into the JVM's temporary folder: /tmp often allows none
    there = {"SPARK_LOCAL_DIRS": str(folder / "local"), "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={folder}"}
    return Node(node.command, {**node.environment, **there})


def dask_scheduler(host: str, port: int, page: int) -> Node:
    """Return Dask's scheduler, reached as *host*."""
    return _dask("scheduler", page, ["--host", host, "--port", str(port)])


def dask_worker(scheduler: str, page: int, folder: Path, threads: int = 2) -> Node:
    """Return a worker of *threads* threads that keeps its files in *folder*."""
    options = ["--nthreads", str(threads), "--no-nanny", "--local-directory", str(folder)]
    return _dask("worker", page, [scheduler, "--host", own_address(scheduler), *options])


def own_address(master: str) -> str:
    """
    Return by which address *master* (``spark://host:port``, ``tcp://host:port``) reaches this machine.

    That is the one by which we reach it: of several networks that a machine is in, the one they share.

    Raises:
        BadInput: if *master* is no such address.
        LakehouseError: if its host cannot be reached.
    """
    parts = urlsplit(master)
    if not parts.hostname or not parts.port:
        raise BadInput(f"{master} is no address of a master: write spark://HOST:PORT or tcp://HOST:PORT")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
            route.connect((parts.hostname, parts.port))  # of a datagram socket: nothing is sent
            address: str = route.getsockname()[0]
    except OSError as error:
        raise LakehouseError(f"{parts.hostname} cannot be reached ({error}): does {master} run?") from error
    return address


def _spark(module: str, arguments: Sequence[str]) -> Node:
    package = find_spec("pyspark")
    if package is None or package.origin is None:
        raise LakehouseError("PySpark is missing: run make setup")
    program = Path(package.origin).parent / "bin" / "spark-class"
    settings = {"JAVA_HOME": str(java_home()), "SPARK_DAEMON_MEMORY": "256m", "SPARK_NO_DAEMONIZE": "1"}
    return Node([str(program), f"org.apache.spark.deploy.{module}", *arguments], settings)


def _dask(role: str, page: int, arguments: Sequence[str]) -> Node:
    listen = ["--dashboard-address", f"{LOOPBACK}:{page}"]
    return Node([sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments, *listen])


def _chosen(options: argparse.Namespace) -> Node:
    if options.role == "spark-master":
        return spark_master(options.host, options.port, options.page)
    if options.role == "spark-worker":
        return spark_worker(options.master, options.page, options.folder, options.memory)
    if options.role == "dask-scheduler":
        return dask_scheduler(options.host, options.port, options.page)
    return dask_worker(options.master, options.page, options.folder, options.threads)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m lakehouse.engines.node", description="One process of a cluster.")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--host", default=LOOPBACK, help="of a master: the name or address that others reach it by")
    parser.add_argument("--port", type=int, default=0, help="of a master: where it listens")
    parser.add_argument("--master", default="", help="of a worker: spark://HOST:PORT, or tcp://HOST:PORT of Dask's")
    parser.add_argument("--page", type=int, required=True, help="port of the page that tells how it is")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="of a worker: where its files lie")
    parser.add_argument("--memory", default="1g", help="of a Spark worker: what its executors may take")
    parser.add_argument("--threads", type=int, default=2, help="of a Dask worker")
    return parser


def main() -> int:
    """Become the program; return 1 with one line on standard error when that cannot be."""
    try:
        node = _chosen(_parser().parse_args())
    except LakehouseError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    os.execve(node.command[0], list(node.command), {**os.environ, **node.environment})


if __name__ == "__main__":
    sys.exit(main())
