"""What of this repository goes with the functions: the modules that the handlers import, and the entry Lambda calls."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import grimp

from functions.app import app
from infra.installing.environment import ROOT

ROOTS = ("lakehouse", "functions")
HANDLERS = "functions.app"


def own_files() -> list[str]:
    """Return the files of the modules that the handlers import, directly or not, as paths from the root, sorted."""
    return sorted(_file(module) for module in own_modules())


def own_modules() -> set[str]:
    """Return the handlers' module, what it imports of ours, late imports included, and their packages."""
    graph = _graph()
    found, waiting = set[str](), {HANDLERS}
    while waiting:
        found |= waiting
        imported = {module for name in waiting for module in graph.find_upstream_modules(name)}
        ours = {module for module in imported | waiting if module.split(".")[0] in ROOTS}
        waiting = {package for module in ours for package in _with_packages(module)} - found
    return found


def imported_packages() -> set[str]:
    """Return the top-level names that those modules import from elsewhere, the standard library's included."""
    graph = _graph()
    imported = {name for module in own_modules() for name in graph.find_modules_directly_imported_by(module)}
    return {name.split(".")[0] for name in imported} - set(ROOTS)


def entry() -> str:
    """Return ``app.py``, the module that Chalice names as every handler's: functions/app.py, with logs."""
    names = ["app", *sorted(handler_names())]
    return (
        f'"""Made by make package."""\n\nfrom {HANDLERS} import {", ".join(names)}\n'
        f"from functions.context import configure\n\nconfigure()\n__all__ = {names!r}\n"
    )


def metadata() -> dict[str, bytes]:
    """Return the file that says our name and version, by its path: requests to the exchange tell them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder = f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    text = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    return {f"{folder}/METADATA": text.encode()}


def handler_names() -> list[str]:
    """Return the names of the handlers of events; those of HTTP are behind ``app`` itself."""
    return [str(source.handler_string).split(".")[1] for source in event_sources()]


def event_sources() -> list[Any]:
    """Return what calls handlers besides HTTP, as Chalice's configuration of each source."""
    return list(app.event_sources)


def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(*ROOTS, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None)


def _with_packages(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _file(module: str) -> str:
    path = Path(*module.split("."))
    return str(path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py"))
