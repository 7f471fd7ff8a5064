"""What must hold before Gold is shown; PostgreSQL stays as it was when it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors

from lakehouse.market.errors import LakehouseError

REBUILD_GOLD = "make it anew with: lakehouse rebuild gold"


class PublishAborted(LakehouseError):
    """What was to be published failed a check; readers go on seeing what they saw."""


def check_rows(what: str, was: int, expected: int) -> None:
    """Raise PublishAborted unless as many rows are there as Gold has."""
    if was != expected:
        raise PublishAborted(
            f"publish: {what} would hold {was:,} rows, expected {expected:,} as Gold has; "
            "publish it whole with: lakehouse rebuild serving"
        )


def check_shrinkage(published: int, loaded: int, closed: int) -> None:
    """Raise PublishAborted if more rows go away than Gold says were closed."""
    if loaded < published - closed:
        raise PublishAborted(
            f"publish: gold.fact_candle would shrink from {published:,} to {loaded:,} rows, but only {closed:,} "
            "candles were closed since it was published; "
            f"{REBUILD_GOLD}, or show it as it is with: lakehouse rebuild serving --accept-shrinkage"
        )


@contextmanager
def constraints_named(what: str) -> Iterator[None]:
    """Turn a broken constraint into PublishAborted that names the column or the key."""
    try:
        yield
    except errors.NotNullViolation as error:
        raise PublishAborted(f"publish: {what} has rows without {error.diag.column_name}; {REBUILD_GOLD}") from error
    except errors.UniqueViolation as error:
        detail = error.diag.message_detail or error.diag.message_primary
        raise PublishAborted(f"publish: {what} has a key twice: {detail}; {REBUILD_GOLD}") from error
