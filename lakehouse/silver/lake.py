"""Where tables lie. Apart from the code that writes them, which brings Spark along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lakehouse.engines.address import TableAddress
from lakehouse.market.table import Table


@dataclass(frozen=True)
class Lake:
    """
    The root of the Delta tables at *url*: a folder, or ``s3://bucket/prefix``.

    *options* say how S3 is reached, as `storage.store.open_store` takes them.
    """

    url: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds a secret

    def at(self, table: Table) -> TableAddress:
        """Return where *table* lies: ROOT/silver/candles."""
        return TableAddress(f"{self.url.rstrip('/')}/{table.name.replace('.', '/')}", self.options)
