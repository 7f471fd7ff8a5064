"""What each image is tried with: not its tests, which the code has had, but that all it needs is in it."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from infra.images.building import Image
from infra.images.container import Container
from infra.installing.report import SetupFailed
from lakehouse.cache import cache_dir
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.ports import free_port
from lakehouse.processes import ServerProcess

USER = 10001
OF_THE_USER = ("/var/lib/lakehouse", "/run/lakehouse")
FOR_ALL = ("/tmp", "/var/tmp", "/run/lock", "/dev", "/proc")
NOT_WANTED = ("/usr/bin/cc", "/usr/bin/gcc", "/usr/bin/javac", "/opt/uv", "/var/cache/uv", "/root/.cache", "/build")
MERGE = """
from delta import DeltaTable
from lakehouse.engines.spark import start_spark
spark = start_spark(work_dir="/var/lib/lakehouse/spark")
place = "/var/lib/lakehouse/table"
spark.sql("SELECT id, 0 AS value FROM range(10)").write.format("delta").save(place)
new = spark.sql("SELECT id, 1 AS value FROM range(5, 15)")
table = DeltaTable.forPath(spark, place)
into = table.alias("old").merge(new.alias("new"), "old.id = new.id")
into.whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
rows = spark.read.format("delta").load(place)
print(rows.count(), rows.where("value = 1").count(), spark.version)
"""
RUN = """
import subprocess, sys, time
from pathlib import Path
from lakehouse.sandbox.host import Sandbox
place = Path("/run/lakehouse/sandbox.sock")
runner = [sys.executable, "-m", "lakehouse.sandbox.runner", "--socket", str(place)]
with subprocess.Popen(runner, stdin=subprocess.PIPE) as process:
    sandbox = Sandbox(place)
    until = time.monotonic() + 120
    while (why := sandbox.why_off()) and time.monotonic() < until:
        if "is starting" not in why and "does not answer" not in why:
            break
        time.sleep(0.2)
    outcome = sandbox.run("print(pd.Series([1, 44]).sum())", b"", user="trial") if why is None else None
    process.terminate()
print(why or (outcome.status, *(item.text.strip() for item in outcome.items)))
"""


@dataclass(frozen=True)
class Database:
    """A PostgreSQL for the trials: its address for the owner, and the password of the app's own login."""

    dsn: str
    app_password: str

    @property
    def app_dsn(self) -> str:
        place = conninfo_to_dict(self.dsn)
        return f"postgresql://lakehouse_web:{self.app_password}@{place['host']}:{place['port']}/{place['dbname']}"


@contextmanager
def database(folder: Path) -> Iterator[Database]:
    """Run an empty one in *folder* while the block runs."""
    with EmbeddedPostgres(folder, fsync=False) as server:
        yield Database(server.dsn, secrets.token_hex(16))


def try_files(image: Image) -> str:
    """Check that its user is ours, can change nothing but its own folders, and finds no compiler or cache."""
    if image.user != f"{USER}:{USER}":
        raise SetupFailed(f"the image {image.name} runs as {image.user or 'root'}, not as {USER}:{USER}")
    if found := [name for name in NOT_WANTED if (image.root / name[1:]).exists()]:
        raise SetupFailed(f"the image {image.name} holds {', '.join(found)}, which was only needed to build it")
    count = 0
    for path in _all_below(image.root):
        inside = "/" + str(path.relative_to(image.root))
        if inside not in OF_THE_USER and _may_change(path.lstat()):
            raise SetupFailed(f"the image {image.name}: its user can change {inside}")
        count += 1
    return f"{count:,} files, none its user's"


def try_worker(image: Image, given: Database) -> str:
    """Migrate *given*, and merge into a table of Delta."""
    owner = {"LAKEHOUSE_DATABASE_URL": given.dsn, "LAKEHOUSE_APP_PASSWORD": given.app_password}
    container = Container(image, environment=owner)
    if "rebuild" not in container.said("lakehouse", "--help"):
        raise SetupFailed("lakehouse --help in the image worker lists no commands")
    migrated = container.said("lakehouse", "migrate").splitlines()[0]
    merged = container.said("python", "-", told=MERGE).split()
    if merged[:2] != ["15", "10"]:
        raise SetupFailed(f"a MERGE in the image worker gave {merged[:2]}, expected 15 rows and 10 of them new")
    return f"lakehouse --help; {migrated[:40]}...; a MERGE on Spark {merged[2]}"


def try_web(image: Image, given: Database) -> str:
    """Serve pages and API, on the database that the worker's image migrated."""
    port = free_port()
    settings = {"LAKEHOUSE_DATABASE_URL": given.app_dsn, "LAKEHOUSE_PORT": str(port)}
    container = Container(image, ("/var/lib/lakehouse", "/run/lakehouse"), environment=settings)
    command = container.command("python", "-m", "gradio_app.server")
    with ServerProcess("the image web", command, {}, cache_dir() / "setup.log", (port, "/api/v1/health"), 120):
        pass
    # Only this imports DuckDB, in a process of its own
    container.said("python", "-c", "import lakehouse.serving.lake_sql.duckdb_child")
    return "pages and API answer /api/v1/health"


def try_sandbox(image: Image) -> str:
    """Let the runner test itself, then run a program: without a network, and with a root that cannot be written."""
    container = Container(image, OF_THE_USER, has_network=False)
    said = container.said("python", "-", told=RUN).strip()
    if "'done', '45'" not in said:
        raise SetupFailed(f"the image sandbox: {said}")
    return "its self-test passed without a network, and a program ran"


def try_functions(image: Image) -> str:
    """Have a stage made ready for deployment, from a copy of the package."""
    container = Container(image)
    said = container.said(
        "python", "-c", "from infra.aws.deployment import PROJECT; print((PROJECT / 'app.py').is_file())"
    )
    if said.split() != ["True"]:
        raise SetupFailed("the image functions holds no package")
    version = container.said("chalice", "--version").strip()
    return f"its package is there; {version.split(',')[0]}"


def _all_below(root: Path) -> Iterator[Path]:
    left_out = {str(root / name[1:]) for name in FOR_ALL}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in left_out]
        yield from (Path(folder, name) for name in (*folders, *files))


def _may_change(status: os.stat_result) -> bool:
    if stat.S_ISLNK(status.st_mode):
        return False
    return USER in (status.st_uid, status.st_gid) or bool(status.st_mode & stat.S_IWOTH)
