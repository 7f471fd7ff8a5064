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
from lakehouse.sandbox.queueing import Busy, Queue
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


def test_a_runner_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    """One that is frozen: neither while a run waits for its turn nor when it has begun."""
    for said in ([], [{"place": 1}], [{"place": 0}]):
        path = tmp_path / f"{len(said)}{said[:1]}.sock".replace(" ", "")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            threading.Thread(target=_speak_and_freeze, args=(listening, said), daemon=True).start()
            outcome = Sandbox(path, silent_s=0.3).run("print(1)", b"", user="anna", limits=Limits(wall_s=0.1))
            assert (outcome.status, outcome.items) == ("died", ())
            assert (outcome.message or "").startswith("the sandbox's process said nothing for long")


def _speak_and_freeze(listening: socket.socket, said: list[dict[str, int]]) -> None:
    status, _ = listening.accept()
    with status:
        wire.receive(status)
        wire.send(status, {"why_off": None})
    run, _ = listening.accept()
    with run:
        _, descriptors = wire.receive(run)
        wire.close(descriptors)
        for each in said:
            wire.send(run, each)
        run.recv(1)  # until the other side has had enough


def test_who_waits_hears_a_new_place_once(tmp_path: Path) -> None:
    """The runner tells it again and again, to say that it lives."""
    places: list[int] = []
    path = tmp_path / "told.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        said = [{"place": 2}, {"place": 2}, {"place": 1}, {"place": 1}, {"place": 0}]
        threading.Thread(target=_speak_and_freeze, args=(listening, said), daemon=True).start()
        sandbox = Sandbox(path, silent_s=0.3)
        sandbox.run("", b"", user="anna", limits=Limits(wall_s=0.1), on_place=places.append)
    assert places == [2, 1, 0]


def test_runs_that_wait_hold_no_more_memory_than_there_is_for_them() -> None:
    """Their data are counted by their bytes; one alone may have more, and who leaves makes room."""
    queue = Queue(1, most_bytes=100)
    large = queue.join("anna", 150)
    with pytest.raises(Busy, match="the data of the runs that wait fill the memory"):
        queue.join("boris", 1)
    queue.leave(large)
    first, second = queue.join("anna", 60), queue.join("boris", 40)
    assert (queue.place(first), queue.place(second)) == (0, 1)
    with pytest.raises(Busy, match="the data of the runs that wait"):
        queue.join("vera", 1)
    queue.leave(first)
    for ticket in (queue.join("vera", 60), second):
        queue.leave(ticket)


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
