"""
Namespaces of the fork server, where the machine lets us have them: an addition to the other walls, never the only one.

In them there is no network but a loopback that is down, no process but the sandbox's own, and no file but a read-only
root that holds the Python installation, its libraries and the system's. What bubblewrap does, by the same calls and
without a program that a machine may lack; an ordinary user gets there by a user namespace.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lakehouse.sandbox.kernel import PR_SET_PDEATHSIG, mount, pivot_root, prctl, umount, unshare

_USER, _MOUNT, _UTS, _IPC, _PID, _NETWORK = 0x10000000, 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
_READ_ONLY, _NO_SUID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_DETACH = 2


def enter(folders: Iterable[Path]) -> None:
    """
    Go on in new namespaces as their first process, with *folders* (absolute) as the only files.

    The process that called stays behind and ends with the code of the one that goes on, which ends when it is gone.

    Raises:
        OSError: if the machine does not let us; the process must not go on, as some namespaces may be new already.
    """
    uid, gid = os.geteuid(), os.getegid()
    unshare((_USER if uid else 0) | _MOUNT | _UTS | _IPC | _PID | _NETWORK)
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    _own_root(folders)
    if first := os.fork():
        os.closerange(0, 1 << 16)  # what others hold with us ends with the one that goes on
        _, status = os.waitpid(first, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def why_not(folders: Iterable[Path]) -> str | None:
    """Return why namespaces cannot be had here, None if they can: tried in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            os.close(reader)
            try:
                enter(folders)
            except OSError as error:
                os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        reason = said.read().decode(errors="replace")
    os.waitpid(child, 0)
    return reason or None


def _own_root(folders: Iterable[Path]) -> None:
    mount("none", "/", None, _RECURSIVE | _PRIVATE)
    root = Path(tempfile.gettempdir()).resolve()  # covered in this namespace only
    mount("tmpfs", str(root), "tmpfs", _NO_SUID | _NO_DEVICES, "mode=0755,size=1m")
    shown: set[Path] = set()
    for folder in folders:
        _show(folder, root, shown)
    former = root / ".former"
    former.mkdir()
    pivot_root(str(root), str(former))
    os.chdir("/")
    umount("/.former", _DETACH)
    Path("/.former").rmdir()
    mount("none", "/", None, _REMOUNT | _BIND | _READ_ONLY | _NO_SUID | _NO_DEVICES)


def _show(path: Path, root: Path, shown: set[Path]) -> None:
    """Let *path* be seen at the same place under *root*, read-only; links on the way are made as they are."""
    if not path.exists():
        return
    for each in (*reversed(path.parents), path):
        place = root / each.relative_to("/")
        if each in shown:
            return
        if each.is_symlink():
            if not place.is_symlink():
                place.symlink_to(each.readlink())
            target = each.parent / each.readlink() / path.relative_to(each)
            return _show(Path(os.path.normpath(target)), root, shown)
        if each != path or path.is_dir():
            place.mkdir(mode=0o755, exist_ok=True)
        else:
            place.touch()
    shown.add(path)
    mount(str(path), str(place), None, _BIND | _RECURSIVE)
    mount("none", str(place), None, _REMOUNT | _BIND | _READ_ONLY | _locked(place))


def _locked(place: Path) -> int:
    """Return the flags of a mount that a user namespace may not lift, as mount(2) takes them."""
    flags = os.statvfs(place).f_flag
    by_flag = {os.ST_NOSUID: 2, os.ST_NODEV: 4, os.ST_NOEXEC: 8, os.ST_NOATIME: 1024, os.ST_NODIRATIME: 2048}
    by_flag[os.ST_RELATIME] = 1 << 21
    return sum(taken for flag, taken in by_flag.items() if flags & flag)
