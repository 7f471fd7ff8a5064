"""New processes, signals, priorities, and doors beside them: fcntl, io_uring, prctl, namespaces."""

from __future__ import annotations

from tests.attacks import Attack, knocks

_NO_KERNEL = "many a kernel is built without it"
_ENDS = "without walls it ends the process that is to tell of it"
_WAIT = "\npid and os.waitpid(pid, 0)\npid or os._exit(0)"

ATTACKS = [
    Attack("fork", f"pid = os.fork(){_WAIT}"),
    Attack("fork by number", f"pid = call(57){_WAIT}"),
    Attack("clone a process", f"pid = call(56, 17, 0, 0, 0, 0){_WAIT}"),
    Attack("clone by clone3", "knock(435, 0, 0)"),
    Attack("run a program", "os.execv('/bin/true', ['true'])", unsafe=_ENDS),
    Attack("spawn a program", "os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)"),
    Attack("run a command of the shell", "if os.system('true'): raise OSError"),
    Attack("run a subprocess", "import subprocess; subprocess.run(['/bin/true'], check=True)"),
    Attack(
        "start a process by multiprocessing",
        "import multiprocessing; p = multiprocessing.get_context('fork').Process(target=print); p.start(); p.join()",
    ),
    Attack(
        "run a program from memory",
        "fd = os.memfd_create('x'); os.write(fd, b'#!/bin/true'); os.execv(fd, ['x'])",
        _ENDS,
    ),
    Attack("signal its parent", "os.kill(os.getppid(), 0)"),
    Attack("signal everybody", "os.kill(-1, 0)"),
    Attack("signal the first process", "os.kill(1, 0)"),
    Attack("signal a thread", "call(234, os.getpid(), os.getpid(), 0)"),
    Attack("queue a signal", "knock(129, os.getppid(), 0, 0)"),
    Attack("have the kernel signal others", "import fcntl; fcntl.fcntl(0, 8, os.getppid())"),  # F_SETOWN
    Attack("choose the signal of a descriptor", "import fcntl; fcntl.fcntl(0, 10, 9)"),  # F_SETSIG
    Attack("ask for notice of a folder", "import fcntl; fcntl.fcntl(os.open('/usr/lib', 0), 1026, 1)"),  # F_NOTIFY
    Attack("lease a file", "import fcntl; fcntl.fcntl(os.open(np.__file__, 0), 1024, 0)"),  # F_SETLEASE
    Attack(
        "lock a file",
        "import fcntl; fcntl.lockf(os.open('/dev/null', 1), fcntl.LOCK_EX)",
        "the null device has no locks",
    ),
    Attack(
        "enlarge the pipe", "import fcntl; fcntl.fcntl(5, 1031, 1 << 20)", unsafe="which descriptor is the pipe differs"
    ),
    Attack("type into the terminal", "knock(16, 0, 0x5412, 0)"),  # TIOCSTI
    Attack("become root", "os.setuid(0)"),
    Attack("become another group", "os.setgid(0)"),
    Attack("take groups", "os.setgroups([0])"),
    Attack("take capabilities", "knock(126, 0, 0)"),
    Attack("leave its session", "os.setsid()", unsafe="a process without a session of its own only may"),
    Attack("be more important", "os.setpriority(os.PRIO_PROCESS, 0, -20)"),
    Attack("run in real time", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"),
    Attack("choose a core", "os.sched_setaffinity(0, {0})"),
    Attack("survive its parent", "call(157, 1, 0)"),  # PR_SET_PDEATHSIG
    Attack("put another filter", "call(157, 22, 1)", unsafe=_ENDS),  # PR_SET_SECCOMP, strict
    Attack("enter a namespace of users", "call(272, 0x10000000)"),
    Attack("enter a namespace of mounts", "call(272, 0x20000)"),
    Attack("enter a namespace of networks", "call(272, 0x40000000)"),
    Attack("clone into a namespace", f"pid = call(56, 0x10000011, 0, 0, 0, 0){_WAIT}"),
    Attack("raise a limit", "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))"),
    Attack(
        "raise its parent's limit",
        "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (99, 99))",
        "it would change the fork server",
    ),
    Attack("set a clock that signals", "import signal; signal.setitimer(signal.ITIMER_REAL, 9)"),
    Attack(
        "call by the numbers of 32 bits",
        "import mmap\n"
        "page = mmap.mmap(-1, 4096, prot=7)\n"
        "page.write(bytes.fromhex('53b814000000cd805bc3'))\n"  # push rbx; mov eax, 20 (getpid); int 0x80; pop rbx; ret
        "if ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))() < 0: raise OSError",
        _NO_KERNEL,
    ),
    Attack("call by the numbers of x32", "knock(0x40000000 + 39)", _NO_KERNEL),
    *knocks(
        {
            "io_uring_setup": (425, 0, 0),
            "io_uring_enter": (426, -1, 0, 0, 0, 0),
            "io_uring_register": (427, -1, 0, 0, 0),
            "io_setup": (206, 0, 0),
            "eventfd2": (290, 0, -1),
            "signalfd4": (289, -1, 0, 8, 0),
            "timerfd_create": (283, -1, 0),
            "memfd_create": (319, 0, 0),
            "pipe2": (293, 0, 0),
            "dup2": (33, -1, -1),
            "setns": (308, -1, 0),
            "mount": (165, 0, 0, 0, 0, 0),
            "umount2": (166, 0, 0),
            "move_mount": (429, -1, 0, -1, 0, 0),
            "fsopen": (430, 0, 0),
            "open_tree": (428, -1, 0, 0),
            "pivot_root": (155, 0, 0),
            "init_module": (175, 0, 0, 0),
            "finit_module": (313, -1, 0, 0),
            "kexec_load": (246, 0, 0, 0, -1),
            "swapon": (167, 0, 0),
            "reboot": (169, 0, 0, 0, 0),
            "syslog": (103, -1, 0, 0),
            "settimeofday": (164, -1, 0),
            "clock_settime": (227, -1, 0),
            "sethostname": (170, 0, -1),
            "acct": (163, 1),
            "quotactl": (179, -1, 0, 0, 0),
            "ioperm": (173, -1, 1, 1),
            "iopl": (172, -1),
            "modify_ldt": (154, -1, 0, 0),
            "personality": (135, 0xFFFFFFFF),
            "mlock": (149, 0, 1),
            "mlockall": (151, -1),
            "set_mempolicy": (238, -1, 0, 0),
            "mbind": (237, 0, 4096, -1, 0, 0, 0),
            "ioprio_set": (251, -1, 0, 0),
            "wait4": (61, -1, 0, 1, 0),
            "seccomp": (317, -1, 0, 0),
            "landlock_create_ruleset": (444, 0, 0, 2),
            "cachestat, which is newer than the table": (451, 0, 0, 0),
        },
        {
            "ioperm": _NO_KERNEL,
            "iopl": _NO_KERNEL,
            "init_module": _NO_KERNEL,
            "finit_module": _NO_KERNEL,
            "kexec_load": _NO_KERNEL,
            "swapon": _NO_KERNEL,
            "acct": _NO_KERNEL,
            "quotactl": _NO_KERNEL,
            "modify_ldt": _NO_KERNEL,
            "mlock": "with nothing to lock it changes nothing",
            "cachestat, which is newer than the table": "older kernels lack it",
        },
    ),
]
