"""Where a Delta table lies and how it is opened. Apart from the code that writes, which brings Spark along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deltalake import DeltaTable

_S3 = "s3://"


@dataclass(frozen=True)
class TableAddress:
    """
    A Delta table at *url*: a folder, or ``s3://bucket/prefix``.

    *options* say how S3 is reached, as `storage.s3.open_bucket` takes them.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds a secret

    def exists(self) -> bool:
        """Return whether there is a table."""
        return DeltaTable.is_deltatable(self.url, self._storage_options)

    def open(self, version: int | None = None) -> DeltaTable:
        """Return the table at *version*, the newest by default, as deltalake reads it; raise TableNotFoundError."""
        return DeltaTable(self.url, version=version, storage_options=self._storage_options)

    @property
    def spark_name(self) -> str:
        """The table's name in Spark's SQL."""
        return f"delta.`{self.spark_path}`"

    @property
    def spark_path(self) -> str:
        """The table's url as Spark's file systems know it."""
        return f"s3a://{self.url.removeprefix(_S3)}" if is_s3(self.url) else self.url

    @property
    def _storage_options(self) -> dict[str, str] | None:
        if not is_s3(self.url):
            return None
        is_plain = self.options.get("endpoint", "").startswith("http://")
        named = {f"aws_{name}": value for name, value in self.options.items()}
        return named | {"aws_allow_http": "true"} if is_plain else named


def is_s3(url: str) -> bool:
    """Return whether *url* is one of S3."""
    return url.startswith(_S3)
