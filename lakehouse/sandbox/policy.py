"""
What an analyst's program may ask of the kernel: these system calls, in these forms, and nothing else.

Everything that is not named here fails with EPERM. A group says why a program that computes cannot do without it.
Absent on purpose: every socket, every new process, exec, kill, ptrace, memory of others, namespaces, mounts, keys, BPF,
io_uring, writing to the file system, descriptors by memfd, pipe or eventfd, raising a limit or a priority.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """A condition on one argument of a call: its bits under *mask* equal *value*."""

    argument: int
    value: int
    mask: int = (1 << 64) - 1


@dataclass(frozen=True)
class Group:
    """
    Calls that are allowed for one reason.

    Attributes:
        reason: Why an analyst's program cannot do without them.
        calls: Their names, with spaces between them.
        forms: The forms that are allowed; all conditions of one form must hold. None: any form.
    """

    reason: str
    calls: str
    forms: tuple[tuple[Where, ...], ...] = ()


_NEW_NAMESPACE = 0x7E020080  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET, TIME
_THREAD = 0x10000

# Not F_SETOWN and F_SETSIG (a kill by way of SIGIO), F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ, F_ADD_SEALS, locks
_FCNTL = {"F_DUPFD": 0, "F_GETFD": 1, "F_SETFD": 2, "F_GETFL": 3, "F_DUPFD_CLOEXEC": 1030}
# Not TIOCSTI (typing into a terminal) and all the rest
_IOCTL = {"TCGETS": 0x5401, "TIOCGWINSZ": 0x5413, "FIOCLEX": 0x5451, "FIONCLEX": 0x5450}
_PRCTL = {"PR_SET_NAME": 15, "PR_GET_NAME": 16, "PR_SET_VMA": 0x53564D41, "PR_GET_DUMPABLE": 3}


def _one_of(argument: int, values: dict[str, int]) -> tuple[tuple[Where, ...], ...]:
    return tuple((Where(argument, value),) for value in values.values())


ALLOWED = (
    Group(
        "read descriptors that are open, and write the result",
        "read readv pread64 write writev lseek close close_range fstat",
    ),
    Group(
        "import modules when first used, read zone files; Landlock says which, and lets none be written",
        "open openat newfstatat stat lstat statx access faccessat faccessat2 readlink readlinkat "
        "getdents64 getcwd fadvise64",
    ),
    Group("wait for descriptors and clocks", "poll ppoll select pselect6 nanosleep clock_nanosleep"),
    Group("look at and pass on descriptors", "fcntl", _one_of(1, _FCNTL)),
    Group("Python asks of each file whether it is a terminal", "ioctl", _one_of(1, _IOCTL)),
    Group("memory, which the limit on address space bounds", "mmap mprotect munmap mremap madvise brk"),
    Group("allocators and profilers ask which pages are there", "mincore"),
    Group(
        "threads of one process: a pool of threads is honest work; a new process or namespace is not",
        "clone",
        ((Where(0, _THREAD, _THREAD | _NEW_NAMESPACE),),),
    ),
    Group(
        "what threads need to start, wait for one another and end",
        "futex set_robust_list rseq gettid sched_yield sched_getaffinity set_tid_address membarrier "
        "getcpu exit exit_group restart_syscall",
    ),
    Group("signal handlers of the process itself", "rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack"),
    Group("clocks", "clock_gettime clock_getres gettimeofday time times"),
    Group("randomness", "getrandom"),
    Group(
        "who and where one is, as libraries ask at import",
        "getpid getppid getuid geteuid getgid getegid getgroups getresuid getresgid uname sysinfo getrusage getrlimit",
    ),
    Group(
        "read one's own limits; the null pointer as new value changes none",
        "prlimit64",
        ((Where(0, 0), Where(2, 0)),),
    ),
    Group("name a thread or a mapping, ask whether one can be dumped", "prctl", _one_of(0, _PRCTL)),
)

# The C library tries these first and falls back only when the kernel says that it lacks them
ABSENT = ("clone3", "openat2", "io_uring_setup", "io_uring_enter", "io_uring_register", "futex_waitv")
