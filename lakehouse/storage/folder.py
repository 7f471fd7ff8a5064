"""What lies in a folder that is an object store: objects, and what somebody else put there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# How obstore names a file while it is being written
UNFINISHED = re.compile(r"#\d+$")


@dataclass(frozen=True, order=True)
class Found:
    """Something in a folder; *stranger* says why it is no object, empty if it is one."""

    key: str
    stranger: str = ""


def walk(folder: Path, prefix: str = "") -> Iterator[Found]:
    """
    Yield what lies under *prefix* in *folder*, in no order; files that are being written are left out.

    Links are not followed: one may lead out of the store, or round in it.
    """
    try:
        entries = list(os.scandir(folder / prefix))
    except FileNotFoundError:
        return
    except OSError as error:
        yield Found(prefix, f"cannot be read ({error.strerror})")
        return
    for entry in entries:
        name = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
        key = f"{prefix.rstrip('/')}/{name}".lstrip("/")
        if name != entry.name:
            yield Found(key, "has a name that is not UTF-8")
        elif entry.is_symlink():
            yield Found(key, "is a link, and links are not followed")
        elif entry.is_dir(follow_symlinks=False):
            yield from walk(folder, key)
        elif not entry.is_file(follow_symlinks=False):
            yield Found(key, "is no file")
        elif not UNFINISHED.search(name):
            yield Found(key)
