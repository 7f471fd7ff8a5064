"""MinIO, an object store of one's own that speaks S3: where its program is, and a server on loopback."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.cache import cache_dir
from lakehouse.market.errors import LakehouseError
from lakehouse.ports import free_port
from lakehouse.processes import ServerProcess

# The newest that the Go module proxy serves: upstream is archived, and its release tags are not served
MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
_TARGET = "lake"


@dataclass(frozen=True)
class Webhook:
    """
    Where MinIO sends the news of objects, for buckets whose notifications name `MinioServer.events_arn`.

    What cannot be delivered is kept on its disk and sent again, also after it was killed.
    """

    url: str
    token: str = field(repr=False)


class MinioNotInstalled(LakehouseError):
    """MinIO's program is missing."""


def minio_program() -> Path:
    """Return where set-up puts MinIO, which may not be there yet."""
    return cache_dir() / "minio" / MINIO_VERSION / "minio"


class MinioServer(ServerProcess):
    """
    A MinIO whose data and log lie in *folder*, on a free port of loopback unless one is given.

    Its root user's name and password are random, and stay the same when it is started again.
    """

    events_arn = f"arn:minio:sqs::{_TARGET}:webhook"

    def __init__(self, folder: Path, port: int = 0, webhook: Webhook | None = None) -> None:
        self.folder = folder.absolute()
        self.webhook = webhook
        self.port = port or free_port()
        self.region = "us-east-1"
        self.access_key_id = f"root-{secrets.token_hex(4)}"
        self.secret_access_key = secrets.token_urlsafe(24)
        super().__init__(
            "MinIO",
            [minio_program(), "server", "--quiet", "--address", f"127.0.0.1:{self.port}", self.folder / "data"],
            self._variables(),
            self.folder / "minio.log",
            (self.port, "/minio/health/ready"),
        )

    @property
    def endpoint(self) -> str:
        """The address that S3 clients ask."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """
        Start, and return when it serves.

        Raises:
            MinioNotInstalled: if set-up has not built it.
            LakehouseError: if it does not start.
        """
        if not minio_program().is_file():
            raise MinioNotInstalled(
                f"MinIO is missing: no {minio_program()}; run: python3 infra/setup.py --with-stores"
            )
        super().start()

    def _variables(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),  # where it looks for certificates
            "MINIO_ROOT_USER": self.access_key_id,
            "MINIO_ROOT_PASSWORD": self.secret_access_key,
            "MINIO_REGION": self.region,
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            **(self._events(self.webhook) if self.webhook else {}),
        }

    def _events(self, webhook: Webhook) -> dict[str, str]:
        name = "MINIO_NOTIFY_WEBHOOK"
        return {
            f"{name}_ENABLE_{_TARGET}": "on",
            f"{name}_ENDPOINT_{_TARGET}": webhook.url,
            f"{name}_AUTH_TOKEN_{_TARGET}": f"Bearer {webhook.token}",
            # Without it all is lost that happens while the webhook is away
            f"{name}_QUEUE_DIR_{_TARGET}": str(self.folder / "events"),
            f"{name}_QUEUE_LIMIT_{_TARGET}": "1000000",
        }
