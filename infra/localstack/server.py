"""A LocalStack on loopback: AWS's services for tests, empty at every start."""

from __future__ import annotations

import secrets
from pathlib import Path

from infra.installing.environment import ROOT, script
from infra.installing.lambda_runtime import lambda_python
from infra.installing.localstack import localstack_home
from infra.localstack.runtime import PYTHON
from lakehouse.ports import free_port
from lakehouse.processes import ServerProcess


class LocalStackServer(ServerProcess):
    """
    A LocalStack whose files and log lie in *folder*, on a free port of loopback.

    It takes any credentials: those it offers are random. Stopped, it has forgotten all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.port = free_port()
        self.region = "us-east-1"
        self.access_key_id = f"test-{secrets.token_hex(4)}"
        self.secret_access_key = secrets.token_urlsafe(24)
        super().__init__(
            "LocalStack",
            # -P: the folder it runs in is no place to import from
            [script(localstack_home(), "python"), "-P", "-m", "infra.localstack.launcher"],
            self._variables(),
            self.folder / "localstack.log",
            (self.port, "/_localstack/health"),
            start_timeout_s=120,
        )

    @property
    def endpoint(self) -> str:
        """The address that clients of all services ask."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return when it serves; raise LakehouseError if it does not."""
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        super().start()

    def _variables(self) -> dict[str, str]:
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
            "LAMBDA_SYNCHRONOUS_CREATE": "1",  # who makes a function looks for it after 5 s only
            "LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT": "90",  # a busy machine takes longer than 20 s to import the package
            "LAMBDA_RETRY_BASE_DELAY_SECONDS": "2",  # an event whose function failed comes again soon, not in minutes
            PYTHON: str(lambda_python()),
        }
