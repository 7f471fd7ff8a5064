"""Of which source the data of a store are: a small object beside them, so that data of two sources never mix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lakehouse.market.errors import BadInput
from lakehouse.storage.store import Store

KEY = "source.json"
Stamp = Mapping[str, Any]
# Of what a restore has not finished: nothing starts on it
UNFINISHED: Stamp = {"source": "unfinished restore"}


def claim(store: Store, stamp: Stamp, setting: str) -> None:
    """
    Stamp *store*, which has none yet, as holding data of a source; of several who try at once one is first.

    Args:
        stamp: ``{"source": "exchange"}``, or of a simulator with its ``seed`` as well.
        setting: The setting that names the store.

    Raises:
        BadInput: if it holds data of another source.
    """
    store.put(KEY, encoded(stamp))
    found = read(store)
    if found != stamp:
        raise BadInput(
            f"{store.url} holds data of {named(found)}, and this is {named(stamp)}: they must not mix; "
            f"choose another place in {setting}"
        )


def read(store: Store) -> dict[str, Any]:
    """Return of which source the data in *store* are; raise BadInput if its stamp cannot be read."""
    try:
        return decoded(store.get(KEY), store.url)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"cannot read {KEY} in {store.url}, which says of which source the data are ({error}): "
            'put {"source": "exchange"} or {"source": "simulator", "seed": 1} there, as it was before'
        ) from error


def decoded(body: bytes, place: str) -> dict[str, Any]:
    """Return the stamp of *body*, which lies in *place*; raise BadInput where a restore was cut short."""
    stamp: dict[str, Any] = json.loads(body)
    if stamp == UNFINISHED:
        raise BadInput(f"{place} holds a restore that was cut short: empty it, then restore again")
    return stamp


def encoded(stamp: Stamp) -> bytes:
    """Return *stamp* as it lies in a store or a folder."""
    return json.dumps(dict(stamp)).encode() + b"\n"


def named(stamp: Stamp) -> str:
    """Return the source of *stamp* in words."""
    if stamp.get("source") == "simulator":
        return f"the simulator with seed {stamp.get('seed')}"
    return {"exchange": "the exchange", "recorded": "recorded files"}.get(str(stamp.get("source")), f"{dict(stamp)}")
