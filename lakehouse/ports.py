"""Ports of this machine, and how our own services are asked."""

from __future__ import annotations

import errno
import socket
import ssl
import urllib.request

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Return whether nobody listens on *port* of *host* now; raise OSError where nobody could."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def direct(trusted: ssl.SSLContext | None = None) -> urllib.request.OpenerDirector:
    """
    Return what opens addresses of our own services: no proxy of the environment is asked.

    Such a proxy is for the exchange and the registries; it reaches no loopback of ours.

    Args:
        trusted: What is believed of TLS; the system's authorities by default.
    """
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
