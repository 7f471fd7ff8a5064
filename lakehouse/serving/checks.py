"""What must hold before Gold is shown; PostgreSQL stays as it was when it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import errors

from lakehouse.market.errors import LakehouseError


class PublishAborted(LakehouseError):
    """What was to be published failed a check; readers go on seeing what they saw."""


def check_rows(what: str, was: int, expected: int, remedy: str) -> None:
    """Raise PublishAborted unless as many rows are there as Gold has."""
    if was != expected:
        raise PublishAborted(f"publish: {what} would hold {was:,} rows, expected {expected:,} as Gold has; {remedy}")


def check_shrinkage(published: int, loaded: int, closed: int) -> None:
    """Raise PublishAborted if more rows go away than Gold says were closed."""
    if loaded < published - closed:
        raise PublishAborted(
            f"publish: gold.fact_candle would shrink from {published:,} to {loaded:,} rows, but only {closed:,} "
            "candles were closed since it was published; rebuild gold, or publish it as it is by "
            "rebuild_serving(accept_shrinkage=True)"
        )


@contextmanager
def constraints_named(what: str) -> Iterator[None]:
    """Turn a broken constraint into PublishAborted that names the column or the key."""
    try:
        yield
    except errors.NotNullViolation as error:
        raise PublishAborted(f"publish: {what} has rows without {error.diag.column_name}; rebuild gold") from error
    except errors.UniqueViolation as error:
        detail = error.diag.message_detail or error.diag.message_primary
        raise PublishAborted(f"publish: {what} has a key twice: {detail}; rebuild gold") from error
