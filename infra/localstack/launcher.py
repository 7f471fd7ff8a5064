"""
Run LocalStack on loopback only.

Run by the Python of LocalStack's own environment. LocalStack 4.14 gives its gateway no interface to listen on, whatever
GATEWAY_LISTEN says, and then answers on all of them.
"""

from __future__ import annotations

from typing import Any

from localstack.runtime.main import main  # type: ignore[import-not-found] # not in our environment
from twisted.internet import endpoints  # type: ignore[import-not-found]


class LoopbackEndpoint(endpoints.TCP4ServerEndpoint):  # type: ignore[misc]
    """A listener on 127.0.0.1 where Twisted's would be on 0.0.0.0."""

    def __init__(self, reactor: Any, port: int, backlog: int = 50, interface: str = "") -> None:
        super().__init__(reactor, port, backlog, interface or "127.0.0.1")


if __name__ == "__main__":
    endpoints.TCP4ServerEndpoint = LoopbackEndpoint
    main()
