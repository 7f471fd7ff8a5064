"""The table of who may do what, access_matrix.txt, and who asks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ASKING = ("nobody", "viewer", "analyst", "admin", "token", "reading")
ANSWERED, REFUSED, NOT_THERE = "+", "-", "0"
SECTIONS = ("api", "web", "callbacks")

Expected = Mapping[str, str]  # a mark for each who may ask


def read_matrix() -> dict[str, dict[str, Expected]]:
    """Return section, then line, then the mark of each who may ask; a line is ``METHOD path`` or ``Class.method``."""
    matrix: dict[str, dict[str, Expected]] = {}
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if line.startswith("["):
            section = matrix.setdefault(words[0].strip("[]"), {})
            assert tuple(words[1:]) == ASKING, line
            continue
        name, marks = " ".join(words[: -len(ASKING)]), words[-len(ASKING) :]
        assert name not in section, f"{name} is there twice"
        assert set(marks) <= {ANSWERED, REFUSED, NOT_THERE}, line
        section[name] = dict(zip(ASKING, marks, strict=True))
    assert tuple(matrix) == SECTIONS
    return matrix
