"""
Write docs/dictionary.md, what the lake's tables hold, from their declarations: ``python -m infra.dictionary``.

With ``--check``, a part of ``make check``: fail if the file is not what would be written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from infra.generated import write_or_check
from lakehouse.market.candle import CANDLES, FACT_CANDLE, GOLD, HISTORY, QUARANTINE, SILVER
from lakehouse.market.table import Table, Type

ROOT = Path(__file__).resolve().parents[1]
DICTIONARY = ROOT / "docs" / "dictionary.md"

_POSTGRES: dict[Type, str] = {
    "string": "text",
    "double": "double precision",
    "long": "bigint",
    "int": "integer",
    "boolean": "boolean",
    "timestamp": "timestamptz",
    "date": "date",
}

_HEAD = """\
# Data dictionary

Made from `lakehouse/market/candle.py` by `python -m infra.dictionary`; `make check` fails when the two differ.

- Silver and Gold are Delta tables in the data folder: `silver.candles` lies in `silver/candles`. Any Delta reader opens
  them. PostgreSQL holds Gold, under the same names.
- `..._at`, `known_from` and `known_till` are UTC instants, microseconds; `trade_date` is the Moscow date. A daily
  candle of 1 March begins on the last day of February in UTC.
- **Versions.** A table with `known_from` and `known_till` has a row for every version; the current ones have no
  `known_till`. In `lakehouse sql` the bare name is the current rows, without that column, and the name with `_versions`
  is all of them. A change of the columns called *values* opens a version; the others are those of its last reading.
- **Prices** are as the exchange quotes them: of shares and funds money, of bonds percent of the face value without
  accrued interest (64.793 is 647.93 of 1,000), of indices and futures points; `dim_instrument.price_unit`
  says which. `value`, the turnover, is always money, in `dim_instrument.currency`: RUB for nearly all.
"""

_HASHES = """\
## Hashes

`lakehouse demo --once --json` prints `silver_hash` and `gold_hash`. Two lakes with equal hashes hold the same data,
whatever the order and the times of loading, the machine or the engine.

A hash is the SHA-256, in hexadecimal, of the rows of the tables one after the other:

| hash | tables, in this order |
| --- | --- |
| `silver_hash` | {silver}; current rows only |
| `gold_hash` | {gold}; all rows |

Rows are sorted by the table's key (text by code point). Of each row all columns count, in the order above, but for
{excluded}.
A NULL is the byte 0. Any other value is the byte 1 and:

| type | bytes |
| --- | --- |
| string | length in bytes (4, big-endian), then UTF-8 |
| double | IEEE 754, 8 bytes big-endian; -0 as 0, every NaN as `7ff8000000000000` |
| long, int | signed, 8 bytes big-endian |
| timestamp | microseconds since 1970-01-01 UTC, as a long |
| date | days since 1970-01-01, as a long |
| boolean | one byte, 0 or 1 |

A table that was never made counts as empty.

## The demo's summary

`lakehouse demo --once --json` prints one JSON object:

| name | meaning |
| --- | --- |
| `engine` | what transformed the data: Spark, its version and master |
| `instruments` | rows of `gold.dim_instrument` |
| `requests` | requests that the simulator answered in this run |
| `pages` | of these, pages of candles and history |
| `bronze_objects` | objects in Bronze |
| `silver_rows` | current rows of `silver.candles` and `silver.history` |
| `quarantined_rows` | rows of `silver.quarantine` |
| `gold_rows` | rows of `gold.fact_candle` in Delta |
| `postgres_rows` | rows of `gold.fact_candle` in PostgreSQL |
| `seconds` | seconds of each station, of `start`, and in `total` |
| `silver_hash`, `gold_hash` | see Hashes |
"""


def dictionary() -> str:
    """Return the text of the dictionary."""
    tables = (*SILVER, QUARANTINE, *GOLD)
    excluded = ", ".join(f"`{name}`" for name in sorted(CANDLES.hash_excludes))
    hashes = _HASHES.format(
        silver=f"`{CANDLES.name}`, `{HISTORY.name}`", gold=f"`{FACT_CANDLE.name}`", excluded=excluded
    )
    return "\n".join([_HEAD, *("\n".join(_section(table)) for table in tables), hashes])


def main(arguments: list[str], path: Path = DICTIONARY) -> int:
    """Write the dictionary, or compare it; return the exit code."""
    difference = "docs/dictionary.md is not what the tables are: run `python -m infra.dictionary`"
    return write_or_check(arguments, path, dictionary(), difference)


def _section(table: Table) -> Iterator[str]:
    yield f"## {table.name}\n\n{table.meaning}\n"
    yield f"- Key: {_names(table.key)}" + (" (with `known_from`, of versions)" if "known_from" in table.names else "")
    if table.values:
        yield f"- Values: {_names(table.values)}"
    if table.partition_by:
        yield f"- Partitioned by: {_names(table.partition_by)}"
    types = "type | in PostgreSQL |" if table in GOLD else "type |"
    yield f"\n| column | {types} may be NULL | unit | meaning |\n|{' --- |' * (types.count('|') + 4)}"
    for column in table.columns:
        type_ = f"{column.type} | {_POSTGRES[column.type]}" if table in GOLD else column.type
        nullable = "yes" if column.nullable else "no"
        yield f"| `{column.name}` | {type_} | {nullable} | {column.unit} | {column.meaning} |"
    yield ""


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
