"""The environment, /proc, and the memory of others."""

from __future__ import annotations

from tests.attacks import Attack, knocks

_ANYTHING = "it looks for what is not there: there is nothing to find without walls either"

ATTACKS = [
    Attack("read its own environment", "open('/proc/self/environ').read()"),
    Attack("read the first process's environment", "open('/proc/1/environ').read()", "closed to root on some machines"),
    Attack("read its parent's environment", "open(f'/proc/{os.getppid()}/environ').read()"),
    Attack("read its own map of memory", "open('/proc/self/maps').read()"),
    Attack("read its parent's memory", "open(f'/proc/{os.getppid()}/mem', 'rb').close()"),
    Attack("write its own memory by file", "open('/proc/self/mem', 'r+b').close()"),
    Attack("list descriptors", "os.listdir('/proc/self/fd')"),
    Attack("reach files by the root of a process", "open('/proc/self/root/etc/passwd').read()"),
    Attack("list processes", "os.listdir('/proc')"),
    Attack("read the machine's settings", "open('/proc/sys/kernel/hostname').read()"),
    Attack("find a setting in the environment", "next(n for n in os.environ if n.startswith('LAKEHOUSE'))", _ANYTHING),
    Attack(
        "find a descriptor of somebody else",
        "import stat\n"
        "for fd in range(64):\n"
        "    try: mode = os.fstat(fd).st_mode\n"
        "    except OSError: continue\n"
        "    if stat.S_ISSOCK(mode): break\n"
        "else: raise OSError('only pipes, the null device and the sealed memory')",
        _ANYTHING,
    ),
    Attack(
        "copy its parent's memory",
        "b = ctypes.create_string_buffer(8)\n"
        "class V(ctypes.Structure): _fields_ = [('p', ctypes.c_void_p), ('n', ctypes.c_size_t)]\n"
        "l = V(ctypes.addressof(b), 8); r = V(id(os), 8)\n"
        "call(310, os.getppid(), ctypes.byref(l), 1, ctypes.byref(r), 1, 0)",
    ),
    Attack("let itself be traced", "call(157, 4, 1)"),  # PR_SET_DUMPABLE
    Attack("change the data that others read", "import mmap; mmap.mmap(4, 1, flags=mmap.MAP_SHARED)", _ANYTHING),
    *knocks(
        {
            "ptrace": (101, 16, -1, 0, 0),
            "process_vm_writev": (311, -1, 0, 1, 0, 1, 0),
            "pidfd_open": (434, -1, 0),
            "pidfd_getfd": (438, -1, 0, 0),
            "kcmp": (312, -1, -1, 0, 0, 0),
            "userfaultfd": (323, -1),
            "perf_event_open": (298, 0, 0, 0, 0, 0),
            "bpf": (321, -1, 0, 0),
            "process_madvise": (440, -1, 0, 0, 0, 0),
            "move_pages": (279, 0, 0, 0, 0, 0, -1),
            "memfd_secret": (447, -1),
            "shmget": (29, 0, 0, 0),
            "msgget": (68, 0, -1),
            "mq_open": (240, 0, 0, 0, 0),
            "add_key": (248, 0, 0, 0, 0, 0),
            "keyctl": (250, -1, 0, 0, 0, 0),
        },
        {"memfd_secret": "off in most kernels", "userfaultfd": "off in many kernels"},
    ),
]
