"""The sandbox holds as an ordinary user as well, with namespaces and without them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lakehouse.sandbox.host import Sandbox
from tests.components import require
from tests.sandbox.attacks import exhaustion, files, network, others, processes
from tests.sandboxes import PATIENT, RUNNER, printed, running_runner
from tests.seeds import seeds
from tests.unprivileged import NOBODY

EVERY = [attack for attacks in (files, others, network, processes) for attack in attacks.ATTACKS]
ATTACKS = {attack.name: attack for attack in EVERY[:: seeds(4, 1)]}
WITHOUT = (sys.executable, str(Path(__file__).parent / "without.py"), "--without", "namespaces")
# Root's Python lies where others cannot go: in this mount namespace its folder is open, and nothing else is in it
_OPEN = """
kept=$(mktemp -d); mount --bind "$1" "$kept"; mount -t tmpfs -o mode=755 tmpfs "$2"; mkdir -p "$1"
mount --move "$kept" "$1"; rmdir "$kept"; shift 2
exec setpriv --reuid={nobody} --regid={nobody} --clear-groups "$@"
"""


@pytest.fixture(scope="module", params=["with namespaces", "without namespaces"])
def ordinary(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Return a sandbox whose runner is an ordinary user's."""
    folder = Path(tempfile.mkdtemp(prefix="lakehouse-test-"))
    command = [*_as_ordinary_user(), *(RUNNER if request.param == "with namespaces" else WITHOUT)]
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    try:
        with running_runner(folder, command) as runner:
            yield runner.sandbox
    finally:
        shutil.rmtree(folder)


def test_an_ordinary_users_runs_work(ordinary: Sandbox) -> None:
    """They have the user's own id, and import what they need."""
    outcome = ordinary.run("import os, wave\nprint(os.getuid())", b"", user="anna", limits=PATIENT)
    assert (outcome.status, printed(outcome)) == ("done", f"{os.geteuid() or NOBODY}\n"), outcome


def test_an_ordinary_users_run_has_few_threads(ordinary: Sandbox) -> None:
    """No limit of the kernel's counts them apart from the user's others: who has too many is ended."""
    (attack,) = [each for each in exhaustion.ATTACKS if each.name == "start many threads on one stack"]
    outcome = ordinary.run(attack.program, b"", user="mallory", limits=attack.patient)
    assert (outcome.status, attack.got_out(outcome)) == ("died", False), outcome
    honest = "import threading, time\nfor _ in range(40): threading.Thread(target=time.sleep, args=(0.3,)).start()"
    assert ordinary.run(honest, b"", user="anna", limits=PATIENT).status == "done"


@pytest.mark.torture
def test_an_ordinary_users_runs_are_walled(ordinary: Sandbox) -> None:
    """Attacks by files, memory of others, network and processes are contained."""
    escaped = []
    for name, attack in ATTACKS.items():
        outcome = ordinary.run(attack.program, b"", user="mallory", limits=attack.patient)
        if attack.got_out(outcome) or outcome.status not in ("error", "died"):
            escaped.append((name, outcome))
    assert not escaped


def _as_ordinary_user() -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        require("unshare and setpriv", "install util-linux")
    python = Path(sys.base_prefix)
    closed = next((each for each in reversed(python.parents) if not each.stat().st_mode & 0o005), None)
    if closed is None:
        return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    script = _OPEN.format(nobody=NOBODY)
    return ("unshare", "--mount", "sh", "-ec", script, "sh", str(python), str(closed))
