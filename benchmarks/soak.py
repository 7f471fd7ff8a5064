"""
Does the platform grow, fail or get stuck under steady work: ``make soak`` (20 minutes), or

    .venv/bin/python -m benchmarks.soak [--minutes 20] [--csv soak.csv]

Runs the platform on the exchange simulator in a folder of its own, and all at once: ingests of ever further months
that are merged and published, candles and SQL by the API, and Chromium on every page with a run in the sandbox. The
memory of each of its processes is read every 5 s; a line by least squares through the last three quarters says how it
grows (docs/operations.md). Exit code 1: something grows by 1 MiB a minute or more, failed, or is stuck.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Error, Page, sync_playwright

from infra.installing.browser import find_chromium, how_to_install
from lakehouse.access.roles import Role
from lakehouse.access.users import create_user
from lakehouse.database.connection import connect
from lakehouse.ports import direct
from lakehouse.settings import load_settings
from lakehouse.up import Plan, running, with_settings

STEEPEST_MIB = 1.0
EVERY_S = 5.0
MIB = 1 << 20
_READY_S = 600
_STUCK_S = 600
_LONGEST_MINUTES = 240
SHARES = ("SBER", "GAZP", "T", "EQMX")
PAGES = (
    "/?secid=SBER",
    "/?secid=GAZP&timeframe=1m",
    "/sql",
    "/schema",
    "/ingest",
    "/quality",
    "/account",
    "/access",
    "/sandbox",
)
STATEMENTS = (
    "SELECT secid, timeframe, count(*) FROM silver.candles GROUP BY ALL ORDER BY ALL",
    "SELECT * FROM gold.fact_candle WHERE timeframe = '1d' ORDER BY trade_date DESC LIMIT 500",
)
USER = "soak"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help=f"how long, at most {_LONGEST_MINUTES}")
    parser.add_argument("--csv", type=Path, help="write every sample there")
    parser.add_argument("--platform", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.platform:
        run_platform(options.platform)
        return 0
    with tempfile.TemporaryDirectory(prefix="lakehouse-soak-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user when this one is root
        with platform(Path(folder) / "data") as soaked:
            work = Work(soaked, min(options.minutes, _LONGEST_MINUTES) * 60)
            samples = work.run()
        soaked.note_log()
    if options.csv:
        write_samples(options.csv, samples)
    return 1 if report(samples, soaked) else 0


def run_platform(data: Path) -> None:
    """Be the supervisor, as `lakehouse demo` is one."""
    settings = with_settings(load_settings(), data_dir=data, port=0)
    with running(Plan(settings, source="simulator")) as started:
        started.wait()


@dataclass
class Soaked:
    """The platform that runs, and what went wrong with it."""

    data: Path
    process: psutil.Process
    url: str
    dsn: str = field(repr=False)
    password: str = field(repr=False)
    errors: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def fail(self, what: str) -> None:
        """Note an error, and tell it at once."""
        self.errors.append(what)
        print(f"  error: {what}", flush=True)

    def note_log(self) -> None:
        """Take what the supervisor wrote down: it writes only when a service died."""
        log = self.data / "logs" / "supervisor.log"
        self.errors += log.read_text().splitlines() if log.exists() else []


@contextmanager
def platform(data: Path) -> Iterator[Soaked]:
    """Run the platform in a process of its own while the block runs."""
    data.mkdir()
    said = data.with_suffix(".terminal")
    with said.open("wb") as terminal:
        command = [sys.executable, "-m", "benchmarks.soak", "--platform", str(data)]
        # The JVM takes all of its heap (-Xmx) at once: what it uses of that is no growth, what it takes beside it is
        environment = {**os.environ, "JDK_JAVA_OPTIONS": "-XX:InitialRAMPercentage=100 -XX:+AlwaysPreTouch"}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal, env=environment)
    try:
        until = time.monotonic() + _READY_S
        while not (run_file := data / "run.json").exists():
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"Error: the platform did not start:\n{said.read_text()[-2000:]}")
            time.sleep(0.2)
        run = json.loads(run_file.read_text())
        password = secrets.token_urlsafe(16)
        with connect(run["dsn"]) as conn:
            create_user(conn, USER, password, Role.ADMIN)
        yield Soaked(data, psutil.Process(process.pid), run["web_url"], run["dsn"], password)
    finally:
        process.send_signal(2)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


class Work:
    """All that is done at once, until the time is over."""

    def __init__(self, soaked: Soaked, seconds: float) -> None:
        self.soaked, self.seconds = soaked, seconds
        self.ends = threading.Event()
        self.token = self._ask("/api/v1/login", {"user": USER, "password": soaked.password})["token"]
        self.month = dt.date(2026, 5, 1)

    def run(self) -> dict[str, list[tuple[float, float]]]:
        """Load something to look at, work for the time, and see that nothing is left; return MiB by process."""
        self._ingest()
        self._wait_until_idle()
        works = [(self._ingest, 20.0), (self._candles, 0.5), (self._statement, 3.0)]
        threads = [threading.Thread(target=self._repeat, args=each, daemon=True) for each in works]
        threads.append(threading.Thread(target=self._browse, daemon=True))
        for thread in threads:
            thread.start()
        samples = self._sample()
        self.ends.set()
        for thread in threads:
            thread.join(_STUCK_S)
            if thread.is_alive():
                self.soaked.fail(f"{thread.name} does not end")
        self._wait_until_idle()
        return samples

    def _repeat(self, work: Callable[[], None], every_s: float) -> None:
        while not self.ends.is_set():
            try:
                work()
            except (OSError, ValueError) as error:
                self.soaked.fail(f"{work.__name__}: {error}")
            self.ends.wait(every_s)

    def _ingest(self) -> None:
        """Ask for a month of minutes of two shares and, each time, for a month further back."""
        first = (self.month - dt.timedelta(days=1)).replace(day=1)
        span = {"from": f"{first}", "till": f"{self.month}"}
        self._ask("/api/v1/ingest", {"instruments": list(SHARES[:2]), "timeframes": ["1m"], **span})
        self._ask("/api/v1/ingest", {"instruments": list(SHARES), "timeframes": ["1d"], "reread": True, **span})
        self.month = first
        self.soaked.done["ingests"] += 2
        self._wait_until_idle()

    def _candles(self) -> None:
        secid = secrets.choice(SHARES)
        self._ask(f"/api/v1/candles?secid={secid}&timeframe={secrets.choice(('1d', '1m'))}&limit=5000")
        self.soaked.done["candle pages"] += 1

    def _statement(self) -> None:
        self._ask("/api/v1/sql", {"statement": secrets.choice(STATEMENTS)})
        self.soaked.done["statements"] += 1

    def _ask(self, path: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
        body = None if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json"}
        if hasattr(self, "token"):
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.soaked.url + path, body, headers)
        try:
            with direct().open(request, timeout=120) as answer:
                parsed: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise OSError(f"{path} answered {error.code}: {error.read()[:200]!r}") from error
        return parsed

    def _wait_until_idle(self) -> None:
        """Wait for the jobs; one that fails or takes longer than ten minutes is an error."""
        until = time.monotonic() + _STUCK_S
        while True:
            jobs = self._ask("/api/v1/jobs")["jobs"]
            open_jobs = [job for job in jobs if job["state"] not in ("done", "failed", "cancelled")]
            if not open_jobs:
                for job in jobs:
                    if job["state"] != "done":
                        self.soaked.fail(f"job {job['job_id']} is {job['state']}")
                return
            if time.monotonic() > until:
                self.soaked.fail(f"jobs are stuck: {open_jobs}"[:300])
                return
            time.sleep(1)

    def _browse(self) -> None:
        """Look at every page, again and again, as a person with one window does."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=str(find_chromium() or sys.exit(how_to_install())), args=["--headless", "--no-sandbox"]
            )
            context = browser.new_context(base_url=self.soaked.url)
            context.on("weberror", lambda error: self.soaked.fail(f"page: {error.error}"))
            self._log_in(context.new_page())
            while not self.ends.is_set():
                for path in PAGES:
                    page = context.new_page()
                    try:
                        self._visit(page, path)
                    except Error as error:
                        if not self.ends.is_set():
                            self.soaked.fail(f"page {path}: {str(error)[:200]}")
                    page.close()
                    if self.ends.wait(1):
                        break
            browser.close()

    def _log_in(self, page: Page) -> None:
        page.goto("/")
        page.fill("#name", USER)
        page.fill("#password", self.soaked.password)
        page.click("button[type=submit]")
        page.wait_for_selector(".lh-role:not(:empty)")
        page.close()

    def _visit(self, page: Page, path: str) -> None:
        page.set_default_timeout(60_000)
        page.goto(path)
        page.wait_for_selector(".lh-role:not(:empty)")
        if path == "/sandbox":
            page.wait_for_selector(".lh-form .token")  # the instrument that it begins with
            page.wait_for_selector("#lh-run-program:enabled")
            page.click("#lh-run-program")
            ended = page.wait_for_selector(":is([data-state=good], [data-state=bad]).lh-run-state")
            if ended and ended.get_attribute("data-state") == "bad":
                self.soaked.fail(f"sandbox: {ended.inner_text()}")
            self.soaked.done["sandbox runs"] += 1
        elif path.startswith("/?"):
            page.wait_for_function("window.lakehouseChart?.state === 'drawn'")
        self.soaked.done["page views"] += 1

    def _sample(self) -> dict[str, list[tuple[float, float]]]:
        """Read the memory of the platform's processes until the time is over: seconds and MiB by name."""
        samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
        began, said = time.monotonic(), 0.0
        while (now := time.monotonic() - began) < self.seconds:
            for name, mib in memory(self.soaked.process).items():
                samples[name].append((now, mib))
            if now - said >= 60:
                said = now
                total = sum(rows[-1][1] for rows in samples.values())
                print(f"  {now / 60:4.0f} min  {total:6,.0f} MiB  {dict(self.soaked.done)}", flush=True)
            time.sleep(max(0.0, EVERY_S - (time.monotonic() - began - now)))
        return samples


def memory(supervisor: psutil.Process) -> dict[str, float]:
    """Return MiB by name; what processes share is divided between them where the system tells (Linux: PSS)."""
    found: dict[str, float] = defaultdict(float)
    for process in [supervisor, *supervisor.children(recursive=True)]:
        with suppress(psutil.Error, OSError):
            name = "supervisor" if process == supervisor else _name(process)
            found[name] += _own_bytes(process, without_shared=name == "postgres") / MIB
    return found


def _own_bytes(process: psutil.Process, *, without_shared: bool) -> int:
    """Return a process's share of memory; PostgreSQL's buffers, of a fixed size, fill for hours and are left out."""
    rollup = Path(f"/proc/{process.pid}/smaps_rollup")
    if not rollup.exists():
        resident: int = process.memory_info().rss
        return resident
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in rollup.read_text().splitlines()[1:]}
    return (kilobytes["Pss"] - (kilobytes["Pss_Shmem"] if without_shared else 0)) << 10


def _name(process: psutil.Process) -> str:
    command: list[str] = process.cmdline()
    program = Path(command[0]).name if command else str(process.name())
    if program.startswith("python") and "-m" in command:
        return command[command.index("-m") + 1]
    return "postgres" if program.startswith("postgres") else program


def report(samples: dict[str, list[tuple[float, float]]], soaked: Soaked) -> bool:
    """Print what was found; return whether something is wrong."""
    print(f"\n{'process':34} {'first MiB':>9} {'last MiB':>9} {'MiB/min':>8} {'samples':>8}")
    is_wrong = bool(soaked.errors)
    most = max(len(rows) for rows in samples.values())
    for name, rows in sorted(samples.items()):
        slope, verdict = slope_mib(rows), ""
        if len(rows) < most / 2:
            verdict = "comes and goes"
        elif slope >= STEEPEST_MIB:
            verdict, is_wrong = "GROWS", True
        print(f"{name:34} {rows[0][1]:9.1f} {rows[-1][1]:9.1f} {slope:8.2f} {len(rows):8} {verdict}")
    print(f"done: {dict(soaked.done)}; load average {os.getloadavg()[0]:.1f}")
    for error in soaked.errors[:20]:
        print(f"error: {error}")
    print(f"{len(soaked.errors)} errors")
    return is_wrong


def slope_mib(rows: list[tuple[float, float]]) -> float:
    """Return MiB a minute of the least squares' line through the last three quarters of *rows*' time."""
    end = rows[-1][0]
    kept = [row for row in rows if row[0] >= end / 4]
    if len(kept) < 3:
        return 0.0
    seconds, mib = np.array(kept).T
    return float(np.polyfit(seconds / 60, mib, 1)[0])


def write_samples(path: Path, samples: dict[str, list[tuple[float, float]]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("process", "second", "mib"))
        writer.writerows((name, f"{at:.1f}", f"{mib:.1f}") for name, rows in samples.items() for at, mib in rows)


if __name__ == "__main__":
    sys.exit(main())
