"""Answers that are sent badly, or not at all."""

from __future__ import annotations

import asyncio
import socket
import struct

from aiohttp import web

from lakehouse.simulator.faults import Fault

_JSON = "application/json; charset=utf-8"
_PAGE = "<!DOCTYPE html><html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"


async def send_badly(request: web.Request, fault: Fault, body: bytes) -> web.StreamResponse:
    """Answer with *body* as one of faults.TRANSPORT has it."""
    match fault.kind:
        case "reset":
            return _reset(request)
        case "time_out":
            return await _wait_and_reset(request, fault.seconds)
        case "stall":
            return await _send_part(request, fault.seconds, len(body), b"")
        case "cut_body":
            return await _send_part(request, 0, len(body), body[: len(body) // 2])
        case "cut_json":
            return web.Response(body=body[: len(body) // 2], headers={"Content-Type": _JSON})
        case "empty_body":
            return web.Response(headers={"Content-Type": _JSON})
        case "web_page":
            return _page(200, "Московская биржа: вход")
        case "429":
            return _page(429, "Too Many Requests", {"Retry-After": str(fault.retry_after_s)})
        case _:
            return _page(503, "Service Temporarily Unavailable")


def _page(status: int, title: str, headers: dict[str, str] | None = None) -> web.Response:
    text = _PAGE.format(title=title)
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=headers)


def _reset(request: web.Request) -> web.Response:
    if request.transport and (connection := request.transport.get_extra_info("socket")):
        # Closed with nothing lingering, the connection ends in a reset, not in an end of file
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


async def _wait_and_reset(request: web.Request, seconds: float) -> web.Response:
    # The server ends this wait when the client goes first
    await asyncio.sleep(seconds)
    return _reset(request)


async def _send_part(request: web.Request, seconds: float, announced: int, part: bytes) -> web.StreamResponse:
    """Announce more than is sent, and close the connection after *seconds*."""
    response = web.StreamResponse(headers={"Content-Type": _JSON, "Content-Length": str(announced)})
    await response.prepare(request)
    await response.write(part)
    if seconds:
        await _wait_and_reset(request, seconds)
    elif request.transport:
        request.transport.close()
    return response
