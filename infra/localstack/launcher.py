"""
Run LocalStack where GATEWAY_LISTEN says, else on loopback only, and its Lambda functions without Docker.

Run by the Python of LocalStack's own environment. LocalStack 4.14 gives its gateway no interface to listen on, whatever
GATEWAY_LISTEN says, and then answers on all of them.
"""

from __future__ import annotations

import os
from typing import Any

from localstack.runtime.main import main
from localstack.services.lambda_.invocation import runtime_executor
from twisted.internet import endpoints

from infra.localstack.lambda_executor import LocalExecutor

INTERFACE = os.environ.get("GATEWAY_LISTEN", "").rpartition(":")[0] or "127.0.0.1"


class ChosenEndpoint(endpoints.TCP4ServerEndpoint):  # type: ignore[misc] # Twisted is not in our environment
    """A listener on the chosen interface where Twisted's would be on all of them."""

    def __init__(self, reactor: Any, port: int, backlog: int = 50, interface: str = "") -> None:
        super().__init__(reactor, port, backlog, interface or INTERFACE)


if __name__ == "__main__":
    endpoints.TCP4ServerEndpoint = ChosenEndpoint
    # Those who use it import it by name, later than this
    runtime_executor.get_runtime_executor = lambda: LocalExecutor
    main()
