"""The headers that each answer carries for browsers: what may run, load and embed it. docs/security.md says why."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Our own pages without Gradio: files of ours, no inline script or style, nothing that makes code of text.
_PLAIN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Gradio's pages: its components make code of text (new Function) and put styles inline.
_GRADIO = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; manifest-src 'self'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_PLAIN_PAGES = ("/login", "/api/docs")

_ALWAYS = MappingProxyType(
    {
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
)
_HSTS = "max-age=31536000"
# Gradio's files: their names are hashes of what they hold, and a page asks for a hundred of them
_FOR_EVER = "public, max-age=31536000, immutable"


def headers_for(path: str, nonce: str | None, *, is_tls: bool) -> Mapping[str, str]:
    """
    Return the headers of the answer to *path*, which replace what the answer says itself.

    Args:
        path: Path of the request.
        nonce: What the inline scripts of a page of Gradio carry; None for all that is no page of Gradio.
        is_tls: Whether the browser speaks TLS, to us or to the proxy in front.
    """
    headers = {**_ALWAYS, "content-security-policy": _policy(path, nonce)}
    return {**headers, "strict-transport-security": _HSTS} if is_tls else headers


def cache_control(path: str, status: int) -> str | None:
    """Return how browsers may keep the answer to *path* unless it says so itself; None leaves it to them."""
    if path.startswith("/assets/"):
        return _FOR_EVER if status == 200 else None
    # What says nothing about anyone
    is_file = path.startswith("/static/") or path in ("/favicon.ico", "/theme.css", "/manifest.json")
    return None if is_file else "no-store"


def _policy(path: str, nonce: str | None) -> str:
    if nonce is not None:
        return _GRADIO.format(nonce=nonce)
    return _PLAIN if path.rstrip("/") in _PLAIN_PAGES else _NOTHING
