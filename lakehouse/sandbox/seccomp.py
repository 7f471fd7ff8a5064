"""
The policy as a seccomp filter: a few dozen classic BPF instructions, made and loaded here.

Our own assembler rather than libseccomp: the library and its binding are one more thing that a machine may lack, and
the whole of what we need of it is this file. A test runs every call of the kernel's table against the loaded filter.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Sequence

from lakehouse.sandbox.kernel import PR_SET_NO_NEW_PRIVS, prctl, syscall
from lakehouse.sandbox.policy import ABSENT, ALLOWED, Group, Where
from lakehouse.sandbox.syscalls import MACHINES, NEWEST, numbers

# linux/bpf_common.h, linux/seccomp.h
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06  # BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_RET|K
_IF_EQUAL, _IF_AT_LEAST = 0x15, 0x35  # BPF_JMP|JEQ|K, BPF_JMP|JGE|K
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_REFUSE = _ERRNO | errno.EPERM
_LACKS = _ERRNO | errno.ENOSYS
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_X32 = 0x40000000  # the other numbering of x86_64
_SET_MODE_FILTER = 1

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k


def program(machine: str | None = None) -> bytes:
    """Return the filter for a machine, this one by default; raise KeyError for one without numbers."""
    machine = machine or platform.machine()
    known = numbers(machine)
    code: list[Instruction] = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_IF_EQUAL, 1, 0, MACHINES[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),  # 32-bit calls have other numbers
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_IF_AT_LEAST, 0, 1, NEWEST + 1),
        (_RETURN, 0, 0, _LACKS),
    ]
    for group in ALLOWED:
        for name in group.calls.split():
            if name in known:
                code += _call(known[name], _forms(group))
    for name in ABSENT:
        code += _call(known[name], [(_RETURN, 0, 0, _LACKS)])
    code.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def load(instructions: bytes) -> None:
    """Put this process under the filter for good; it must have one thread."""
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    header = struct.pack("HxxxxxxP", len(instructions) // 8, ctypes.addressof(buffer))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    syscall({"x86_64": 317, "aarch64": 277}[platform.machine()], _SET_MODE_FILTER, 0, header)


def _call(number: int, body: Sequence[Instruction]) -> list[Instruction]:
    """Return *body* for one call number, which ends in a return; every other number goes on behind it."""
    return [(_IF_EQUAL, 0, len(body), number), *body]


def _forms(group: Group) -> list[Instruction]:
    if not group.forms:
        return [(_RETURN, 0, 0, _ALLOW)]
    body: list[Instruction] = []
    for form in group.forms:
        body += _form(form)
    return [*body, (_RETURN, 0, 0, _REFUSE)]


def _form(form: tuple[Where, ...]) -> list[Instruction]:
    """Allow if all conditions hold, else go on behind; arguments are compared in halves of 32 bits, low one first."""
    checks: list[tuple[int, int, int]] = []
    for where in form:
        for half in (0, 1):
            mask, value = (where.mask >> 32 * half) & 0xFFFFFFFF, (where.value >> 32 * half) & 0xFFFFFFFF
            if mask:
                checks.append((_ARGUMENTS_AT + 8 * where.argument + 4 * half, mask, value))
    body: list[Instruction] = []
    for left, (offset, mask, value) in zip(range(len(checks) - 1, -1, -1), checks, strict=True):
        # A check takes three instructions; a failed one leaves this form, its last instruction included
        body += [(_LOAD, 0, 0, offset), (_AND, 0, 0, mask), (_IF_EQUAL, 0, 3 * left + 1, value)]
    return [*body, (_RETURN, 0, 0, _ALLOW)]
