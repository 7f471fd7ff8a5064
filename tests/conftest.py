"""The real services that tests use, as session fixtures."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from psycopg import sql
from psycopg.conninfo import make_conninfo

from infra.installing.browser import find_chromium, how_to_install
from infra.installing.go_program import how_to_install as how_to_install_minio
from infra.installing.lambda_runtime import has_lambda_runtime
from infra.installing.localstack import how_to_install as how_to_install_localstack
from infra.installing.localstack import is_installed as has_localstack
from infra.localstack.server import LocalStackServer
from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.engines.jars import SparkNotInstalled
from lakehouse.engines.spark import start_spark
from lakehouse.simulator.clock import Clock
from lakehouse.simulator.exchange import MadeExchange
from lakehouse.simulator.server import running
from lakehouse.storage.minio import MinioServer, minio_program
from lakehouse.storage.store import Store, open_store
from tests.components import RECORDED, require
from tests.together import Together
from tests.up_process import MADE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Few examples on every push, thousands by `make torture`; machines are slow at times, so nothing goes by the clock
_UNHURRIED: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("push", max_examples=25, **_UNHURRIED)
settings.register_profile("torture", max_examples=5000, **_UNHURRIED)
settings.load_profile("push")


# Half of what Spark computes for small tables is the JVM's second compiler, at work for a large one that never comes
_LATER = 10
_TIER_4 = {"Invocation": 5_000, "MinInvocation": 600, "Compile": 15_000, "BackEdge": 40_000}  # the JVM's own
os.environ.setdefault("SPARK_SUBMIT_OPTS", " ".join(f"-XX:Tier4{n}Threshold={_LATER * v}" for n, v in _TIER_4.items()))

FOLDERS = ("unit", "property", "contract", "integration", "sandbox", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Run the quick folders first, the browser last; all of the property folder is torture.

    Playwright keeps an event loop running in the main thread until its fixture ends: no coroutine can be run meanwhile.
    So it is with two processes (`make test`), each of which takes file after file in this order.
    """
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0]
        return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)

    items.sort(key=place)
    for item in items:
        if place(item) == FOLDERS.index("property"):
            item.add_marker("torture")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Share files out between processes (`make test`)."""
    return Together(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show, with a test that failed, what the platforms that are there said, be they its own or its module's."""
    report = yield
    if report.failed:
        for platform in MADE:
            if platform.terminal.exists():  # it was begun, and its folder is still there
                report.sections.append((f"terminal of {platform.data}", platform.said()[-10_000:]))
    return report


@pytest.fixture(autouse=True)
def _every_line_is_logged() -> Iterator[None]:
    """A command that an earlier test ran in this process chose how much is logged: no test depends on that."""
    handlers, level = logging.getLogger().handlers, logging.getLogger().level
    structlog.reset_defaults()
    yield
    logging.getLogger().handlers = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="session")
def recorded_dir() -> Path:
    """Return the folder of the exchange's recorded data, which may not be redistributed and so is no part of this."""
    if not RECORDED.is_dir():
        pytest.skip(f"the recorded data is not at {RECORDED}")
    return RECORDED


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """Return the Chromium that the tests of the pages drive."""
    return find_chromium() or require("Chromium", how_to_install())


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """Return a folder that PostgreSQL's own user can enter too (pytest's are closed to it, as root)."""
    folder = Path(tempfile.mkdtemp(prefix="lakehouse-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """Return a running server, one for all tests."""
    with EmbeddedPostgres(open_folder / "postgres", fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(postgres: EmbeddedPostgres) -> str:
    """Return the name of a database with all migrations, from which others are copied."""
    with connect(postgres.dsn) as conn:
        conn.execute("CREATE DATABASE migrated")
    migrate(make_conninfo(postgres.dsn, dbname="migrated"))
    return "migrated"


@pytest.fixture
def dsn(postgres: EmbeddedPostgres, migrated_database: str) -> Iterator[str]:
    """Return the address of a fresh database with all migrations, dropped after the test."""
    database = f"test_{uuid.uuid4().hex}"
    name = sql.Identifier(database)
    with connect(postgres.dsn) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(migrated_database)))
        yield make_conninfo(postgres.dsn, dbname=database)
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """Return a running MinIO, one for all tests."""
    if not minio_program().is_file():
        require("MinIO", how_to_install_minio())
    with MinioServer(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def localstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStackServer]:
    """Return a running LocalStack, one for all tests."""
    if not (has_localstack() and has_lambda_runtime()):
        require("LocalStack", how_to_install_localstack())
    with LocalStackServer(tmp_path_factory.mktemp("localstack")) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty object store in a folder."""
    return open_store(str(tmp_path / "store"))


@pytest.fixture(scope="session")
def simulator() -> Iterator[str]:
    """Return the address of a made exchange whose clock stands still, one for all tests: change nothing there."""
    exchange = MadeExchange(seed=1)
    with running(exchange, Clock(exchange.default_now, frozen=True)) as address:
        yield address


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Return the Spark session of all tests: it takes 8 s to start."""
    try:
        session = start_spark("local[2]", with_s3=True, work_dir=tmp_path_factory.mktemp("spark"))
    except SparkNotInstalled as error:
        require("Spark", str(error))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def interpreting(spark: SparkSession) -> SparkSession:
    """Return a session that compiles no query, as Silver's for small tables: that takes longer than to interpret it."""
    session = spark.newSession()
    session.conf.set("spark.sql.shuffle.partitions", "2")
    session.conf.set("spark.sql.codegen.wholeStage", "false")
    session.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    return session
