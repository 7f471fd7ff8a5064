"""
Where the web process listens: beyond this machine only with TLS, or behind a proxy that has it.

Passwords and sessions would otherwise go over a network for anyone to read.
"""

from __future__ import annotations

import ipaddress
import ssl
from typing import Any

from lakehouse.market.errors import BadInput
from lakehouse.settings import Settings

# Longer than proxies keep an idle connection (Caddy: two minutes): the one that closes it must not be we, or a request
# that is under way at that moment is lost
_KEPT_ALIVE_S = 150
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which ssl has no name for


def check_listening(settings: Settings) -> None:
    """Raise BadInput if passwords would cross a network in the clear, or the certificate cannot be used."""
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        given, missing = ("CERTIFICATE", "KEY") if settings.tls_certificate else ("KEY", "CERTIFICATE")
        raise BadInput(f"LAKEHOUSE_TLS_{given} is set and LAKEHOUSE_TLS_{missing} is not: TLS needs both")
    if settings.tls_certificate is not None:
        _check_certificate(settings)
    elif not (settings.behind_proxy or is_loopback(settings.host)):
        raise BadInput(
            f"LAKEHOUSE_HOST {settings.host} lies beyond this machine, and passwords would cross the network in the "
            "clear: set LAKEHOUSE_TLS_CERTIFICATE and LAKEHOUSE_TLS_KEY, or put a proxy with TLS in front and say "
            "--behind-proxy (LAKEHOUSE_BEHIND_PROXY=true)"
        )


def server_options(settings: Settings) -> dict[str, Any]:
    """Return where and how uvicorn serves; raise BadInput where it must not."""
    check_listening(settings)
    options: dict[str, Any] = {"host": settings.host, "port": settings.port}
    if settings.tls_certificate is not None:
        options |= {"ssl_certfile": str(settings.tls_certificate), "ssl_keyfile": str(settings.tls_key)}
    # Its own reading of X-Forwarded-For believes anyone on loopback: functions/proxy.py reads it
    return {**options, "proxy_headers": False, "timeout_keep_alive": _KEPT_ALIVE_S}


def local_url(settings: Settings, port: int) -> str:
    """Return the address by which this machine reaches the web process."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def local_trust(settings: Settings) -> ssl.SSLContext | None:
    """
    Return what this machine's own calls believe: the configured certificate, whatever name and time it is made for.

    None without TLS.
    """
    if settings.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    context.load_verify_locations(settings.tls_certificate)
    return context


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches *host*."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_certificate(settings: Settings) -> None:
    try:
        # A key under a password would be asked for at the terminal
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            str(settings.tls_certificate), str(settings.tls_key), password=lambda: ""
        )
    except OSError as error:  # ssl.SSLError is one
        raise BadInput(
            f"LAKEHOUSE_TLS_CERTIFICATE {settings.tls_certificate} and LAKEHOUSE_TLS_KEY {settings.tls_key} cannot be "
            f"used ({error}): give a certificate (with its chain) and its key, both PEM, the key without a password"
        ) from None
