"""The web process over TLS, and behind a proxy, as other programs meet it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.response import addinfourl

import pytest

from lakehouse.access.users import create_user
from lakehouse.database.connection import connect
from lakehouse.listening import local_trust
from lakehouse.ports import free_port
from lakehouse.settings import Settings
from tests.certificates import made_certificate

pytestmark = pytest.mark.postgres
PASSWORD = "correct horse battery"


@contextmanager
def serving_api(dsn: str, **settings: str) -> Iterator[int]:
    """Run the API in a process of its own; give its port."""
    port = free_port()
    environment = {**os.environ, "LAKEHOUSE_DATABASE_URL": dsn, "LAKEHOUSE_PORT": str(port), **settings}
    command = [sys.executable, "-m", "functions.embedded", "api"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as process:
        try:
            yield port
        finally:
            process.terminate()


def asked(url: str, trusted: ssl.SSLContext | None = None, body: object = None, **headers: str) -> addinfourl:
    """Ask until the server has started."""
    data = None if body is None else json.dumps(body).encode()
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    until = time.monotonic() + 300
    while True:
        try:
            answer: addinfourl = urllib.request.urlopen(
                urllib.request.Request(url, data, named), timeout=60, context=trusted
            )
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            if time.monotonic() > until or "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise
            time.sleep(0.1)
        else:
            return answer


def test_passwords_go_over_tls(dsn: str, tmp_path: Path) -> None:
    """The platform's own calls trust the configured certificate and no other; the cookie never goes without TLS."""
    certificate, key = made_certificate(tmp_path)
    trusted = local_trust(Settings(tls_certificate=certificate, tls_key=key))
    stranger = local_trust(Settings(tls_certificate=made_certificate(tmp_path, "other.test")[0], tls_key=key))
    with connect(dsn) as conn:
        create_user(conn, "anna", PASSWORD, "viewer")
    tls = {"LAKEHOUSE_TLS_CERTIFICATE": str(certificate), "LAKEHOUSE_TLS_KEY": str(key)}
    with serving_api(dsn, LAKEHOUSE_HOST="0.0.0.0", **tls) as port:
        url = f"https://127.0.0.1:{port}/v1"
        with asked(f"{url}/health", trusted) as answer:
            assert answer.status == 200
        for other in (stranger, ssl.create_default_context()):
            with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
                asked(f"{url}/health", other)
        with asked(f"{url}/login", trusted, {"user": "anna", "password": PASSWORD}) as answer:
            cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-lakehouse_session=")
    assert cookie.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")


def test_the_audit_record_has_the_address_that_the_proxy_saw(dsn: str) -> None:
    """What the client wrote into the header before it stays out."""
    with connect(dsn) as conn, serving_api(dsn, LAKEHOUSE_BEHIND_PROXY="true") as port:
        create_user(conn, "anna", PASSWORD, "viewer")
        forwarded = {"X_Forwarded_For": "198.51.100.1, 203.0.113.9", "X_Forwarded_Proto": "https"}
        with asked(
            f"http://127.0.0.1:{port}/v1/login", None, {"user": "anna", "password": PASSWORD}, **forwarded
        ) as one:
            assert "; Secure; " in one.headers["Set-Cookie"]
        found = conn.execute("SELECT user_name, address FROM lake.audit WHERE action = 'login'").fetchall()
    assert found == [("anna", "203.0.113.9")]


def test_beyond_this_machine_every_start_wants_tls(dsn: str, tmp_path: Path) -> None:
    """The web process by itself as well as the commands that start it; nothing was begun."""
    environment = {**os.environ, "LAKEHOUSE_DATABASE_URL": dsn, "LAKEHOUSE_HOST": "0.0.0.0"}
    environment["LAKEHOUSE_DATA_DIR"] = str(tmp_path / "data")
    lakehouse = str(Path(sys.executable).parent / "lakehouse")
    web = [[sys.executable, "-m", "functions.embedded", "api"], [sys.executable, "-m", "gradio_app.server"]]
    starts = [*web, [lakehouse, "up"], [lakehouse, "demo"]]
    lifeline, ours = os.pipe()  # a service ends when its standard input does
    running = [
        subprocess.Popen(start, env=environment, stdin=lifeline, stderr=subprocess.PIPE, text=True) for start in starts
    ]
    try:
        ended = [(process.communicate()[1], process.returncode) for process in running]
    finally:
        os.close(lifeline)
        os.close(ours)
    for said, code in ended:
        assert code == 1
        assert said.startswith("Error: LAKEHOUSE_HOST 0.0.0.0 lies beyond this machine")
        assert len(said.splitlines()) == 1
    assert not (tmp_path / "data").exists()
