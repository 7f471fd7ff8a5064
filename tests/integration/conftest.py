"""What several modules share: a chain that nothing disturbed, and the functions as they are deployed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from infra.aws.package import make_package
from infra.aws.third_party import python_version, third_party
from infra.localstack.server import LocalStackServer
from lakehouse.database.connection import connect
from lakehouse.database.migrate import migrate
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.ports import free_port
from tests.deployed import Deployed, deploy
from tests.killing import Calm, Chain, Mortal, SlowExchange, copied_database, hashes, shown, slow_exchange

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LANDED = Path(__file__).parent / "first_landed" / "database.sql"


@pytest.fixture(scope="module")
def market() -> Iterator[SlowExchange]:
    """Return an exchange of the module's own."""
    with slow_exchange() as exchange:
        yield exchange


@pytest.fixture(scope="session")
def calm(
    spark: SparkSession, postgres: EmbeddedPostgres, migrated_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Calm]:
    """Return the whole chain after a run without a kill."""
    with slow_exchange() as exchange, copied_database(postgres.dsn, migrated_database) as dsn:
        chain = Chain.over(exchange, dsn, tmp_path_factory.mktemp("calm"))
        chain.fetch(chain.plan())
        chain.merge(spark)
        chain.publish(spark)
        yield Calm(chain, hashes(chain.lake), shown(dsn))


@pytest.fixture
def landed(postgres: EmbeddedPostgres, dsn: str) -> Iterator[str]:
    """Return the address of a database as the first schema that landed left it (the roles are the server's)."""
    name = f"landed_{uuid.uuid4().hex}"
    with connect(postgres.dsn) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        address = make_conninfo(postgres.dsn, dbname=name)
        with psycopg.connect(address, autocommit=True) as filling:
            filling.execute(LANDED.read_bytes())
        yield address
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def mortal_server(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """Return a server that tests may stop, kill and freeze; its database `migrated` is one to copy."""
    with EmbeddedPostgres(open_folder / "mortal", free_port(), fsync=False) as server:
        with connect(server.dsn) as conn:
            conn.execute("CREATE DATABASE migrated")
        migrate(make_conninfo(server.dsn, dbname="migrated"))
        yield server


@pytest.fixture
def mortal(mortal_server: EmbeddedPostgres) -> Iterator[Mortal]:
    """Return it, running, with a fresh database."""
    if mortal_server.poll() is not None:
        mortal_server.start(patience_s=120)
    with copied_database(mortal_server.dsn, "migrated") as dsn:
        yield Mortal(mortal_server, dsn)
        if mortal_server.poll() is not None:
            mortal_server.start(patience_s=120)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the functions' package, made of packages that the cache keeps."""
    made = tmp_path_factory.mktemp("package") / "functions.zip"
    make_package(made, third_party(python_version()))
    return made


@pytest.fixture(scope="session")
def deployed(
    localstack: LocalStackServer,
    postgres: EmbeddedPostgres,
    migrated_database: str,
    simulator: str,
    archive: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Deployed:
    """Return the functions on LocalStack, one deployment for all tests: 20 s."""
    dsn = make_conninfo(postgres.dsn, dbname="deployed")
    return deploy(localstack, dsn, migrated_database, simulator, archive, tmp_path_factory.mktemp("deployed"))
