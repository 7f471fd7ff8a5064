"""pyproject.toml names what the code imports."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.check_lock import installed_requires
from infra.installing.environment import ROOT

OURS = {"lakehouse", "functions", "gradio_app", "tests", "infra", "benchmarks"}
# Part of PySpark's interface, in the one version that PySpark asks for
BY_ANOTHER = {"py4j"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imported(folder: str) -> Iterator[str]:
    """Yield the packages of others that a folder's modules import themselves, late imports included."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            yield from {name.split(".")[0] for name in names} - OURS - BY_ANOTHER - set(sys.stdlib_module_names)


def declared(requirements: list[str]) -> Iterator[str]:
    """Yield the distributions that *requirements* name, and those that their extras stand for."""
    for requirement in map(Requirement, requirements):
        yield canonicalize_name(requirement.name)
        for each in map(Requirement, installed_requires(requirement.name) if requirement.extras else ()):
            if each.marker and any(each.marker.evaluate({"extra": extra}) for extra in requirement.extras):
                yield canonicalize_name(each.name)


@pytest.mark.parametrize("folder", ["lakehouse", "functions", "gradio_app", "tests", "benchmarks"])
def test_what_is_imported_is_declared(folder: str) -> None:
    """What comes only because another package needs it today goes with that one tomorrow."""
    names = list(PROJECT["project"]["dependencies"])
    if folder in ("tests", "benchmarks"):
        names += [*PROJECT["project"]["optional-dependencies"]["dev"], *PROJECT["dependency-groups"]["deploy"]]
    if folder == "gradio_app":
        names = PROJECT["dependency-groups"]["web"]
    held, provided_by = set(declared(names)), packages_distributions()
    found = set(imported(folder))
    assert found
    assert {name for name in found if not held & {canonicalize_name(each) for each in provided_by[name]}} == set()
