"""
Versions derived from observations, and what a table must change to equal them: one SQL text, generated from the table.

An observation is what one object says of one key: a row, or *not there*. Observations of a key are ordered by (rank,
fetched_at, object_key, line); `object_id` and `known_from` carry that order. Of equal `known_from` the last counts. A
counted observation whose values differ from those of the one before opens a version; *not there* closes one; an equal
one only renews the attributes (`end_at`, `is_final`, ...). Equality is that of IS NOT DISTINCT FROM: NULL equals NULL;
minus zero and NaN never get here (columns.py), so it is equality of bits.

Views that the text reads:

    rows     parse's rows: object_id, series_id, tier, is_new, known_from, line, row, rule, payload, row columns
    stored   the table's versions that the derivation may change: series_id, fast, row columns, known_from, known_till,
             source; where `fast`, only current ones: they stand for all merged objects, which are older than the new
    silent   complete objects that may lack a key: object_id, series_id, known_from, is_new, tier, board, secid,
             from_at, till_at
    objects  object_id, object_key
    series   series_id and the columns that the request fixed
"""

# ruff: noqa: S608 - the text is made of names declared in lakehouse.market and of literals derived from data
from __future__ import annotations

from collections.abc import Iterable

from lakehouse.market.table import Table
from lakehouse.silver.families import families_of, has_tiers, scope_of
from lakehouse.silver.parse import row_names

# What became of a new row, or of a key that a new complete object does not hold
CLASSES = ("accepted", "unchanged", "revised", "outranked", "quarantined")
VANISHED = "vanished"


def row_keys(table: Table) -> tuple[str, ...]:
    """Return the key columns of *table* that differ between the rows of one request."""
    return tuple(name for name in table.key if name not in scope_of(table))


def attributes(table: Table) -> tuple[str, ...]:
    """Return the columns that the last equal observation decides and whose change opens no version."""
    return tuple(name for name in row_names(table) if name not in (*table.key, *table.values))


def outcome_sql(table: Table, with_absences: bool) -> str:
    """
    Return the SELECT of the outcome: a row per change of *table* and per new observation.

    Its columns are those of the table, `op` (insert, update, drop or NULL), `class` (one of CLASSES, VANISHED or NULL),
    `object_id`, `rule` and `payload`.
    """
    keys, values, rest = row_keys(table), table.values, attributes(table)
    window = f"PARTITION BY {_list('series_id', *keys)} ORDER BY counts, known_from, object_id, line, row"
    observed = [_rows_as_observations(table), _stored_as_observations(table)]
    if with_absences:
        observed.append(_absences(table))
    compared = _all(f"lead({name}) OVER w IS NOT DISTINCT FROM {name}" for name in ("seen", *values))
    unlike = " OR ".join(f"previous.{name} IS DISTINCT FROM {name}" for name in ("seen", *values))
    return f"""
WITH observed AS ({" UNION ALL ".join(observed)}),
eligible AS (SELECT *, {_counts(table)} AS counts FROM observed),
tied AS (
    SELECT *, counts AND lead(known_from) OVER w IS NOT DISTINCT FROM known_from AS tied, {compared} AS repeated
    FROM eligible WINDOW w AS ({window})
),
compared AS (
    SELECT *, last_value(CASE WHEN counts AND NOT tied THEN struct({_list("seen", *values)}) END) IGNORE NULLS OVER (
        {window} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS previous
    FROM tied
),
changed AS (
    SELECT *, counts AND NOT tied AND (seen OR coalesce(previous.seen, FALSE)) AND ({unlike}) AS changes FROM compared
),
bounded AS (
    SELECT *, first_value(CASE WHEN changes THEN known_from END) IGNORE NULLS OVER following AS known_till,
        coalesce(first_value(CASE WHEN counts AND NOT tied THEN changes END) IGNORE NULLS OVER following, TRUE)
            AS is_last
    FROM changed WINDOW following AS ({window} ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
),
derived AS (
    SELECT series_id, {_list(*keys, *values)}, known_from, known_till, source, object_id, line, row, is_new, rule,
        payload, changes AND seen AS opens, {_class()} AS class{_last_attributes(rest, window)}
    FROM bounded
),
named AS (
    SELECT d.*, coalesce(d.source, concat(o.object_key, '#', d.line, '.', d.row)) AS full_source
    FROM derived d LEFT JOIN objects o ON d.object_id = o.object_id
),
joined AS (
    SELECT coalesce(d.series_id, t.series_id) AS series_id, {_newest(keys, values, rest)},
        coalesce(d.known_from, t.known_from) AS known_from,
        CASE WHEN d.series_id IS NULL THEN t.known_till ELSE d.known_till END AS known_till,
        coalesce(d.full_source, t.source) AS source, d.class, d.object_id, d.rule, d.payload,
        CASE WHEN d.opens AND t.series_id IS NULL THEN 'insert'
            WHEN d.series_id IS NULL THEN 'drop'
            WHEN d.opens AND ({_differs(values, rest)}) THEN 'update' END AS op
    FROM named d FULL OUTER JOIN stored t
        ON d.opens AND {_all(f"d.{name} = t.{name}" for name in ("series_id", *keys, "known_from"))}
)
SELECT {_list(*(f"s.{name}" if name in scope_of(table) else f"j.{name}" for name in table.names))},
    j.op, j.class, j.object_id, j.rule, j.payload
FROM joined j JOIN series s ON j.series_id = s.series_id
WHERE j.op IS NOT NULL OR j.class IS NOT NULL"""


def _rows_as_observations(table: Table) -> str:
    return f"""SELECT series_id, tier, {_list(*row_names(table))}, known_from, object_id, line, row, is_new,
    TRUE AS seen, CAST(NULL AS STRING) AS source, rule, payload FROM rows"""


def _stored_as_observations(table: Table) -> str:
    return f"""SELECT series_id, 0 AS tier, {_list(*row_names(table))}, known_from, -1 AS object_id, 0 AS line,
    0 AS row, FALSE AS is_new, TRUE AS seen, source, NULL AS rule, NULL AS payload FROM stored WHERE fast"""


def _absences(table: Table) -> str:
    keys = row_keys(table)
    covered = [
        "k.series_id = s.series_id",
        *(f"(s.{name} = '' OR s.{name} = k.{name})" for name in ("board", "secid") if name in keys),
    ]
    if any(family.proves == "span" for family in families_of(table)):
        position = "begin_at" if "begin_at" in keys else "trade_date"
        covered += [f"k.{position} >= s.from_at", f"k.{position} < s.till_at"]
    columns = (f"k.{name}" if name in keys else f"NULL AS {name}" for name in row_names(table))
    known = " UNION ".join(
        f"SELECT {_list('series_id', *keys)} FROM {view}" for view in ("rows WHERE rule IS NULL", "stored")
    )
    same = [f"r.{name} = k.{name}" for name in ("series_id", *keys)]
    tier = "s.tier" if has_tiers(table) else "0 AS tier"
    return f"""SELECT k.series_id, {tier}, {_list(*columns)}, s.known_from, s.object_id, 0 AS line, 0 AS row,
    s.is_new, FALSE AS seen, NULL AS source, NULL AS rule, NULL AS payload
    FROM ({known}) k JOIN silent s ON {_all(covered)}
    LEFT ANTI JOIN rows r ON r.object_id = s.object_id AND {_all(same)}"""


def _counts(table: Table) -> str:
    if not has_tiers(table):
        return "rule IS NULL"
    whole_key = f"PARTITION BY {_list('series_id', *row_keys(table))}"
    # An absence speaks only against rows of its own tier: what the exchange does not list may have been added
    return f"rule IS NULL AND tier = max(CASE WHEN rule IS NULL AND seen THEN tier END) OVER ({whole_key})"


def _class() -> str:
    return f"""CASE WHEN NOT is_new THEN NULL
            WHEN rule IS NOT NULL THEN 'quarantined'
            WHEN NOT seen THEN CASE WHEN changes THEN '{VANISHED}' END
            WHEN NOT counts THEN 'outranked'
            WHEN tied THEN CASE WHEN repeated THEN 'unchanged' ELSE 'outranked' END
            WHEN NOT changes THEN 'unchanged'
            WHEN previous.seen THEN 'revised' ELSE 'accepted' END"""


def _last_attributes(rest: tuple[str, ...], window: str) -> str:
    if not rest:
        return ""
    onward = f"{window} ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING"
    last = f"CASE WHEN counts AND NOT tied AND is_last THEN struct({_list(*rest)}) END"
    return f", first_value({last}) IGNORE NULLS OVER ({onward}) AS attributes"


def _newest(keys: Iterable[str], values: Iterable[str], rest: Iterable[str]) -> str:
    return _list(
        *(f"coalesce(d.{name}, t.{name}) AS {name}" for name in keys),
        *(f"CASE WHEN d.series_id IS NULL THEN t.{name} ELSE d.{name} END AS {name}" for name in values),
        *(f"CASE WHEN d.series_id IS NULL THEN t.{name} ELSE d.attributes.{name} END AS {name}" for name in rest),
    )


def _differs(values: Iterable[str], rest: Iterable[str]) -> str:
    return " OR ".join(
        [f"d.{name} IS DISTINCT FROM t.{name}" for name in (*values, "known_till")]
        + [f"d.attributes.{name} IS DISTINCT FROM t.{name}" for name in rest]
        + ["d.full_source IS DISTINCT FROM t.source"]
    )


def _list(*items: str) -> str:
    return ", ".join(items)


def _all(conditions: Iterable[str]) -> str:
    return " AND ".join(conditions)
