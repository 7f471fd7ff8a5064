"""The packages of others that go with the functions: from a lock of their own, as wheels for Lambda's Linux."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from infra.installing.environment import ROOT, install_uv, uv_settings
from infra.installing.report import SetupFailed, run, step
from lakehouse.cache import cache_dir

FUNCTIONS_LOCK = ROOT / "infra" / "locks" / "functions.lock"
# Of Chalice its runtime is packed, which imports the standard library only: botocore, jmespath and six come with
# Lambda's boto3, the others serve its command line.
LEFT_OUT = ("botocore", "inquirer", "jmespath", "pip", "setuptools", "six", "wheel")
CHALICE_RUNTIME = ("__init__.py", "app.py")

# The C library of each Python's runtime: Amazon Linux 2, then 2023
GLIBC = {"3.11": (2, 26), "3.12": (2, 34), "3.13": (2, 34)}
_NOT_PACKED = ("RECORD", "INSTALLER", "REQUESTED", "uv_cache.json", "direct_url.json")
_ONLINE = "check that this machine reaches its Python package registry, then run make package again"
_PLATFORM = re.compile(r"^Tag: .*-(\S+)$", re.MULTILINE)
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_x86_64")
_OLD_NAMES = {
    "any": (0, 0),
    "manylinux1_x86_64": (2, 5),
    "manylinux2010_x86_64": (2, 12),
    "manylinux2014_x86_64": (2, 17),
}


def python_version() -> str:
    """Return the Python that the package is for: the one that runs, as Chalice deploys for it."""
    return ".".join(platform.python_version_tuple()[:2])


def third_party(python: str) -> Path:
    """
    Return a folder with the locked packages for *python*, in the cache; it is made on first use.

    Raises:
        SetupFailed: if a package cannot be had, or its wheel needs a newer C library than Lambda has.
    """
    made_of = FUNCTIONS_LOCK.read_bytes() + Path(__file__).read_bytes()
    home = cache_dir() / "functions" / f"python{python}-{hashlib.sha256(made_of).hexdigest()[:16]}"
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        with step(f"installing the functions' locked packages into {home}"):
            fill = Path(tempfile.mkdtemp(prefix=".filling-", dir=home.parent))
            try:
                install_into(fill, python)
                fill.rename(home)
            except OSError:
                if not home.is_dir():  # else another process was quicker
                    raise
            finally:
                shutil.rmtree(fill, ignore_errors=True)
    return home


def install_into(folder: Path, python: str) -> None:
    """Install the lock's packages for *python* into *folder*, without what no function reads."""
    wheels = ["--only-binary", ":all:", "--python-platform", "x86_64-manylinux_2_28", "--python-version", python]
    locked = ["--no-deps", "--require-hashes", "--requirements", str(FUNCTIONS_LOCK)]
    where = ["--target", str(folder), "--link-mode", "copy"]
    run([install_uv(), "pip", "install", *wheels, *where, *locked], _ONLINE, uv_settings())
    check_wheels(folder, python)
    strip(folder)


def check_wheels(folder: Path, python: str) -> None:
    """Raise SetupFailed if a wheel in *folder* needs a newer C library than Lambda has for *python*."""
    if unfit := list(too_new(folder, GLIBC[python])):
        raise SetupFailed(
            f"Lambda's Python {python} has glibc {'.'.join(map(str, GLIBC[python]))}, too old for {', '.join(unfit)}: "
            "set up with a newer Python, or lock older versions of them, then run make package again"
        )


def too_new(folder: Path, glibc: tuple[int, int]) -> Iterator[str]:
    """Yield the installed wheels none of whose tags says that *glibc* is enough."""
    for file in sorted(folder.glob("*.dist-info/WHEEL")):
        platforms = _PLATFORM.findall(file.read_text(encoding="utf-8"))
        if not any(_least_glibc(name) <= glibc for tag in platforms for name in tag.split(".")):
            yield file.parent.name.removesuffix(".dist-info")


def _least_glibc(name: str) -> tuple[int, int]:
    known = _MANYLINUX.fullmatch(name)
    return (int(known[1]), int(known[2])) if known else _OLD_NAMES.get(name, (99, 0))


def strip(folder: Path) -> None:
    """Remove scripts, records of the installation, and of Chalice all but its runtime."""
    shutil.rmtree(folder / "bin", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    for name in _NOT_PACKED:
        for file in folder.glob(f"*.dist-info/{name}"):
            file.unlink()
    for path in (folder / "chalice").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in CHALICE_RUNTIME:
            path.unlink()
