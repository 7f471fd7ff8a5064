"""How host, runner and fork server speak: one JSON object, and descriptors, over a Unix socket."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import socket
import struct
from collections.abc import Iterable
from typing import Any

# The codes by which a child tells of an end that the kernel does not tell; it may lie, about itself only
DONE, OUT_OF_MEMORY, OUT_OF_CPU = 0, 101, 102

_LONGEST = 64 << 10
_MOST_DESCRIPTORS = 8
_LENGTH = struct.Struct(">I")


def send(sock: socket.socket, message: Any, descriptors: Iterable[int] = ()) -> None:
    """Send a message, with descriptors that the receiver gets copies of."""
    body = json.dumps(message).encode()
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    data = _LENGTH.pack(len(body)) + body
    sent = sock.sendmsg([data], passed if passed[0][2] else [])
    if sent < len(data):  # an empty write would fail where the other side has answered and gone
        sock.sendall(data[sent:])


def receive(sock: socket.socket) -> tuple[Any, list[int]]:
    """Return the next message and the descriptors that came with it, which are ours to close; EOFError at the end."""
    descriptors = array.array("i")
    size = socket.CMSG_SPACE(_MOST_DESCRIPTORS * descriptors.itemsize)
    head, ancillary, flags, _ = sock.recvmsg(_LENGTH.size, size, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    try:
        if flags & socket.MSG_CTRUNC:
            raise ValueError("too many descriptors")
        (length,) = _LENGTH.unpack(head + exactly(sock, _LENGTH.size - len(head)))
        if length > _LONGEST:
            raise ValueError(f"a message of {length} bytes")
        return json.loads(exactly(sock, length)), list(descriptors)
    except BaseException:
        close(descriptors)
        raise


def exactly(sock: socket.socket, count: int) -> bytes:
    """Return so many bytes; EOFError if the other side ends before."""
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = sock.recv_into(view)
        if not got:
            raise EOFError("the other side is gone")
        view = view[got:]
    return bytes(data)


def close(descriptors: Iterable[int]) -> None:
    """Close descriptors."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def sealed(content: bytes | memoryview, name: str) -> int:
    """Return a descriptor of memory that holds *content* and that nobody can change any more."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor
