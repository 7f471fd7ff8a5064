"""Taking all of something: time, memory, descriptors, threads, disk, output; and being made large while small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lakehouse.sandbox.host import Outcome
from tests.attacks import LATE_S, QUICK, Attack

_HARMS = "without limits it would take the machine down"
_LONG = replace(QUICK, wall_s=0.5)
_FEW_SECONDS = replace(QUICK, wall_s=5.0, cpu_s=1.0)
_NO_HURRY = replace(QUICK, wall_s=50.0)


def _not(*statuses: str) -> Callable[[Outcome], bool]:
    """Out is who ends in another way, or later than the wall clock allows."""
    return lambda outcome: outcome.status not in statuses or outcome.wall_s > LATE_S


def _memory(name: str, code: str) -> Attack:
    return Attack(name, code, _HARMS, got_out=_not("memory", "died", "error", "timeout"))


def _endless(name: str, code: str) -> Attack:
    return Attack(name, code, "it has no end", _LONG, got_out=_not("timeout"))


ATTACKS = [
    _endless("compute without end", "while True: pass"),
    _endless("sleep without end", "import time; time.sleep(1e6)"),
    _endless("sleep in the C library", "_libc.pause() if False else _libc.sleep(1000000)"),
    _endless("compute one number without end", "9 ** 9 ** 9"),
    _endless("match without end", "import re; re.match('(a+)+$', 'a' * 64 + 'b')"),
    _endless("ignore the request to end", "import signal\nsignal.signal(15, signal.SIG_IGN)\nwhile True: pass"),
    _endless("mask the request to end", "import signal\nsignal.pthread_sigmask(0, range(1, 65))\nwhile True: pass"),
    _endless(
        "catch the request to end", "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    ),
    _endless("wait for a lock that nobody opens", "import threading\nl = threading.Lock(); l.acquire(); l.acquire()"),
    _endless("end without end", "class E:\n    def __repr__(self):\n        while True: pass\nshow(E())"),
    _endless("fail without end", "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E"),
    Attack(
        "compute on the clock of the processor",
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        "it has no end",
        _FEW_SECONDS,
        got_out=_not("cpu", "timeout"),
    ),
    Attack(
        "compute on many threads",
        "import threading\n"
        "def burn():\n    while True: np.sort(np.random.rand(1 << 20))\n"
        "for _ in range(8): threading.Thread(target=burn).start()\n"
        "burn()",
        "it has no end",
        _FEW_SECONDS,
        got_out=_not("cpu", "timeout", "memory", "error"),  # the last: no room for one thread more
    ),
    Attack("allocate a little more than it may", "x = bytearray(600 << 20)", limits=_NO_HURRY),
    _memory("allocate at once", "bytearray(8 << 30)"),
    _memory("allocate bit by bit", "x = []\nwhile True: x.append(bytearray(1 << 20))"),
    _memory("allocate small things", "x = []\nwhile True: x.append([x])"),
    _memory("allocate an array", "np.ones(1 << 30)"),
    _memory("allocate shared memory", "import mmap; m = mmap.mmap(-1, 4 << 30); m[::4096] = b'x' * (1 << 20)"),
    _memory("map without a name, again and again", "import mmap\nx = []\nwhile True: x.append(mmap.mmap(-1, 1 << 24))"),
    _memory("multiply a frame", "f = pd.DataFrame({'k': np.zeros(1 << 16)})\nf.merge(f, on='k')"),
    _memory("repeat a text", "'x' * (4 << 30)"),
    _memory("double a text", "x = 'x'\nwhile True: x += x"),
    _memory(
        "unpack a small file into a large one",
        "import zlib\nc = zlib.compressobj(9)\nd = b''.join([c.compress(bytes(1 << 24)) for "
        "_ in range(64)]) + c.flush()\nzlib.decompress(d)",
    ),
    _memory("unpack lzma", "import lzma\nd = lzma.compress(bytes(1 << 24), preset=0)\nlzma.decompress(d * 64)"),
    _memory(
        "read entities of entities",
        "e = ''.join(f'<!ENTITY a{i} \"' + f'&a{i-1};' * 100 + '\">' for i in range(1, 9))\n"
        "import xml.dom.minidom\nxml.dom.minidom.parseString(f'<!DOCTYPE x [<!ENTITY a0 \"ha\">{e}]><x>&a8;</x>')",
    ),
    Attack("open many files", "x = [open(np.__file__) for _ in range(2000)]"),
    Attack("copy many descriptors", "import fcntl\nx = [fcntl.fcntl(0, 0, 0) for _ in range(2000)]"),
    Attack(
        "start many threads",
        "import threading, time\n"
        "for _ in range(3000):\n    threading.Thread(target=time.sleep, args=(1.5,), daemon=True).start()",
        _HARMS,
    ),
    # clone() in machine code, 3,000 times: threads that pause and use the one stack, of no memory that is counted
    Attack(
        "start many threads on one stack",
        "import mmap, time\n"
        "m = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "m[:54] = bytes.fromhex('5331dbb838000000bf000f050031f631d24d31d24d31c00f0585c07410780affc381fbb80b000075da'"
        " '89d85bc3b8220000000f05ebf7')\n"
        "made = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\n"
        "time.sleep(1)\nif made < 3000: raise OSError(made)",
        _HARMS,
    ),
    Attack(
        "call itself without end",
        "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): f()\nf()",
        "it ends the process",
        got_out=_not("died", "memory", "error", "timeout"),
    ),
    Attack("leave a core", "_libc.abort()", "it ends the process", _NO_HURRY, got_out=_not("died")),
    Attack("crash", "ctypes.string_at(1)", "it ends the process", _NO_HURRY, got_out=_not("died")),
    Attack("fill the disk", "x = open('/tmp/lakehouse-attack', 'wb')\nwhile True: x.write(bytes(1 << 24))", _HARMS),
    Attack(
        "print without end",
        "while True: print('x' * 1000)",
        "it has no end",
        _LONG,
        got_out=lambda outcome: outcome.status != "timeout" or sum(map(len, map(str, outcome.items))) > 300_000,
    ),
    Attack(
        "print one endless line",
        "print('x' * (200 << 20))",
        _HARMS,
        got_out=lambda o: sum(map(len, map(str, o.items))) > 300_000,
    ),
    Attack("print to the descriptor", "for _ in range(100000): os.write(1, b'x' * 65536)\nraise SystemExit", _HARMS),
    Attack(
        "show a table of everything",
        "show(pd.DataFrame(np.zeros((100, 100000))))\nraise SystemExit",
        _HARMS,
        got_out=lambda o: len(str(o.items)) > 20_000_000,
    ),
    Attack(
        "show a figure of everything",
        "show(px.scatter(x=np.random.rand(3_000_000), y=np.random.rand(3_000_000)))\nraise SystemExit",
        _HARMS,
        got_out=lambda o: len(str(o.items)) > 20_000_000,
    ),
    Attack(
        "show things without end",
        "while True: show(1)",
        "it has no end",
        _LONG,
        got_out=lambda o: o.status != "timeout" or len(o.items) > 1000,
    ),
]
