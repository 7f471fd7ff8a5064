"""Sockets of every family, made in every way. Nothing leaves the machine: making one is the attack."""

from __future__ import annotations

from tests.attacks import Attack, knocks

_MODULE = "many a kernel is built without this family"


def _socket(family: str, number: int, kind: int = 1, protocol: int = 0, unsafe: str = "") -> Attack:
    code = f"import socket; socket.socket({number}, {kind}, {protocol})"
    return Attack(f"open a socket of the family {family}", code, unsafe)


ATTACKS = [
    _socket("Internet, TCP", 2),
    _socket("Internet, UDP", 2, 2),
    _socket("Internet, raw", 2, 3, 1),
    _socket("Internet, SCTP", 2, 1, 132, _MODULE),
    _socket("Internet 6", 10),
    _socket("Unix", 1),
    _socket("Netlink", 16, 3),
    _socket("packets", 17, 3),
    _socket("machines", 40, 1, 0, _MODULE),
    _socket("cryptography", 38, 5, 0, _MODULE),
    _socket("XDP", 44, 3, 0, _MODULE),
    _socket("Bluetooth", 31, 3, 0, _MODULE),
    _socket("keys", 15, 3, 2, _MODULE),
    Attack("make a pair of sockets", "import socket; socket.socketpair()"),
    Attack("ask for a name", "import socket; socket.getaddrinfo('localhost', 80); socket.socket()"),
    Attack(
        "connect to loopback",
        "import socket\n"
        "try: socket.create_connection(('127.0.0.1', 9), timeout=1)\n"
        "except ConnectionRefusedError: pass",
    ),
    Attack(
        "connect to an abstract name",
        "import socket\n"
        "try: socket.socket(socket.AF_UNIX).connect('\\0lakehouse-attack')\n"
        "except ConnectionRefusedError: pass",
    ),
    Attack(
        "fetch a page",
        "import urllib.request, urllib.error\n"
        "try: urllib.request.urlopen('http://127.0.0.1:9', timeout=1)\n"
        "except urllib.error.URLError as error:\n"
        "    if not isinstance(error.reason, ConnectionRefusedError): raise",
    ),
    Attack("start an event loop, which has sockets", "import asyncio; asyncio.run(asyncio.sleep(0))"),
    *knocks(
        {
            "connect": (42, -1, 0, 0),
            "bind": (49, -1, 0, 0),
            "listen": (50, -1, 0),
            "accept": (43, -1, 0, 0),
            "sendto": (44, -1, 0, 0, 0, 0, 0),
            "sendmsg": (46, -1, 0, 0),
            "recvmsg": (47, -1, 0, 0),
            "setsockopt": (54, -1, 0, 0, 0, 0),
            "epoll_create1": (291, -1),
        }
    ),
]
