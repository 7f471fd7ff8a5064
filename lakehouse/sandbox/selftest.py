"""
The runner's test of itself before it takes the first run: attacks that must fail, and honest programs that must not.

Any attack that gets through, and any honest program that does not, keeps the sandbox off. The project's whole suite of
attacks is in tests/sandbox; these are one for each wall, so that a machine on which one does not stand is found out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from lakehouse.sandbox.limits import Limits
from lakehouse.sandbox.supervision import Ending

# The time on the wall is for a machine that starts twenty other things: a self-test that had to hurry would fail there
_ATTACK_LIMITS = Limits(wall_s=60, cpu_s=2, memory_bytes=256 << 20)
_HONEST_LIMITS = Limits(wall_s=60)

# Each raises where it is contained; what gets to its end has escaped
ATTACKS = {
    "read the password file": "open('/etc/passwd').read()",
    "read the environment of its own process": "open('/proc/self/environ').read()",
    "list the root": "import os; os.listdir('/')",
    "write a file": "open('/tmp/lakehouse-sandbox-self-test', 'w').write('x')",
    "open a socket": "import socket; socket.socket(socket.AF_INET)",
    "open a Unix socket": "import socket; socket.socket(socket.AF_UNIX)",
    "start a process": "import os; pid = os.fork(); pid or os._exit(0)",
    "run a program": "import os; os.execv('/bin/sh', ['sh'])",
    "signal its parent": "import os; os.kill(os.getppid(), 0)",
    "enter a namespace": (
        "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"
        "if libc.unshare(0x10000000): raise OSError(ctypes.get_errno(), 'unshare')"
    ),
    "trace a process": (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
        "if libc.ptrace(0, 0, 0, 0) < 0: raise OSError(ctypes.get_errno(), 'ptrace')"
    ),
    "become root": "import os; os.setuid(0)",
    "take more memory than it may": "bytearray(300 << 20)",
    "raise its own limit": "import resource; resource.setrlimit(resource.RLIMIT_CPU, (60, 60))",
}
HONEST = {
    "compute": "print(sum(range(10)))",
    "import from the standard library": "import wave, plistlib; print(45)",
    "group a frame": "print(int(pd.DataFrame({'a': [1, 1], 'b': [40, 5]}).groupby('a').b.sum().iloc[0]))",
    "draw a figure": "px.scatter(x=[1], y=[2], title='45')",
    "compute an indicator": "print(round(talib.SMA(np.full(3, 45.0), 3)[-1]))",
}
_EXPECTED = "45"
_NOTHING = "no document came back"

Execute = Callable[[str, Limits], Ending]


def why_off(execute: Execute) -> str | None:
    """Return which of the programs did not end as it must, None if all did."""
    for name, code in ATTACKS.items():
        ending = execute(code, _ATTACK_LIMITS)
        if not _is_contained(ending):
            return (
                f"its self-test found that a program could {name}, or how it ended could not be told ({ending.status})"
            )
    ending = execute("while True: pass", replace(_ATTACK_LIMITS, wall_s=0.2))
    if ending.status != "timeout":
        return f"its self-test found that a program without end was not stopped ({ending.status})"
    for name, code in HONEST.items():
        ending = execute(code, _HONEST_LIMITS)
        if ending.status != "done" or _error(ending) is not None or _EXPECTED.encode() not in ending.document:
            return f"its self-test could not {name}: {_error(ending) or ending.status}"
    return None


def _is_contained(ending: Ending) -> bool:
    error = _error(ending)
    return ending.status == "memory" or (ending.status == "done" and error is not None and error != _NOTHING)


def _error(ending: Ending) -> str | None:
    try:
        error = json.loads(ending.document)["error"]
    except (ValueError, KeyError, TypeError):
        return _NOTHING
    return None if error is None else str(error).strip().splitlines()[-1]
