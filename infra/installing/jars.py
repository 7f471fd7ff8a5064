"""The jars that Delta and S3 need beside PySpark: fetched by Maven, else by the Ivy inside PySpark, and checked."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from infra.installing.environment import ROOT
from infra.installing.report import SetupFailed, run, step
from infra.installing.trust import find_bundle
from lakehouse.engines.jars import installed_java_home, jars_dir, java_home

POM = ROOT / "infra" / "spark" / "pom.xml"
CHECKSUMS = ROOT / "infra" / "spark" / "jars.sha256"
ONLINE = "check that this machine reaches its Java package registry, then run make setup again"
# Named in full: the short name would need the plug-in's group to be set
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"


def install_jars(venv: Path) -> None:
    """Put the jars into the cache unless they are there, whole; *venv* holds PySpark, for its Ivy."""
    folder = jars_dir()
    if not wrong_jars(folder):
        print(f"  Spark's jars: there ({folder})")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        maven = shutil.which("mvn")
        with step(f"fetching Spark's jars by {'Maven' if maven else 'the Ivy inside PySpark'} into {folder}"):
            fetched = Path(scratch) / "jars"
            if maven:
                fetch_by_maven(maven, fetched)
            else:
                fetch_by_ivy(venv, fetched, Path(scratch))
            if wrong := wrong_jars(fetched):
                raise SetupFailed(
                    f"{', '.join(wrong)} received from the Java package registry: not what {CHECKSUMS} says; "
                    "nothing was installed; use a registry that serves the originals, then run make setup again"
                )
            shutil.rmtree(folder, ignore_errors=True)
            fetched.rename(folder)


def fetch_by_maven(maven: str, target: Path) -> None:
    """Copy the jars named in the POM to *target*."""
    run([maven, "--batch-mode", "--quiet", "--file", POM, COPY, f"-DoutputDirectory={target}"], ONLINE)


def fetch_by_ivy(venv: Path, target: Path, scratch: Path) -> None:
    """Copy the jars named in the POM to *target* with the Ivy that PySpark ships; it needs Java only."""
    ivy_file = scratch / "ivy.xml"
    ivy_file.write_text(ivy_module(POM), encoding="utf-8")
    home = java_home()
    classpath = ["-cp", f"{pyspark_jars(venv)}/*", "org.apache.ivy.Main"]
    where = ["-cache", str(scratch / "ivy"), "-retrieve", f"{target}/[artifact]-[revision].[ext]"]
    ask = ["-ivy", str(ivy_file), "-m2compatible", "-types", "jar", *where]
    run([home / "bin" / "java", *trust_options(home, venv, scratch), *classpath, *ask], ONLINE)


def trust_options(home: Path, venv: Path, scratch: Path) -> list[str]:
    """Return the options that make the Java that we installed trust what this machine trusts; others do already."""
    bundle = find_bundle()
    if home != installed_java_home() or bundle is None:
        return []
    store = scratch / "authorities.jks"
    py4j = next(pyspark_jars(venv).glob("py4j-*.jar"))
    program: list[str | Path] = [venv / "bin" / "python", "-m", "infra.installing.trust"]
    run([*program, home / "bin" / "java", py4j, bundle, store], "install Maven, then run make setup again")
    return [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStoreType=JKS"]


def ivy_module(pom: Path) -> str:
    """Return the Ivy file that asks for the jars of *pom*, without what they depend on themselves."""
    module = ElementTree.Element("ivy-module", version="2.0")
    ElementTree.SubElement(module, "info", organisation="lakehouse", module="spark-jars")
    wanted = ElementTree.SubElement(module, "dependencies", defaultconf="default->master")
    for item in ElementTree.parse(pom).iter("artifactItem"):
        group, artifact, version = (item.findtext(tag, "") for tag in ("groupId", "artifactId", "version"))
        ElementTree.SubElement(wanted, "dependency", org=group, name=artifact, rev=version, transitive="false")
    return ElementTree.tostring(module, encoding="unicode")


def wrong_jars(folder: Path) -> list[str]:
    """Return the names of jars in *folder* that are missing, not whole, or not ours."""
    expected = read_checksums(CHECKSUMS)
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def read_checksums(file: Path) -> dict[str, str]:
    """Return the checksums by name of *file*, which is laid out as sha256sum's output."""
    lines = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return {name: checksum for checksum, name in lines}


def pyspark_jars(venv: Path) -> Path:
    """Return the folder of the jars that PySpark brings."""
    for folder in venv.glob("lib/python*/site-packages/pyspark/jars"):
        return folder
    raise SetupFailed(f"PySpark is missing in {venv}; delete that folder, then run make setup again")


if __name__ == "__main__":  # of an image's environment, by its Python: infra/docker/lakehouse.Dockerfile
    try:
        install_jars(Path(sys.prefix))
    except SetupFailed as error:
        sys.exit(f"Error: {error}")
