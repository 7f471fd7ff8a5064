"""
One execution environment of a Lambda function: a process, and the API where it gets its events and tells what came out.

Run by the Python of LocalStack's own environment; the standard library is all it needs. The API is the one that AWS
documents for custom runtimes, as far as ``awslambdaric`` uses it.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread

# In LocalStack's environment: the Python that runs functions (infra/installing/lambda_runtime.py)
PYTHON = "LAMBDA_PYTHON"
_POLL_S = 0.1
_GRACE_S = 2


@dataclass(frozen=True)
class Call:
    """
    An event for the function.

    Attributes:
        function: Its ARN.
        trace: Header that X-Ray would follow.
        event: JSON.
    """

    request_id: str
    function: str
    trace: str
    event: bytes


@dataclass(frozen=True)
class Answer:
    """What came of a call: JSON, and whether it tells an error."""

    is_error: bool
    body: bytes


class Runtime:
    """
    A process that runs *handler* from the folder *code*, and sees *environ* and nothing else of the environment.

    Its group is ours, so it ends with us. It takes one call at a time.
    """

    def __init__(self, python: str, code: Path, handler: str, environ: Mapping[str, str], log: Path) -> None:
        self._api = _Api()
        Thread(target=self._api.serve_forever, daemon=True).start()
        seen = {**environ, "AWS_LAMBDA_RUNTIME_API": self._api.address, "LAMBDA_TASK_ROOT": str(code)}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [python, "-m", "awslambdaric", handler],
                cwd=code,
                env=seen,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def is_alive(self) -> bool:
        """Whether it can take a call."""
        return self._process.poll() is None

    def wait_until_ready(self, timeout_s: float) -> None:
        """Return when it asks for its first event, or has ended; raise TimeoutError if it does neither in time."""
        until = time.monotonic() + timeout_s
        while not self._api.asked_for.wait(_POLL_S) and self.is_alive:
            if time.monotonic() > until:
                raise TimeoutError(f"the function asked for no event after {timeout_s:g} s")

    def call(self, call: Call, timeout_s: float) -> Answer:
        """
        Return what the function answers.

        An error is returned too: the function's own, or that it ended, or took too long and was ended.
        """
        self._api.deadline = time.time() + timeout_s
        until = time.monotonic() + timeout_s
        self._api.calls.put(call)
        while time.monotonic() < until:
            with suppress(Empty):
                return self._api.answers.get(timeout=min(_POLL_S, max(0.001, until - time.monotonic())))
            if not self.is_alive:
                return self._ended(call)
        self.stop()
        return _error(
            "Sandbox.Timedout", f"RequestId: {call.request_id} Error: Task timed out after {timeout_s:.2f} seconds"
        )

    def stop(self) -> None:
        """End it: asked to, and after 2 s it has no choice."""
        self._process.terminate()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._api.calls.put(None)
        self._api.shutdown()
        self._api.server_close()

    def _ended(self, call: Call) -> Answer:
        with suppress(Empty):  # it may have said why, or answered, as its last word
            return self._api.answers.get_nowait()
        code = self._process.returncode
        return _error("Runtime.ExitError", f"RequestId: {call.request_id} Error: Runtime exited with exit code {code}")


def _error(kind: str, message: str) -> Answer:
    return Answer(True, json.dumps({"errorType": kind, "errorMessage": message}).encode())


class _Api(ThreadingHTTPServer):
    """
    The runtime API on a free port of loopback.

    Attributes:
        calls: What is to be done; None ends the one who waits for it.
        answers: What came of it, or why the function could not begin.
        asked_for: Set when the function has asked for its first event.
        deadline: When the call that waits must be over, in seconds since 1970.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.calls: Queue[Call | None] = Queue()
        self.answers: Queue[Answer] = Queue()
        self.asked_for = Event()
        self.deadline = 0.0
        self.address = f"127.0.0.1:{self.server_port}"


class _Asked(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else 40 ms a call
    wbufsize = 1 << 16
    server: _Api

    def do_GET(self) -> None:
        """Answer ``.../runtime/invocation/next`` when there is an event."""
        self.server.asked_for.set()
        call = self.server.calls.get()
        if call is None:
            self._answer(410, {}, b"")
            return
        headers = {
            "Content-Type": "application/json",  # awslambdaric fails without one
            "Lambda-Runtime-Aws-Request-Id": call.request_id,
            "Lambda-Runtime-Invoked-Function-Arn": call.function,
            "Lambda-Runtime-Trace-Id": call.trace,
            "Lambda-Runtime-Deadline-Ms": str(int(self.server.deadline * 1000)),
        }
        self._answer(200, headers, call.event)

    def do_POST(self) -> None:
        """Take ``.../response``, or ``.../error`` of a call or of the start."""
        self.server.answers.put(Answer(self.path.endswith("/error"), self._body()))
        self._answer(202, {}, b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
