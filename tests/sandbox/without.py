"""
A runner whose children lack some walls: for the tests only, which show by it what each wall is for.

Production has no way here: no setting and no argument takes a wall away; this file replaces functions of `walls` in a
fork server that it starts itself. Names: user, landlock, limits, seccomp, namespaces.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from lakehouse.sandbox import forkserver, namespaces, runner, selftest, walls  # noqa: E402 - the path comes first

_FUNCTION = {"user": "own_user", "landlock": "restrict_files", "limits": "limit", "seccomp": "filter_calls"}


def serve_forks(names: list[str]) -> None:
    """Be a fork server without these walls."""
    for name in names:
        if name in _FUNCTION:
            setattr(walls, _FUNCTION[name], lambda *_: None)
    forkserver.main()


def main() -> int:
    """Run `without.py [forks] --without NAMES --socket PATH`."""
    at = sys.argv.index("--without")
    names = sys.argv[at + 1].split(",")
    del sys.argv[at : at + 2]
    if sys.argv[1] == "forks":
        serve_forks(names)
    command = (sys.executable, "-X", "utf8", __file__, "forks", "--without", ",".join(names))
    selftest.why_off = lambda execute: None
    if "namespaces" in names:
        namespaces.why_not = lambda folders: "taken away by a test"
    return runner.main(command)


if __name__ == "__main__":
    sys.exit(main())
