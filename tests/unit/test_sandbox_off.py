"""The sandbox fails closed: whatever is wrong, it is off, and says what."""

from __future__ import annotations

import json
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from lakehouse.sandbox import selftest, wire
from lakehouse.sandbox.host import Sandbox
from lakehouse.sandbox.limits import Limits
from lakehouse.sandbox.runner import Runner
from lakehouse.sandbox.supervision import Ending

NO_SERVER = (sys.executable, "-c", "raise SystemExit(1)")
DONE = Ending("done", b"", 0.0, 0.0, 0)


def test_without_a_runner_nothing_is_run() -> None:
    """A page without a socket, or whose runner is away, says so; a run is refused with the same words."""
    off = Sandbox(None)
    assert (off.why_off() or "").startswith("the sandbox is off: LAKEHOUSE_SANDBOX says so")
    outcome = off.run("print(1)", b"", user="anna")
    assert (outcome.status, outcome.message, outcome.items) == ("refused", off.why_off(), ())
    away = Sandbox(Path("/nonexistent/sandbox.sock"))
    assert "the sandbox's process does not answer" in (away.why_off() or "")
    assert away.run("print(1)", b"", user="anna").status == "refused"
    assert not away.stop("anna")


def test_a_runner_that_has_not_tested_itself_runs_nothing() -> None:
    """Until its self-test is over it refuses, and says that it is starting."""
    assert _why_off(Runner(NO_SERVER)) == "the sandbox is starting: try again in a few seconds"


def test_a_runner_without_a_fork_server_is_off() -> None:
    """It goes on answering, and says where to look."""
    runner = Runner(NO_SERVER)
    runner.start()
    assert _why_off(runner) == "the sandbox's fork server did not start: logs/sandbox.log says why"


def test_a_self_test_that_breaks_keeps_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody thought of is no reason to be on."""
    runner = Runner(NO_SERVER)
    monkeypatch.setattr("lakehouse.sandbox.probes.why_off", lambda: 1 / 0)
    runner.start()
    assert (_why_off(runner) or "").startswith("its start failed: ZeroDivisionError: division by zero")


def test_the_self_test_believes_only_what_it_must() -> None:
    """An attack that gets through, an end that was not forced, an honest program that fails: each keeps it off."""
    assert selftest.why_off(_execute) is None
    for name, code in selftest.ATTACKS.items():
        for ending in (_document(None), DONE):
            assert f"a program could {name}" in (selftest.why_off(_but(code, ending)) or "")
    endless = "its self-test found that a program without end was not stopped (done)"
    assert selftest.why_off(_but("while True: pass", DONE)) == endless
    for name, code in selftest.HONEST.items():
        reason = selftest.why_off(_but(code, _document("ModuleNotFoundError: no")))
        assert reason == f"its self-test could not {name}: ModuleNotFoundError: no"


def _but(code: str, ending: Ending) -> selftest.Execute:
    """Return a sandbox whose walls all stand, but where one program ends as said."""
    return lambda program, limits: ending if program == code else _execute(program, limits)


def _execute(code: str, limits: Limits) -> Ending:
    """Answer as a sandbox whose walls all stand."""
    if code in selftest.HONEST.values():
        return replace(_document(None), document=b'{"error": null, "items": ["45"]}')
    if code.startswith("while"):
        return replace(DONE, status="timeout")
    return _document("PermissionError: no")


def _document(error: str | None) -> Ending:
    return replace(DONE, document=json.dumps({"error": error}).encode())


def _why_off(runner: Runner) -> str | None:
    here, there = socket.socketpair()
    answering = threading.Thread(target=runner.answer, args=(there,))
    answering.start()
    with here:
        wire.send(here, {"op": "status"})
        answer = wire.receive(here)[0]
    answering.join()
    reason: str | None = answer["why_off"]
    return reason
