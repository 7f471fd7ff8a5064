"""
What a proxy in front says of a request, believed from the proxy alone.

A header that a client sends itself would otherwise be its address for the throttle and the audit record.
"""

from __future__ import annotations

import ipaddress
import re

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lakehouse.settings import Settings

Headers = list[tuple[bytes, bytes]]

# Loopback, the private networks of RFC 1918 and 4193, and links
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10"),
    )
)
_HOST = re.compile(rb"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_PAST = (
    "refused: the platform stands behind a proxy, and {} is none: come through it, or "
    "name that address in LAKEHOUSE_PROXY_ADDRESSES"
)
# A store stands beside the platform, not before its proxy, and shows a token of its own (events.py)
_BESIDE = "/api/v1/events/storage"
_PLAIN = "refused: this came to the proxy without TLS: use https, and have the proxy redirect to it"


class Forwarded:
    """
    ASGI middleware around the whole web process: client, scheme and host of a request are the real ones behind it.

    Behind a proxy the client is the last address in X-Forwarded-For that is no proxy, and Host is what X-Forwarded-Host
    says; the scheme is https, and what came to the proxy without it is refused, as is who gets past the proxy. All that
    is not believed is taken off; X-Forwarded-Proto is always there and says the scheme.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.behind_proxy = settings.behind_proxy
        self.proxies = settings.proxy_networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on as it really is, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif refusal := self._refusal(scope):
            await PlainTextResponse(refusal, status_code=403)(scope, receive, send)
        else:
            await self.app(self._real(scope), receive, send)

    def _refusal(self, scope: Scope) -> str:
        if not self.behind_proxy:
            return ""
        if self._is_proxy(_peer(scope)):
            return _PLAIN if _last(scope["headers"], b"x-forwarded-proto") in (b"http", b"ws") else ""
        # This machine's own calls, such as a health check
        is_ours = _peer(scope) == (scope.get("server") or [""])[0] or scope["path"] == _BESIDE
        return "" if is_ours else _PAST.format(_peer(scope))

    def _real(self, scope: Scope) -> Scope:
        is_secure = self.behind_proxy or scope["scheme"] in ("https", "wss")
        real = {**scope, "scheme": ("http" if scope["type"] == "http" else "ws") + ("s" if is_secure else "")}
        kept = [
            each for each in scope["headers"] if not each[0].startswith(b"x-forwarded-") and each[0] != b"forwarded"
        ]
        kept.append((b"x-forwarded-proto", b"https" if is_secure else b"http"))
        if self.behind_proxy and self._is_proxy(_peer(scope)):
            real["client"] = (self._client(scope), 0)
            if _HOST.fullmatch(host := _last(scope["headers"], b"x-forwarded-host")):
                kept = [each for each in kept if each[0] != b"host"] + [(b"host", host)]
        return {**real, "headers": kept}

    def _client(self, scope: Scope) -> str:
        """Return the address nearest to us that is no proxy's, as far as those that we believe tell it."""
        client = _peer(scope)
        said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
        for each in reversed(said.split(",")):
            if not (address := _address(each)):
                break
            client = address
            # Whoever is not named as a proxy wrote the rest of the header; without names, only the peer is believed
            if not self.proxies or not self._is_proxy(client):
                break
        return client

    def _is_proxy(self, text: str) -> bool:
        if not (address := _address(text)):
            return True  # a Unix socket's peer is on this machine
        return any(ipaddress.ip_address(address) in network for network in self.proxies or _PRIVATE)


def _peer(scope: Scope) -> str:
    return _address(str((scope.get("client") or [""])[0]))


def _address(text: str) -> str:
    """Return an IP address as it is counted, without port and zone; empty if it is none."""
    found = text.strip().strip('"')
    if match := re.fullmatch(r"\[([^\]]*)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+", found):
        found = match[1] or match[2]
    try:
        parsed = ipaddress.ip_address(found.partition("%")[0])
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _last(headers: Headers, wanted: bytes) -> bytes:
    values = [value for name, value in headers if name == wanted]
    return values[-1].rpartition(b",")[2].strip() if values else b""
