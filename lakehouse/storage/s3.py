"""Buckets of S3, MinIO and LocalStack: how they are opened, and what their errors mean."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlparse

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from lakehouse.market.errors import LakehouseError, NotNow

if TYPE_CHECKING:
    from obstore.store import ClientConfig

T = TypeVar("T")

# How long a store that went away is waited for
PATIENCE_S = 120.0
_PAUSE_S = 0.5
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_NO_BUCKET = "NoSuchBucket"


class StoreRefused(LakehouseError):
    """A store says no, and will again: there is no such bucket, or it does not take the credentials."""


class StoreUnavailable(NotNow):
    """A store did not answer, however often it was asked."""


def open_bucket(url: str, options: Mapping[str, str]) -> S3Store:
    """
    Return the bucket, or the part of one, at *url* (``s3://bucket/prefix``); one of each in a process.

    Args:
        options: ``endpoint`` (AWS's own without), ``region``, ``access_key_id``, ``secret_access_key`` (both from the
            machine's role without).
    """
    return _bucket(url, tuple(sorted(options.items())))


def persist(act: Callable[[], T], what: str, place: str, patience_s: float) -> T:
    """
    Return what *act* on the store returns; do it again, for *patience_s* seconds, while the store is away.

    Args:
        what: The act, in words.
        place: The store, in words.

    Raises:
        StoreRefused: at once, if asking again would not help.
        StoreUnavailable: if the store is still away.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            return act()
        except (OSError, BaseError) as error:
            if isinstance(error, FileNotFoundError | AlreadyExistsError) and _NO_BUCKET not in str(error):
                raise
            if not _is_passing(error):
                raise StoreRefused(f"cannot {what} {place}: {_refusal(error)}") from error
            if time.monotonic() > until:
                raise StoreUnavailable(
                    f"cannot {what} {place}: it did not answer for {patience_s:g} s ({_reason(error)}); "
                    "check that it runs and that LAKEHOUSE_S3_ENDPOINT is its address"
                ) from error
        time.sleep(_PAUSE_S)


def may_be_done(error: BaseException) -> bool:
    """Return whether a request that failed may have been carried out all the same: it was not answered, or by a 5xx."""
    status = _status(error)
    return not isinstance(error, AlreadyExistsError) and (status is None or status >= 500)


@lru_cache(maxsize=16)
def _bucket(url: str, options: tuple[tuple[str, str], ...]) -> S3Store:
    given: dict[str, Any] = dict(options)  # Any: the stub has a name and a type for each
    parts = urlparse(url)
    client: ClientConfig = {"connect_timeout": "5s", "timeout": "120s"}
    if given.get("endpoint", "").startswith("http://"):
        client["allow_http"] = True
    return S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        client_options=client,
        # `persist` repeats: it knows then that an earlier try may have been carried out
        retry_config={"max_retries": 0},
        **given,
    )


def _is_passing(error: BaseException) -> bool:
    """Return whether the same request may succeed later: nothing came back, or the store has a trouble of its own."""
    return may_be_done(error) or _status(error) in (408, 409, 429)


def _refusal(error: BaseException) -> str:
    code = next(iter(_CODE.findall(str(error))), "")
    if code == _NO_BUCKET:
        return "there is no such bucket; make it, or name another in LAKEHOUSE_BRONZE_URL or LAKEHOUSE_LAKE_URL"
    if _status(error) in (401, 403):
        return (
            f"the credentials are refused ({code or 'no reason given'}); check LAKEHOUSE_S3_ACCESS_KEY_ID and "
            "LAKEHOUSE_S3_SECRET_ACCESS_KEY, and what they may do there"
        )
    return code or _reason(error)


def _status(error: BaseException) -> int | None:
    found = _STATUS.search(str(error))
    return int(found.group(1)) if found else None


def _reason(error: BaseException) -> str:
    """Return the first line of *error*, without Rust's own account of it."""
    return str(error).strip().splitlines()[0][:300]
