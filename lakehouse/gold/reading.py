"""Silver and Gold at fixed versions, read without a JVM: small tables whole, candles counted as they stream by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError

from lakehouse.market.candle import CANDLES
from lakehouse.market.errors import LakehouseError
from lakehouse.market.table import Table
from lakehouse.silver.lake import Lake

Rows = list[dict[str, Any]]


class FeedGone(LakehouseError):
    """The change feed of silver.candles does not reach back to the last build."""


@dataclass(frozen=True)
class Silver:
    """Silver as it was at *versions*, by name of table."""

    lake: Lake
    versions: Mapping[str, int]

    def rows(self, table: Table) -> Rows:
        """Return the current rows of a small table."""
        return self._rows(table, pc.field("known_till").is_null())

    def former_rows(self, table: Table) -> Rows:
        """Return the rows of a small table that were current once."""
        return self._rows(table, pc.field("known_till").is_valid())

    def _rows(self, table: Table, where: pc.Expression) -> Rows:
        dataset = self.lake.at(table).open(self.versions[table.name]).to_pyarrow_dataset()
        rows: Rows = dataset.to_table(filter=where).to_pylist()
        return rows

    def count_candles(
        self, columns: Sequence[str], where: pl.Expr, partitions: Sequence[tuple[str, str, list[str]]] = ()
    ) -> Rows:
        """
        Return the distinct values of *columns* in the current candles, with their number as `len`.

        Args:
            where: Which candles count.
            partitions: Which partitions are read, as deltalake names them: (column, "in", values); all by default.
        """
        table = self.lake.at(CANDLES).open(self.versions[CANDLES.name])
        dataset = table.to_pyarrow_dataset(file_pruning_predicate=list(partitions) or None)
        # *where* is not for Arrow: it cannot compare text with the statistics that deltalake gives it
        needed = list(dict.fromkeys((*columns, *where.meta.root_names())))
        batches = dataset.to_batches(columns=needed, filter=pc.field("known_till").is_null())
        return _counted((pl.DataFrame(batch).filter(where) for batch in batches), columns)

    def changed_candles(self, since: int, columns: Sequence[str]) -> Rows:
        """
        Return the distinct values of *columns* in all candles that changed after version *since*.

        Raises:
            FeedGone: if a version in between is no longer readable.
        """
        version = self.versions[CANDLES.name]
        if since == version:
            return []
        address = self.lake.at(CANDLES)
        try:
            feed = address.open(version).load_cdf(since + 1, version, columns=list(columns))
            return _counted((pl.DataFrame(pa.record_batch(batch)) for batch in feed), columns)
        except (DeltaError, pa.ArrowInvalid) as error:  # the latter where a file of it is gone
            raise FeedGone(f"{address.url}: the changes since version {since} cannot be read ({error})") from error


def read_gold(lake: Lake, table: Table) -> Rows:
    """Return all rows of a small table of Gold."""
    rows: Rows = lake.at(table).open().to_pyarrow_dataset().to_table().to_pylist()
    return rows


def _counted(batches: Iterable[pl.DataFrame], columns: Sequence[str]) -> Rows:
    counts = [batch.group_by(columns).len() for batch in batches if batch.height]
    if not counts:
        return []
    return pl.concat(counts).group_by(columns).agg(pl.col("len").sum()).to_dicts()
