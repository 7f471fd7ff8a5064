"""The descriptions of the images agree with the code; that they build and run is what `make images` shows."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.check_lock import closure, environment_here, installed_requires
from infra.installing.environment import ROOT
from infra.installing.minio import CHECKSUM
from lakehouse.storage.minio import MINIO_VERSION

DOCKER = ROOT / "infra" / "docker"
OURS = ("lakehouse", "functions", "gradio_app")
# What is started in each by `python -m`, which no import shows
STARTED = {
    "web": ["gradio_app.server", "functions.embedded", "lakehouse.serving.lake_sql.duckdb_child", "lakehouse.probe"],
    "sandbox": [
        "lakehouse.sandbox.runner",
        "lakehouse.sandbox.forkserver",
        "lakehouse.sandbox.warm",
        "lakehouse.probe",
    ],
}


@pytest.mark.parametrize("image", STARTED)
def test_an_image_holds_what_its_modules_import(image: str) -> None:
    """
    The groups in pyproject.toml name all that is imported there, or what requires it.

    Late imports included, and packages of which only files are read.
    """
    graph = grimp.build_graph(*OURS, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None)
    modules = {*STARTED[image], *(each for name in STARTED[image] for each in graph.find_upstream_modules(name))}
    imported = {module.split(".")[0] for module in modules} - {*OURS, *sys.stdlib_module_names}
    imported |= {name for module in modules for name in re.findall(r'\bfiles\("(\w+)"\)', source(module))} - {*OURS}
    provided_by = packages_distributions()
    group = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"][image]
    held = {
        canonicalize_name(requirement.name)
        for requirement, _ in closure(map(Requirement, group), installed_requires, environment_here())
    }
    missing = {name for name in imported if not held & {canonicalize_name(each) for each in provided_by[name]}}
    assert not missing, f"add to the group {image} of pyproject.toml: {missing}"


def source(module: str) -> str:
    """Return the text of a module of ours; none of others."""
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8") if module.split(".")[0] in OURS else ""


def test_minio_in_its_image_is_the_one_that_the_tests_run() -> None:
    """Version and checksum stand in the Dockerfile too, which can import nothing."""
    text = (DOCKER / "minio.Dockerfile").read_text(encoding="utf-8")
    assert f"ARG MINIO_VERSION={MINIO_VERSION}\n" in text
    assert f"ARG MINIO_CHECKSUM={CHECKSUM}\n" in text


@pytest.mark.parametrize("file", sorted(DOCKER.glob("*.Dockerfile")), ids=lambda file: file.stem)
def test_images_begin_with_whole_versions_and_end_with_our_user(file: Path) -> None:
    """A name without a whole version would build another image tomorrow; hadolint takes python:3 for pinned."""
    text = file.read_text(encoding="utf-8")
    images = re.findall(r"^ARG \w+_IMAGE=(\S+)$", text, re.MULTILINE)
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
    assert images
    assert all(re.search(r":\d+\.\d+\.\d+\b", image) for image in images)
    assert all(base.startswith("${") or base in {name for _, name in stages} for base, _ in stages)
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] == "10001:10001"
