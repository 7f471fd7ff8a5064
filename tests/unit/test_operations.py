"""The operations guide knows every alarm."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def alarms() -> Iterator[str]:
    """Yield the events that are logged as warnings and errors."""
    for folder in ("lakehouse", "functions", "gradio_app"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                is_alarm = (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and ast.unparse(node.func.value) == "log"
                    and node.func.attr in ("warning", "error", "exception", "critical")
                )
                if is_alarm and isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant):
                    yield str(node.args[0].value)


def test_every_alarm_of_the_logs_is_in_the_guide() -> None:
    """Whoever finds a warning or an error in a log finds what it is, and what to do, in docs/operations.md."""
    found = set(alarms())
    assert len(found) > 10
    assert {name for name in found if f"`{name}`" not in GUIDE} == set()
