"""Gold as it lies in Delta, read without a JVM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError

from lakehouse.market.candle import FACT_CANDLE
from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Table
from lakehouse.silver.arrow import arrow_schema
from lakehouse.silver.lake import Lake

_KEY = list(FACT_CANDLE.key)


class FeedGone(LakehouseError):
    """Gold's change feed does not reach back to what was published; a rebuild of serving needs none."""


class GoldMissing(LakehouseError):
    """There is nothing to publish."""


@dataclass(frozen=True)
class Changes:
    """
    The net change of every key that was touched: its row as it is now, or as it was when it went.

    Attributes:
        rows: Columns of fact_candle and `is_gone`; one row per key.
        closed: How many rows went.
    """

    rows: pa.Table
    closed: int


class FactSource:
    """gold/fact_candle at the version that was the newest when it was opened."""

    def __init__(self, lake: Lake) -> None:
        address = lake.at(FACT_CANDLE)
        if not address.exists():
            raise GoldMissing(f"there is no Gold at {address.url}: make it with: lakehouse rebuild gold")
        self._delta = address.open()
        self.url = address.url
        self.version = self._delta.version()
        self.table_id = str(self._delta.metadata().id)

    def count(self) -> int:
        """Return the number of facts, from the log's statistics."""
        counts = pa.table(self._delta.get_add_actions(flatten=True))["num_records"]
        if counts.null_count:
            return int(self._delta.to_pyarrow_dataset().count_rows())
        return int(pc.sum(counts).as_py() or 0)

    def partitions(self) -> Iterator[pa.Table]:
        """Yield the facts partition by partition, each sorted by series and begin: readers ask for runs of them."""
        dataset = self._delta.to_pyarrow_dataset()
        for partition in sorted(self._delta.partitions(), key=lambda values: (values["timeframe"], values["bucket"])):
            wanted = (pc.field("timeframe") == partition["timeframe"]) & (pc.field("bucket") == partition["bucket"])
            yield _sorted(dataset.to_table(columns=list(FACT_CANDLE.names), filter=wanted))

    def changes(self, since: int) -> Changes:
        """
        Return what changed after version *since*.

        Raises:
            FeedGone: if a version in between is no longer readable.
        """
        try:
            feed = self._delta.load_cdf(starting_version=since + 1, ending_version=self.version)
            rows = pl.DataFrame(pa.table(feed))
        except (DeltaError, pa.ArrowInvalid) as error:  # the latter where a file of it is gone
            raise FeedGone(f"{self.url}: the changes since version {since} cannot be read ({error})") from error
        # Of several changes of a key the last counts; a rewrite of the table lists a key as gone and as inserted
        newest = (
            rows.filter(pl.col("_change_type") != "update_preimage")
            .with_columns(is_gone=pl.col("_change_type") == "delete")
            .sort("_commit_version", pl.col("is_gone").not_())
            .unique(_KEY, keep="last", maintain_order=False)
            .select(*FACT_CANDLE.names, "is_gone")
        )
        schema = arrow_schema(FACT_CANDLE).append(pa.field("is_gone", pa.bool_()))
        nullable = pa.schema([pa.field(field.name, field.type) for field in schema])
        return Changes(_arrow(newest.sort(_KEY)).cast(nullable), int(newest["is_gone"].sum()))


def read_dimension(lake: Lake, table: Table) -> pa.Table:
    """Return all rows of a dimension; raise GoldMissing if it was never built."""
    address = lake.at(table)
    if not address.exists():
        raise GoldMissing(f"there is no {table.name} at {address.url}: build gold first")
    return address.open().to_pyarrow_dataset().to_table(columns=list(table.names))


def _sorted(rows: pa.Table) -> pa.Table:
    return _arrow(pl.DataFrame(rows).sort(_KEY))


def _arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow(compat_level=pl.CompatLevel.oldest())
