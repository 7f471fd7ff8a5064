"""Outliving the run, reaching the next one, and racing who supervises."""

from __future__ import annotations

from dataclasses import replace

from tests.attacks import LATE_S, QUICK, Attack

_LONG = replace(QUICK, wall_s=0.6)
_NO_HURRY = replace(QUICK, wall_s=50.0)
_NO_END = "it has no end"

ATTACKS = [
    Attack(
        "close the result's pipe",
        "os.closerange(3, 64)\nos.write(3, b'x')",
        "it fails without walls too: nothing is open",
    ),
    Attack(
        "close everything", "os.closerange(0, 64)\nos.write(2, b'x')", "it fails without walls too: nothing is open"
    ),
    Attack(
        "end in a thread of its own",
        "import threading, time\nthreading.Thread(target=lambda: time.sleep(90)).start()\nraise SystemExit",
        "the process ends whatever its threads do",
        _NO_HURRY,
        got_out=lambda o: o.status != "done" or o.wall_s > LATE_S,
    ),
    Attack(
        "end later, by a hook",
        "import atexit, time\natexit.register(time.sleep, 90)\nraise SystemExit",
        "hooks of the end are not run at all",
        _NO_HURRY,
        got_out=lambda o: o.status != "done" or o.wall_s > LATE_S,
    ),
    Attack(
        "go on when it is stopped",
        "import threading, time\ndef on():\n    while True: time.sleep(0.01)\nthreading.Thread(target=on).start()\n"
        "while True:\n    try: time.sleep(9)\n    except BaseException: pass",
        _NO_END,
        _LONG,
        got_out=lambda o: o.status != "timeout",
    ),
    Attack("stop itself", "os.kill(os.getpid(), 19)", "without walls it stands until its time is up"),
    Attack(
        "write into the document while it is written",
        "import threading\ndef on():\n    while True: os.write(pipe(), b'x')\n"
        "threading.Thread(target=on, daemon=True).start()\nraise SystemExit",
        "it garbles its own document, walls or not",
        got_out=lambda outcome: outcome.wall_s > LATE_S,
    ),
    Attack("leave a timer", "knock(222, -1, 0, 0)"),
    Attack("leave a module changed on the disk", "import json; open(json.__file__, 'a')"),
    Attack("leave compiled code", "import json; open(json.__cached__, 'r+b')"),
]
