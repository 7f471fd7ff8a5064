"""
Failed logins are counted, in a way that keeps guessers out and lets nobody lock out another.

An attempt comes from a place that the user has logged in from before (this browser, by a cookie, or this network), or
from elsewhere. A known place has a count of its own, which nobody elsewhere moves. Elsewhere three counts bound a
guesser: of this name from this network, of this name from anywhere, of this network for any name. docs/security.md says
why.

An attempt is written down as failed before the password is looked at, so that many at once count as well.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import math
import secrets
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import Connection

from lakehouse.market.errors import LakehouseError, NotNow

_SOON, _LONG = dt.timedelta(minutes=5), dt.timedelta(hours=1)
MAX_OF_PLACE, MAX_OF_NETWORK, MAX_OF_NAME = 5, 30, 50
_KEPT_PLACES = 20  # of a user
PLACE_LIFETIME = dt.timedelta(days=90)
_LOCK = 7_305_148_223  # any number: attempts are counted one after another, each in a moment
_PATIENCE = "3s"


class TooManyAttempts(LakehouseError):
    """There were too many failures: of this name from this place, or of anyone from there."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many failed logins: try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Attempt:
    """
    Somebody who says to be *name*.

    Attributes:
        network: The address, of IPv6 its first 64 bits: what one customer has.
        device: Hash of the cookie that the browser got at a login before; empty without one.
        place: Which of the two the user is known by; empty if neither.
        attempt_id: Its row, once it is counted.
    """

    name: str
    network: str
    device: str
    place: str = ""
    attempt_id: int = 0


def attempt_of(conn: Connection[Any], name: str, address: str, device: str) -> Attempt:
    """Return the attempt, not counted yet; raise TooManyAttempts when it would be refused anyway."""
    attempt = Attempt(_countable(name), network_of(address), device_hash(device) if device else "")
    found = conn.execute(
        """
        SELECT place FROM lake.login_place JOIN lake.app_user USING (user_id)
        WHERE name = %s AND place = ANY(%s) AND seen_at > now() - %s AND disabled_at IS NULL
        """,
        (attempt.name, [attempt.device, attempt.network], PLACE_LIFETIME),
    ).fetchall()
    known = {place for (place,) in found}
    place = next((each for each in (attempt.device, attempt.network) if each and each in known), "")
    attempt = replace(attempt, place=place)
    _refuse(conn, attempt)
    return attempt


def count(conn: Connection[Any], attempt: Attempt) -> Attempt:
    """
    Write the attempt down as failed.

    Raises:
        TooManyAttempts: instead, when there were enough.
        NotNow: if others are being counted for longer than `_PATIENCE`, or something holds the lock that should not.
    """
    with conn.transaction():
        conn.execute("SELECT set_config('lock_timeout', %s, true)", (_PATIENCE,))
        try:
            conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        except psycopg.errors.LockNotAvailable as error:
            raise NotNow("logins are not being counted at present, so none is taken: try again in a minute") from error
        conn.execute("DELETE FROM lake.login_attempt WHERE at < now() - %s", (_LONG,))
        _refuse(conn, attempt)
        row = conn.execute(
            "INSERT INTO lake.login_attempt (name, address, place) VALUES (%s, %s, %s) RETURNING attempt_id",
            (attempt.name, attempt.network, attempt.place),
        ).fetchone()
    if row is None:
        raise RuntimeError("INSERT ... RETURNING gave no row")
    return replace(attempt, attempt_id=row[0])


def confirm(conn: Connection[Any], attempt: Attempt) -> None:
    """Let a failure count from when it was known to be one."""
    conn.execute("UPDATE lake.login_attempt SET at = now() WHERE attempt_id = %s", (attempt.attempt_id,))


def forget(conn: Connection[Any], attempt: Attempt) -> None:
    """Take back an attempt that was not looked at."""
    conn.execute("DELETE FROM lake.login_attempt WHERE attempt_id = %s", (attempt.attempt_id,))


def succeed(conn: Connection[Any], attempt: Attempt, user_id: int) -> str:
    """
    Clear the failures of this name at this place and remember it as the user's.

    Returns the value of the cookie by which a browser that was not known is known from now on, empty for one that was.
    """
    conn.execute(
        "DELETE FROM lake.login_attempt WHERE name = %s AND place = %s AND (place <> '' OR address = %s)",
        (attempt.name, attempt.place, attempt.network),
    )
    device = "" if attempt.device and attempt.place == attempt.device else secrets.token_urlsafe(32)
    for place in filter(None, (device_hash(device) if device else attempt.device, attempt.network)):
        conn.execute(
            """
            INSERT INTO lake.login_place (user_id, place) VALUES (%s, %s)
            ON CONFLICT (user_id, place) DO UPDATE SET seen_at = now()
            """,
            (user_id, place),
        )
    conn.execute(
        """
        DELETE FROM lake.login_place WHERE user_id = %(user)s AND place NOT IN (
            SELECT place FROM lake.login_place WHERE user_id = %(user)s ORDER BY seen_at DESC LIMIT %(kept)s)
        """,
        {"user": user_id, "kept": _KEPT_PLACES},
    )
    return device


def network_of(address: str) -> str:
    """Return what of an address one customer has: all of IPv4's, the first 64 bits of IPv6's."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return _countable(address)
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, 64), strict=False))


def device_hash(device: str) -> str:
    """Return a browser's cookie as the database knows it."""
    return "device " + hashlib.sha256(device.encode("utf-8", "replace")).hexdigest()


def _refuse(conn: Connection[Any], attempt: Attempt) -> None:
    """Raise TooManyAttempts when one of the attempt's counts is full, with the seconds until all have room."""
    of_place = "name = %(name)s AND place = %(place)s AND (place <> '' OR address = %(network)s)"
    counts = [(of_place, MAX_OF_PLACE, _SOON)]
    if not attempt.place:
        counts.append(("name = %(name)s AND place = ''", MAX_OF_NAME, _LONG))
        counts.append(("address = %(network)s AND place = ''", MAX_OF_NETWORK, _SOON))
    wait_s = max(_wait_s(conn, attempt, *each) for each in counts)
    if wait_s > 0:
        raise TooManyAttempts(math.ceil(wait_s))


def _wait_s(conn: Connection[Any], attempt: Attempt, which: str, most: int, window: dt.timedelta) -> float:
    """Return in how many seconds fewer than *most* failures lie in the window; 0 if it is so now."""
    row = conn.execute(
        f"""
        SELECT extract(epoch FROM at + %(window)s - now())::float8 FROM lake.login_attempt
        WHERE {which} AND at > now() - %(window)s ORDER BY at DESC OFFSET %(most)s - 1 LIMIT 1
        """,  # noqa: S608  # one of three texts above
        {"name": attempt.name, "place": attempt.place, "network": attempt.network, "window": window, "most": most},
    ).fetchone()
    return max(1.0, float(row[0])) if row else 0.0


def _countable(text: str) -> str:
    """Return a name or an address as attempts are counted: any text that the database takes, of bounded length."""
    return text[:64].replace("\0", "").encode("utf-8", "replace").decode()
