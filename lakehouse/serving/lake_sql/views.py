"""What a statement over the lake can name: the tables, and of those with versions both the current rows and all."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.market.candle import GOLD, QUARANTINE, SILVER
from lakehouse.market.table import Column, Table

VERSIONS = "_versions"


@dataclass(frozen=True)
class View:
    """
    A name in SQL, and what it shows of a table.

    Attributes:
        name: With its schema: silver.candles_versions.
        where: Condition on the table's rows, empty for all of them.
    """

    name: str
    table: Table
    columns: tuple[Column, ...]
    where: str
    meaning: str

    @property
    def bare(self) -> str:
        """The name without its schema: no two views share one."""
        return self.name.partition(".")[2]

    @property
    def has_versions(self) -> bool:
        """Whether a key may occur more than once, with different `known_from`."""
        return not self.where and "known_till" in self.table.names

    def select(self, relation: str) -> str:
        """Return the query that makes the view of *relation*, in any SQL: no name of ours needs quotes."""
        columns = ", ".join(column.name for column in self.columns)
        where = f" WHERE {self.where}" if self.where else ""
        return f"SELECT {columns} FROM {relation}{where}"  # noqa: S608 - names and conditions are declared


def _views(table: Table) -> tuple[View, ...]:
    if "known_till" not in table.names:
        return (View(table.name, table, table.columns, "", table.meaning),)
    current = tuple(column for column in table.columns if column.name != "known_till")
    what = table.meaning.removeprefix("Every version of ").removesuffix(" The bare name in SQL is the current view.")
    return (
        View(table.name, table, current, "known_till IS NULL", f"Current rows: {what}"),
        View(table.name + VERSIONS, table, table.columns, "", table.meaning),
    )


# Rows as received, of which nobody knows what they hold: GET /v1/quarantine and the page Quality are admins' as well
OF_ADMINS = (QUARANTINE.name,)
TABLES = (*SILVER, QUARANTINE, *GOLD)
VIEWS = tuple(view for table in TABLES for view in _views(table))
VIEW_BY_BARE_NAME = {view.bare: view for view in VIEWS}
