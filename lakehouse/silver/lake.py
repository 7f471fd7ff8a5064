"""Where tables lie. Apart from the code that writes them, which brings Spark along."""

from __future__ import annotations

from lakehouse.market.table import Table


def table_url(lake: str, table: Table) -> str:
    """Return where *table* lies in the lake: LAKE/silver/candles."""
    return f"{lake.rstrip('/')}/{table.name.replace('.', '/')}"
