"""
What is kept of secrets.

Passwords as Argon2id, few at a time: a try takes 64 MiB and some 50 ms of all cores, and anyone may ask for one.
Tokens, which are random and long, as SHA-256.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from lakehouse.market.errors import BadInput, NotNow

MIN_PASSWORD, MAX_PASSWORD = 10, 1000  # characters

# RFC 9106, section 4, second choice
_HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4, hash_len=32, salt_len=16, type=Type.ID)
# What nobody's password has: checking it costs a stranger's login as much time as a user's
_NO_HASH = f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}${'A' * 22}${'A' * 43}"
# Working and waiting together hold at most so many connections. Strangers do not fill all places: who is known gets in
_AT_ONCE, _PRESENT, _STRANGERS, _PATIENCE_S = 2, 6, 4, 20.0
_working = threading.BoundedSemaphore(_AT_ONCE)
_present = threading.BoundedSemaphore(_PRESENT)
_strangers = threading.BoundedSemaphore(_STRANGERS)
_FULL = "many log in at this moment: try again in some seconds"


def hashed(password: str) -> str:
    """Return what is kept of a password; raise BadInput for one that is too short or too long."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise BadInput(
            f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters, this one has {len(password)}: choose another"
        )
    with _turn(is_known=True):
        return _HASHER.hash(password.encode("utf-8", "replace"))


def fits(password: str, kept: str | None, *, is_known: bool = False) -> bool:
    """
    Return whether *kept* was made of *password*; for None, which nobody's is, it takes the same time.

    *is_known*: whether it comes from where its user has logged in before.
    """
    with _turn(is_known):
        try:
            _HASHER.verify(kept or _NO_HASH, password[: MAX_PASSWORD + 1].encode("utf-8", "replace"))
        except VerifyMismatchError:
            return False
    return kept is not None


def token_hash(token: str) -> bytes:
    """Return what is kept of a session's or a program's token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


@contextmanager
def _turn(is_known: bool) -> Iterator[None]:
    """Wait for one's turn; raise NotNow when many wait already: they hold threads and connections that others need."""
    with ExitStack() as held:
        for room in (_present,) if is_known else (_strangers, _present):
            _enter(held, room, wait_s=0)
        _enter(held, _working, wait_s=_PATIENCE_S)
        yield


def _enter(held: ExitStack, room: threading.Semaphore, wait_s: float) -> None:
    if not room.acquire(blocking=wait_s > 0, timeout=wait_s or None):
        raise NotNow(_FULL)
    held.callback(room.release)
