"""Reading and changing files, by path, by descriptor, by device."""

from __future__ import annotations

from tests.attacks import Attack, knocks

_CHANGES = "it would change the machine"

ATTACKS = [
    Attack("read the list of users", "open('/etc/passwd').read()"),
    Attack("read the users' hashes", "open('/etc/shadow').read()"),
    Attack("climb out of a folder that may be read", "open('/usr/lib/../../etc/passwd').read()"),
    Attack("open relative to a folder's descriptor", "os.open('../../etc/passwd', 0, dir_fd=os.open('/usr/lib', 0))"),
    Attack("open by openat2", "call(437, -100, ctypes.c_char_p(b'/etc/passwd'), bytes(24), 24)"),
    Attack("open a path without reading it", "os.open('/etc/passwd', os.O_PATH | os.O_RDONLY); open('/etc/passwd')"),
    Attack("list the root", "os.listdir('/')"),
    Attack("list the temporary files of others", "os.listdir('/tmp')"),
    Attack("read the platform's own source", "import lakehouse; open(lakehouse.__file__).read()"),
    Attack("read a terminal", "os.open('/dev/tty', os.O_RDWR | os.O_NOCTTY)", unsafe="there is no terminal to take"),
    Attack("read the memory device", "os.open('/dev/mem', 0)", unsafe="many a machine has no such device"),
    Attack("read the kernel's messages", "os.open('/dev/kmsg', 0)", unsafe="many a machine has no such device"),
    Attack("read the system's tree", "os.listdir('/sys/kernel')"),
    Attack("write a temporary file", "import tempfile; tempfile.TemporaryFile(dir='/tmp').write(b'x')"),
    Attack(
        "write shared memory",
        "open('/dev/shm/lakehouse-attack', 'w').write('x'); os.unlink('/dev/shm/lakehouse-attack')",
    ),
    Attack("write a file without a name", "os.open('/tmp', os.O_TMPFILE | os.O_RDWR)"),
    Attack("make a folder", "os.mkdir('/tmp/lakehouse-attack'); os.rmdir('/tmp/lakehouse-attack')"),
    Attack("make a pipe with a name", "os.mkfifo('/tmp/lakehouse-fifo'); os.unlink('/tmp/lakehouse-fifo')"),
    Attack("make a link", "os.symlink('/etc/passwd', '/tmp/lakehouse-link'); os.unlink('/tmp/lakehouse-link')"),
    Attack("change a library for the next run", "open(np.__file__, 'r+')"),
    Attack(
        "put a module beside the libraries",
        "open(os.path.dirname(np.__file__) + '/lakehouse_attack.py', 'w')",
        _CHANGES,
    ),
    Attack("delete a library", "os.unlink(np.__file__)", _CHANGES),
    Attack("rename a library", "os.rename(np.__file__, np.__file__ + 'x')", _CHANGES),
    Attack("open a library's rights", "os.chmod(np.__file__, 0o777)", _CHANGES),
    Attack("give a library away", "os.chown(np.__file__, 1, 1)", _CHANGES),
    Attack("make a device", "os.mknod('/tmp/lakehouse-null', 0o20666, os.makedev(1, 3))", _CHANGES),
    Attack("change the root", "os.chroot('/usr/lib')"),
    Attack(
        "save a frame",
        "pd.DataFrame({'a': [1]}).to_csv('/tmp/lakehouse-attack.csv'); os.unlink('/tmp/lakehouse-attack.csv')",
    ),
    *knocks(
        {
            "truncate": (76, 0, 0),
            "ftruncate": (77, -1, 0),
            "link": (86, 0, 0),
            "utimensat": (280, -1, 0, 0, 0),
            "setxattr": (188, 0, 0, 0, 0, 0),
            "getxattr": (191, 0, 0, 0, 0),
            "name_to_handle_at": (303, -1, 0, 0, 0, 0),
            "open_by_handle_at": (304, -1, 0, 0),
            "inotify_add_watch": (254, -1, 0, 0),
            "fanotify_mark": (301, -1, 0, 0, 0, 0),
            "fallocate": (285, -1, 0, 0, 0),
            "flock": (73, -1, 0),
            "statfs": (137, 0, 0),
            "sendfile": (40, -1, -1, 0, 0),
            "copy_file_range": (326, -1, 0, -1, 0, 0, 0),
            "splice": (275, -1, 0, -1, 0, 0, 0),
        }
    ),
]
