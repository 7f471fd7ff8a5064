"""A LocalStack on loopback: AWS's services for tests, empty at every start."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType

from infra.installing.environment import ROOT, script
from infra.installing.lambda_runtime import lambda_python
from infra.installing.localstack import localstack_home
from infra.localstack.runtime import PYTHON
from lakehouse.ports import free_port
from lakehouse.storage.process import ServerProcess

_START_TIMEOUT_S = 120


class LocalStackServer:
    """
    A LocalStack whose files and log lie in *folder*, on a free port of loopback.

    It takes any credentials: those it offers are random. It ends with this process, also when that is killed. As a
    context manager it runs inside the block.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.port = free_port()
        self.region = "us-east-1"
        self.access_key_id = f"test-{secrets.token_hex(4)}"
        self.secret_access_key = secrets.token_urlsafe(24)
        self._process = ServerProcess(
            "LocalStack",
            # -P: the folder it runs in is no place to import from
            [script(localstack_home(), "python"), "-P", "-m", "infra.localstack.launcher"],
            self._environment(),
            self.folder / "localstack.log",
            (self.port, "/_localstack/health"),
        )

    @property
    def endpoint(self) -> str:
        """The address that clients of all services ask."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id, None while it does not run."""
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it serves; raise LakehouseError if it does not."""
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        self._process.start(_START_TIMEOUT_S)

    def stop(self) -> None:
        """End it within 3 s; its objects and queues are gone then."""
        self._process.stop()

    def __enter__(self) -> LocalStackServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "FILESYSTEM_ROOT": str(self.folder / "files"),
            "GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            "DNS_ADDRESS": "0",
            "DISABLE_EVENTS": "1",  # tells nobody that it runs
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "EAGER_SERVICE_LOADING": "0",
            PYTHON: str(lambda_python()),
        }
