"""
Import the handlers from an unpacked package, in an interpreter that has nothing else.

    python -I -S probe.py FOLDER HANDLER...

Prints the fields of package.Imported as JSON.
"""

import importlib
import json
import sys
import sysconfig
import time
import zoneinfo
from pathlib import Path


def main() -> None:
    folder, *handlers = sys.argv[1:]
    sys.path.insert(0, folder)
    zoneinfo.reset_tzpath(to=[])  # Lambda's Linux need not have them: they must be in the package
    started = time.monotonic()
    app = importlib.import_module("app")
    seconds = time.monotonic() - started
    places = [Path(folder).resolve(), *(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))]
    strangers = [name for name, module in [*sys.modules.items()] if _is_stranger(module, places)]
    found = {
        "seconds": round(seconds, 2),
        "mb": int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024,
        "strangers": strangers,
        "missing": [name for name in handlers if not callable(getattr(app, name, None))],
    }
    print(json.dumps(found))


def _is_stranger(module: object, places: list[Path]) -> bool:
    file = Path(getattr(module, "__file__", None) or __file__).resolve()
    if file == Path(__file__).resolve():
        return False
    return "site-packages" in file.parts or not any(file.is_relative_to(place) for place in places)


if __name__ == "__main__":
    main()
