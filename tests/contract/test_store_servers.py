"""MinIO and LocalStack as programs: where they listen, and how they end."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from infra.localstack.server import LocalStackServer
from lakehouse.market.errors import LakehouseError
from lakehouse.storage.minio import MinioNotInstalled, MinioServer
from lakehouse.storage.store import open_store
from tests.stores import S3Server, empty_store, make_bucket, options


@pytest.fixture(params=["minio", "localstack"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Return each server in turn."""
    served: S3Server = request.getfixturevalue(request.param)
    return served


def test_a_server_listens_on_loopback_only(server: S3Server) -> None:
    """Nobody else on the network reaches it, whatever it would do by itself."""
    make_bucket(server)
    main = psutil.Process(server.pid)
    listening = [
        connection.laddr.ip
        for process in (main, *main.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or not connection.raddr
    ]
    assert "127.0.0.1" in listening
    assert set(listening) <= {"127.0.0.1", "::1"}


def test_a_stopped_server_leaves_no_process(server: S3Server, tmp_path: Path) -> None:
    """However busy it was."""
    own = type(server)(tmp_path)
    own.start()
    empty_store(own, tmp_path).put("iss/a", b"body")
    others = psutil.Process(own.pid).children(recursive=True)
    pid = own.pid
    own.stop()
    assert not any(psutil.pid_exists(each) for each in (pid, *(other.pid for other in others)))


def test_credentials_are_random(minio: MinioServer, localstack: LocalStackServer, tmp_path: Path) -> None:
    """There is no default password, and no two servers share one."""
    servers: list[S3Server] = [minio, localstack, MinioServer(tmp_path), LocalStackServer(tmp_path)]
    assert len({each.secret_access_key for each in servers}) == 4
    assert len({each.access_key_id for each in servers}) == 4


def test_minio_keeps_objects_and_credentials_when_started_again(minio: MinioServer, tmp_path: Path) -> None:
    """A restart is no loss."""
    with MinioServer(tmp_path) as own:
        store = empty_store(own, tmp_path)
        store.put("iss/a", b"body")
    own.start()
    assert open_store(store.url, options(own)).get("iss/a") == b"body"
    own.stop()


def test_a_taken_port_is_one_clear_error(minio: MinioServer, tmp_path: Path) -> None:
    """Another server's answers are not taken for its own."""
    with pytest.raises(LakehouseError, match=r"MinIO did not start: port \d+ is taken; choose another, or stop what"):
        MinioServer(tmp_path, port=minio.port).start()


def test_a_missing_minio_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says what brings it."""
    monkeypatch.setenv("LAKEHOUSE_CACHE_DIR", str(tmp_path))
    with pytest.raises(
        MinioNotInstalled, match=r"MinIO is missing: no /.*/minio; run: python3 infra/setup\.py --with-st"
    ):
        MinioServer(tmp_path).start()
