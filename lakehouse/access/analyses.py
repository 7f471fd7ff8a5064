"""Analyses that users keep under a name: their code, and which data it was written for."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from lakehouse.access.roles import User
from lakehouse.market.errors import BadInput

MAX_ANALYSES = 100
MAX_CODE_BYTES = 64 << 10
MAX_NAME = 80  # characters


@dataclass(frozen=True)
class Analysis:
    """A saved analysis; *selection* is what `Selection.document` of serving/frames.py gives."""

    name: str
    code: str
    selection: Mapping[str, Any]


def names(conn: Connection[Any], user: User) -> list[str]:
    """Return the names of a user's analyses, the one saved last first."""
    rows = conn.execute(
        "SELECT name FROM lake.analysis WHERE user_id = %s ORDER BY saved_at DESC, name", (user.user_id,)
    )
    return [name for (name,) in rows]


def open_analysis(conn: Connection[Any], user: User, name: str) -> Analysis:
    """Return a user's analysis; raise BadInput when there is none of this name."""
    with conn.cursor(row_factory=class_row(Analysis)) as cursor:
        found = cursor.execute(
            "SELECT name, code, selection FROM lake.analysis WHERE user_id = %s AND name = %s",
            (user.user_id, parse_name(name)),
        ).fetchone()
    if found is None:
        raise BadInput(f"there is no saved analysis {name!r}: it was deleted or renamed; choose another")
    return found


def save(conn: Connection[Any], user: User, name: str, code: str, selection: Mapping[str, Any]) -> str:
    """
    Keep an analysis under *name*, in place of the one that has it; return the name as kept.

    Raises:
        BadInput: for a name or code that cannot be, and beyond `MAX_ANALYSES`.
    """
    name, code = parse_name(name), parse_code(code)
    with conn.transaction():
        _alone(conn, user)
        kept = names(conn, user)
        if name not in kept and len(kept) >= MAX_ANALYSES:
            raise BadInput(f"you keep {len(kept)} analyses, and {MAX_ANALYSES} is the most: delete one first")
        conn.execute(
            """
            INSERT INTO lake.analysis (user_id, name, code, selection) VALUES (%s, %s, %s, %s)
            ON CONFLICT (user_id, name) DO UPDATE
                SET code = excluded.code, selection = excluded.selection, saved_at = now()
            """,
            (user.user_id, name, code, Jsonb(dict(selection))),
        )
    return name


def rename(conn: Connection[Any], user: User, name: str, new_name: str) -> str:
    """Rename an analysis and return the new name as kept; raise BadInput when it is taken, or there is no *name*."""
    name, new_name = parse_name(name), parse_name(new_name)
    with conn.transaction():
        _alone(conn, user)
        if new_name != name and new_name in names(conn, user):
            raise BadInput(f"you keep an analysis {new_name!r} already: choose another name, or delete that one first")
        renamed = conn.execute(
            "UPDATE lake.analysis SET name = %s WHERE user_id = %s AND name = %s", (new_name, user.user_id, name)
        )
        if not renamed.rowcount:
            raise BadInput(f"there is no saved analysis {name!r}: it was deleted or renamed; choose another")
    return new_name


def delete(conn: Connection[Any], user: User, name: str) -> None:
    """Delete an analysis; raise BadInput when there is none of this name."""
    deleted = conn.execute(
        "DELETE FROM lake.analysis WHERE user_id = %s AND name = %s", (user.user_id, parse_name(name))
    )
    if not deleted.rowcount:
        raise BadInput(f"there is no saved analysis {name!r}: it was deleted or renamed already")


def parse_name(text: object) -> str:
    """Return *text* as an analysis's name: 1 to 80 visible characters, blanks at the ends taken off."""
    name = " ".join(text.split()) if isinstance(text, str) else ""
    if not 1 <= len(name) <= MAX_NAME or any(unicodedata.category(letter)[0] == "C" for letter in name):
        raise BadInput(f"an analysis has a name of 1 to {MAX_NAME} visible characters: type one")
    return name


def parse_code(text: object) -> str:
    """Return *text* as an analysis's code; raise BadInput for what is too long or is no text."""
    if not isinstance(text, str) or "\0" in text or not text.strip():
        raise BadInput("there is no code: write some, or choose an example")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise BadInput("the code holds characters that are none (halves of surrogate pairs): remove them") from None
    if size > MAX_CODE_BYTES:
        raise BadInput(f"the code has {size:,} bytes, and {MAX_CODE_BYTES:,} is the most: shorten it")
    return text


def _alone(conn: Connection[Any], user: User) -> None:
    """Wait until nobody else changes this user's analyses in a transaction of their own."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('analyses ' || %s::text, 0))", (user.user_id,))
