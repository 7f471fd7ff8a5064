"""
Whether a service is well, as health checks of containers ask: ``python -m lakehouse.probe PLACE``.

Exit 0 if it is, else 1 and one line. Standard library only, as it runs every few seconds in every container.
"""

from __future__ import annotations

import sys
import time
import urllib.error
from pathlib import Path

from lakehouse.ports import direct

_ANSWER_S = 4.0
# A worker tells every 5 s that it lives and reaches its database
_FRESH_S = 30.0
_USAGE = (
    "usage: python -m lakehouse.probe http://HOST:PORT/PATH | unix:SOCKET of the sandbox | fresh:FILE of a worker\n"
)


def why_unwell(place: str) -> str | None:
    """Return why what is at *place* is not well, None if it is; raise ValueError for a place of no known kind."""
    kind, _, rest = place.partition(":")
    if kind == "http":
        return _why_no_answer(place)
    if kind == "unix":
        return _why_no_runner(Path(rest))
    if kind == "fresh":
        return _why_stale(Path(rest))
    raise ValueError(place)


def _why_no_answer(url: str) -> str | None:
    try:
        direct().open(url, timeout=_ANSWER_S).close()
    except urllib.error.HTTPError as error:
        said = error.read(300).decode(errors="replace")
        return f"{url} answered {error.code}: {said}"
    except OSError as error:
        return f"{url} does not answer: {error}"
    return None


def _why_no_runner(path: Path) -> str | None:
    from lakehouse.sandbox.host import Sandbox

    try:
        reason = Sandbox(path).status()["why_off"]
    except (OSError, EOFError, ValueError, LookupError) as error:
        return f"the sandbox's runner at {path} does not answer: {error}"
    if reason:  # shown by `docker inspect`; a kernel without the walls is no reason to start it again
        sys.stdout.write(f"the sandbox is off: {reason}\n")
    return None


def _why_stale(path: Path) -> str | None:
    try:
        age_s = time.time() - path.stat().st_mtime
    except OSError as error:
        return f"the worker has not told yet that it lives: {error}"
    return f"the worker's last sign of life is {age_s:.0f} s old" if age_s > _FRESH_S else None


def main() -> int:
    """Return 0 if the place in the argument is well, 1 with one line if not, 2 for no such place."""
    try:
        (place,) = sys.argv[1:]
        reason = why_unwell(place)
    except ValueError:
        sys.stderr.write(_USAGE)
        return 2
    if reason:
        sys.stderr.write(f"{reason}\n")
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
