"""
Make the functions' package, ``build/functions.zip``, and check it: ``make package``.

The same files lie in ``build/chalice``, a project as Chalice takes it; infra/aws/deployment.py adds its configuration.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.aws.archive import files_below, weight_by_package, write_archive
from infra.aws.own import entry, handler_names, metadata, own_files
from infra.aws.third_party import python_version, third_party
from infra.installing.environment import ROOT, base_python
from infra.installing.report import SetupFailed

ARCHIVE = ROOT / "build" / "functions.zip"
PROJECT = ROOT / "build" / "chalice"
MB = 1_000_000
MOST_ZIPPED, MOST_UNPACKED = 50 * MB, 75 * MB
# Too large for the package, or there in every runtime
KEPT_OUT = ("pandas", "pyarrow", "polars", "deltalake", "numpy", "duckdb", "pyspark", "boto3", "botocore")
_PROBE = Path(__file__).with_name("probe.py")


@dataclass(frozen=True)
class Imported:
    """
    What importing the handlers from the package alone took.

    Attributes:
        strangers: Modules that came from elsewhere than the package and the standard library.
        missing: Handlers that the package's ``app`` lacks.
    """

    seconds: float
    mb: int
    strangers: Sequence[str]
    missing: Sequence[str]


def main() -> int:
    try:
        make_package(ARCHIVE, third_party(python_version()))
        imported = import_handlers(ARCHIVE) if runs_here() else None
    except SetupFailed as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    stage(ARCHIVE, PROJECT)
    print_figures(ARCHIVE, imported)
    wrong = [*wrong_contents(ARCHIVE), *wrong_sizes(ARCHIVE), *(wrong_imports(imported) if imported else ())]
    for problem in wrong:
        print(f"Error: {problem}", file=sys.stderr)
    return 1 if wrong else 0


def make_package(archive: Path, packages: Path) -> None:
    """Write *archive*: what lies in the folder *packages*, our modules, and the entry."""
    ours = {**files_below(ROOT, own_files()), **metadata(), "app.py": entry().encode()}
    write_archive(archive, {**files_below(packages), **ours})


def stage(archive: Path, project: Path) -> None:
    """
    Unpack *archive* as the Chalice project in the folder *project*: ``app.py``, and all else under ``vendor``.

    Chalice's own runtime is left out, as Chalice adds it from where it runs: the same version, by the locks.
    """
    shutil.rmtree(project / "vendor", ignore_errors=True)
    with zipfile.ZipFile(archive) as file:
        file.extract("app.py", project)
        others = [name for name in file.namelist() if name != "app.py" and not name.startswith("chalice/")]
        file.extractall(project / "vendor", others)


def import_handlers(archive: Path) -> Imported:
    """
    Return what infra/aws/probe.py says of *archive*, unpacked.

    Raises:
        SetupFailed: if the handlers cannot be imported from it.
    """
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
        command = [base_python(), "-I", "-S", str(_PROBE), folder, *handler_names()]
        ran = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if ran.returncode != 0:
        told = ran.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise SetupFailed(
            f"the handlers cannot be imported from {archive.name} ({told[0]}): add what is missing to the group "
            "functions of pyproject.toml, then run make lock and make package again"
        )
    return Imported(**json.loads(ran.stdout))


def runs_here() -> bool:
    """Return whether this machine can run what is made for Lambda."""
    return (platform.system(), platform.machine()) == ("Linux", "x86_64")


def wrong_contents(archive: Path) -> Iterator[str]:
    """Yield what of ours is missing in *archive* or other than here, and what has no place in it."""
    with zipfile.ZipFile(archive) as file:
        names = set(file.namelist())
        for name in own_files():
            if name not in names or file.read(name) != (ROOT / name).read_bytes():
                yield f"{name} is not in {archive.name} as it is here: run make package again"
    for package in sorted(set(KEPT_OUT) & {name.split("/")[0] for name in names}):
        yield f"{package} is in {archive.name}: no handler may import it, nor the group functions name what requires it"


def wrong_sizes(archive: Path, most_zipped: int = MOST_ZIPPED, most_unpacked: int = MOST_UNPACKED) -> Iterator[str]:
    """Yield by how much *archive* is too large."""
    zipped, unpacked = archive.stat().st_size, weight_by_package(archive).total()
    for what, size, most in (("zipped", zipped, most_zipped), ("unpacked", unpacked, most_unpacked)):
        if size >= most:
            yield f"{archive.name} has {size:,} bytes {what}, allowed are {most - 1:,}: see its largest packages"


def wrong_imports(imported: Imported) -> Iterator[str]:
    """Yield what was imported from outside the package, and handlers that are not in it."""
    if imported.strangers:
        yield f"{', '.join(imported.strangers)} came from outside the package: add them to the group functions"
    for name in imported.missing:
        yield f"the package's app.py has no handler {name}, which functions/app.py declares"


def print_figures(archive: Path, imported: Imported | None) -> None:
    """Print what *archive* weighs, its five largest packages, and what importing the handlers took."""
    weights = weight_by_package(archive)
    zipped, unpacked = archive.stat().st_size / MB, weights.total() / MB
    print(f"{archive.name}: {zipped:.1f} MB, {unpacked:.1f} MB unpacked, for Python {python_version()}")
    for package, size in weights.most_common(5):
        print(f"  {package:<16}{size / MB:5.1f} MB")
    if imported:
        print(f"  handlers imported from it alone: {imported.seconds} s, {imported.mb} MB of memory")
    else:
        print(
            f"  handlers not imported: this is {platform.system()} on {platform.machine()}, Lambda is Linux on x86_64"
        )


if __name__ == "__main__":
    sys.exit(main())
