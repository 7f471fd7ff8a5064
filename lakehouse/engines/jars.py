"""Where Spark's jars and its Java are. Standard library only: set-up shares it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from lakehouse.cache import cache_dir
from lakehouse.market.errors import LakehouseError

OLDEST_JAVA = 17  # Spark 4 runs on 17, 21 and 25
JARS = "spark-4.2.0-delta-4.4.0-s3a-3.5.0"
_DELTA = "delta-*.jar"


class SparkNotInstalled(LakehouseError):
    """Spark's jars or its Java are missing."""


def jar_paths(*, with_s3: bool = False) -> list[Path]:
    """
    Return the jars that Delta needs beside PySpark, for Spark's extraClassPath, sorted by name.

    Args:
        with_s3: Those that Spark needs to read and write S3 as well.

    Raises:
        SparkNotInstalled: if set-up has not fetched them.
    """
    jars = sorted(jars_dir().glob("*.jar" if with_s3 else _DELTA))
    if not jars:
        raise SparkNotInstalled(f"Spark's jars are missing: {jars_dir()} holds none; run make setup")
    return jars


def java_home() -> Path:
    """
    Return the home of a Java 17 or later: JAVA_HOME, else the one on PATH, else the one that set-up installed.

    Spark takes it as JAVA_HOME. Asking a Java for its version takes about 0.1 s.

    Raises:
        SparkNotInstalled: if there is none.
    """
    for home in _candidate_homes():
        version = java_version(home)
        if version is not None and version >= OLDEST_JAVA:
            return home
    raise SparkNotInstalled(
        f"no Java {OLDEST_JAVA} or later in JAVA_HOME, on PATH or in {installed_java_home()}; run make setup"
    )


def jars_dir() -> Path:
    """Return the folder of the jars, named by the versions that belong together."""
    return cache_dir() / "jars" / JARS


def installed_java_home() -> Path:
    """Return where set-up puts a Java when the machine has none."""
    return cache_dir() / "java" / "home"


def java_version(home: Path) -> int | None:
    """Return the feature version (17, 21, ...) of the Java at *home*, None if it does not run."""
    try:
        asked = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # `openjdk version "17.0.15"`; Java 8 says "1.8.0", which reads as 1 and is too old as well
    found = re.search(r'version "(\d+)', asked.stderr + asked.stdout)
    return int(found.group(1)) if asked.returncode == 0 and found else None


def _candidate_homes() -> list[Path]:
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    on_path = shutil.which("java")
    if on_path:
        homes.append(Path(on_path).resolve().parent.parent)
    return [*homes, installed_java_home()]
