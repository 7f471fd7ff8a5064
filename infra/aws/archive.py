"""The zip: the same bytes for the same contents, whenever and wherever it is made; and what it weighs."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

# A zip knows no earlier time
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644


def write_archive(archive: Path, contents: Mapping[str, bytes]) -> None:
    """Write *contents* by name, sorted, all with one time and mode; *archive* appears whole."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    unfinished = archive.with_name(f".{archive.name}.unfinished")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _MODE << 16, 3
            file.writestr(entry, contents[name])
    unfinished.replace(archive)


def files_below(folder: Path, names: Iterable[str] | None = None) -> dict[str, bytes]:
    """Return the files of *folder* by their path in it: all but compiled Python, or those of *names*."""
    if names is None:
        paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        names = [path.relative_to(folder).as_posix() for path in paths]
    return {name: (folder / name).read_bytes() for name in names}


def weight_by_package(archive: Path) -> Counter[str]:
    """Return bytes unpacked by package: a folder or module at the top, with its libraries and metadata."""
    weights: Counter[str] = Counter()
    with zipfile.ZipFile(archive) as file:
        for entry in file.infolist():
            weights[_package(entry.filename)] += entry.file_size
    return weights


def _package(name: str) -> str:
    top = name.split("/")[0]
    return top.split("-")[0] if top.endswith(".dist-info") else top.split(".")[0]
