"""
Lambda functions on LocalStack without Docker: each execution environment is a process of this machine.

Run by the Python of LocalStack's own environment, in the place of its executor that starts containers.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from localstack import config
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

from infra.localstack.runtime import PYTHON, Call, Runtime


class LocalExecutor(RuntimeExecutor):  # type: ignore[misc] # LocalStack is not in our environment
    """What LocalStack asks of one execution environment of a function."""

    def __init__(self, id: str, function_version: FunctionVersion) -> None:
        super().__init__(id, function_version)
        self._environ: dict[str, str] = {}
        self._runtime: Runtime | None = None
        self._log = Path(tempfile.gettempdir()) / f"lambda-{id}.log"

    def start(self, env_vars: dict[str, Any]) -> None:
        # Nothing of LocalStack's own environment but what a process needs: no proxy, no path to packages of others
        ours = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TMPDIR": tempfile.gettempdir(), "PYTHONUNBUFFERED": "1"}
        self._environ = {**ours, **{name: str(value) for name, value in env_vars.items()}}
        self._started()

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        call = Call(
            payload["invoke-id"], payload["invoked-function-arn"], payload["trace-id"], payload["payload"].encode()
        )
        runtime, begins = self._started(), self._log.stat().st_size
        answer = runtime.call(call, self.function_version.config.timeout)
        if not runtime.is_alive:
            runtime.stop()
            self._runtime = None  # the next call gets a new process, as on AWS
        said = self._log.read_bytes()[begins:].decode(errors="replace")
        logs = f"START RequestId: {call.request_id}\n{said}\nEND RequestId: {call.request_id}\n"
        return InvocationResult(call.request_id, answer.body, answer.is_error, logs)

    def stop(self) -> None:
        if self._runtime is not None:
            self._runtime.stop()

    def get_address(self) -> str:
        return "127.0.0.1"

    def get_endpoint_from_executor(self) -> str:
        return "127.0.0.1"

    def get_runtime_endpoint(self) -> str:
        return ""

    def get_logs(self) -> str:
        return self._log.read_text(errors="replace")

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        pass

    def _started(self) -> Runtime:
        if self._runtime is None:
            chosen = self.function_version.config
            code = chosen.code.get_unzipped_code_location()
            self._runtime = Runtime(os.environ[PYTHON], code, chosen.handler, self._environ, self._log)
            self._runtime.wait_until_ready(config.LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT)
        return self._runtime
