"""
Build the platform's images and try each: ``make images``.

Where Docker is, `docker compose build` builds the same; this is for machines and automation without it. It takes root,
buildah and debootstrap, which makes the Debian that stands for the official images of Python. What was built is removed
again; ``--keep`` leaves it, and the next run goes on from there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from infra.images.building import PROGRAMS, Builder, Image
from infra.images.trials import Database, database, try_files, try_functions, try_sandbox, try_web, try_worker
from infra.installing.report import SetupFailed, step
from lakehouse.cache import cache_dir
from lakehouse.market.errors import LakehouseError

# In this order: the worker's migrates the database that the web process is tried on
TRIALS: dict[str, Callable[[Image, Database], str]] = {
    "worker": try_worker,
    "web": try_web,
    "sandbox": lambda image, _: try_sandbox(image),
    "functions": lambda image, _: try_functions(image),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.images", description="Build the images and try each.")
    parser.add_argument("--keep", action="store_true", help="leave what was built for the next run")
    keep = parser.parse_args().keep
    folder = cache_dir() / "images"
    try:
        check_machine()
        folder.mkdir(parents=True, exist_ok=True)
        builder = Builder(folder)
        try:
            build_and_try(builder)
        finally:
            if not keep:
                builder.remove()
    except (SetupFailed, LakehouseError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def check_machine() -> None:
    """Raise SetupFailed if this machine cannot build images."""
    if os.geteuid() != 0:
        raise SetupFailed("images are built by root, whose mounts and users they need; or use: docker compose build")
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise SetupFailed(
            f"{' and '.join(missing)} missing; install with: apt-get install buildah debootstrap util-linux"
        )


def build_and_try(builder: Builder) -> None:
    """Build and try all, and print what each weighs and took."""
    with step("making a Debian that the images begin with"):
        builder.make_base()
    seconds = {}
    for target in TRIALS:
        started = time.monotonic()
        with step(f"building the image {target}"):
            builder.build(target)
        seconds[target] = time.monotonic() - started
    print(f"{'image':<11}{'MB':>6}{'ours':>6}{'build s':>9}{'trial s':>9}  tried")
    with database(builder.folder / "postgres") as given:
        for target, trial in TRIALS.items():
            with builder.mounted(target) as image:
                started = time.monotonic()
                tried = f"{try_files(image)}; {trial(image, given)}"
                took = time.monotonic() - started
                whole, ours = (weight(str(image.root / part)) for part in ("", "opt"))
            print(f"{target:<11}{whole:>6}{ours:>6}{seconds[target]:>9.0f}{took:>9.1f}  {tried}", flush=True)


def weight(folder: str) -> int:
    """Return the megabytes of the files in *folder*."""
    said = subprocess.run(["du", "--summarize", "--one-file-system", "--block-size=1M", folder], capture_output=True)
    return int(said.stdout.split()[0])


if __name__ == "__main__":
    sys.exit(main())
