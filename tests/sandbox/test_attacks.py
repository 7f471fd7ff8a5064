"""Every attack is contained, and each is an attack: without the walls it gets what it wants."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.sandbox.host import Sandbox
from tests.attacks import ESCAPED, Attack
from tests.components import require
from tests.sandbox.attacks import exhaustion, files, leavings, network, others, processes, results
from tests.sandboxes import printed, running_runner

BY_CATEGORY = {
    "files": files.ATTACKS,
    "others": others.ATTACKS,
    "network": network.ATTACKS,
    "processes": processes.ATTACKS,
    "exhaustion": exhaustion.ATTACKS,
    "results": results.ATTACKS,
    "leavings": leavings.ATTACKS,
}
ATTACKS = {f"{category}: {attack.name}": attack for category, all_of in BY_CATEGORY.items() for attack in all_of}
PROVABLE = {name: attack for name, attack in ATTACKS.items() if not attack.unsafe}
WITHOUT = (sys.executable, str(Path(__file__).parent / "without.py"), "--without")
# What each wall alone keeps out, where the namespaces do not stand behind it
ALONE = {
    "seccomp": (
        "network: make a pair of sockets",
        "others: let itself be traced",
        "others: system call ptrace",
        "processes: choose a core",
        "processes: fork",
        "processes: system call io_uring_setup",
        "processes: system call memfd_create",
    ),
    "landlock": (
        "files: list the root",
        "files: read the list of users",
        "files: write a temporary file",
        "others: list processes",
        "others: read the machine's settings",
    ),
    "limits": (
        "exhaustion: allocate a little more than it may",
        "exhaustion: copy many descriptors",
        "exhaustion: open many files",
    ),
}


def test_there_are_enough_of_them() -> None:
    """At least 100 programs, each under a name of its own, most of which prove themselves."""
    assert len(ATTACKS) == sum(map(len, BY_CATEGORY.values())) >= 100
    assert len(PROVABLE) > len(ATTACKS) / 2


@pytest.fixture(autouse=True)
def _numbers_of_this_machine() -> None:
    if platform.machine() != "x86_64":
        require("the numbers of x86_64", "the attacks call the kernel by number: run them on such a machine")


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_contained(sandbox: Sandbox, name: str) -> None:
    """It gets nothing, its end is told as an outcome, and runner and fork server are what they were."""
    attack = ATTACKS[name]
    before = _processes(sandbox)
    outcome = sandbox.run(attack.program, b"", user="mallory", limits=attack.limits)
    assert not attack.got_out(outcome), outcome
    assert ESCAPED not in printed(outcome) or attack.raw != ESCAPED.encode(), outcome
    assert outcome.status != "refused" or "result" in (outcome.message or ""), outcome
    assert _processes(sandbox) == before


@pytest.mark.parametrize("name", PROVABLE)
def test_an_attack_proves_itself_without_walls(unwalled: Sandbox, name: str) -> None:
    """In a child without any wall it gets what it wants, so that its failure elsewhere means something."""
    attack = PROVABLE[name]
    document = _document(unwalled, attack)
    assert attack.raw in document, document[-2000:]


@pytest.mark.parametrize("wall", ALONE)
def test_a_wall_taken_away_lets_its_attacks_through(tmp_path: Path, wall: str) -> None:
    """Each of the three walls keeps out what the others would let pass."""
    with running_runner(tmp_path, [*WITHOUT, f"{wall},namespaces"]) as runner:
        for name in ALONE[wall]:
            attack = ATTACKS[name]
            outcome = runner.sandbox.run(attack.program, b"", user="mallory", limits=attack.patient)
            assert attack.got_out(outcome), (name, outcome)


@pytest.fixture(scope="module")
def unwalled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Return a sandbox whose children have no walls: throwaway processes, which end as they please."""
    every = "user,landlock,limits,seccomp,namespaces"
    with running_runner(tmp_path_factory.mktemp("unwalled"), [*WITHOUT, every]) as runner:
        yield runner.sandbox


def _processes(sandbox: Sandbox) -> tuple[int, int]:
    answer = sandbox.status()
    return answer["pid"], answer["fork_server"]


def _document(sandbox: Sandbox, attack: Attack) -> bytes:
    """Return what the child wrote, as nobody has validated it."""
    return sandbox.exchange(attack.program.encode(), b"", "mallory", attack.patient, lambda _: None)[1]
