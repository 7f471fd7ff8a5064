"""The examples of docs/api.md do what they say, as they stand there, and CSV is what it says of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.problems import KIND_BY_CODE
from infra.installing.environment import ROOT
from lakehouse.database.runner import EmbeddedPostgres
from tests.api_web import Web, web_of_made_market
from tests.browser.made_market import trading_dates

pytestmark = pytest.mark.postgres
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def web(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """The web process over the made market."""
    with web_of_made_market(postgres, tmp_path_factory.mktemp("examples")) as found:
        yield found


def example(language: str) -> str:
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(code)


def run(web: Web, folder: Path, *command: str) -> list[str]:
    done = run_unchecked(web, folder, *command)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def run_unchecked(web: Web, folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    who = {"API_URL": f"{web.url}/api", "API_USER": "viewer", "API_PASSWORD": "a long password"}
    environment = {**os.environ, **who, **environment}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def csv_of(web: Web, query: str) -> tuple[int, str, str | None]:
    """Return status, text and X-Next of candles as CSV."""
    address = f"{web.url}/api/v1/candles?{query}&format=csv"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {web.tokens['viewer']}"})
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return answer.status, answer.read().decode(), answer.headers["X-Next"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["detail"], None


def test_the_example_in_python_reads_all_pages_once_and_again_nothing(web: Web, tmp_path: Path) -> None:
    """It lists the market, reads its days, and is told that they did not change."""
    secids, days, status = run(web, tmp_path, sys.executable, "-c", example("python"))
    assert set(secids.split()) == {"SBER", "YDEX", "GMKN", "IMOEX"}
    assert days.split()[0] == "520"
    assert status == "304"


def test_the_example_by_curl_reads_two_pages_and_again_nothing(web: Web, tmp_path: Path) -> None:
    """The same as CSV: a head and 520 days."""
    instruments, lines, status = run(web, tmp_path, "bash", "-c", example("sh"))
    assert '"secid":"SBER"' in instruments
    assert (lines.strip(), status) == ("521", "304")
    assert not (tmp_path / "again.csv").exists() or not (tmp_path / "again.csv").read_bytes()


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("secid=SBER&timeframe=1d&from=1990-01-01&till=1990-12-31", 0),
        ("secid=YDEX&timeframe=1d", 300),
        (f"secid=SBER&timeframe=1d&from={trading_dates(500)[0]}", 500),
        (f"secid=SBER&timeframe=1d&from={trading_dates(501)[0]}", 501),
        (f"secid=SBER&timeframe=1m&from={trading_dates(4)[0]}", None),
    ],
)
def test_the_example_by_curl_has_every_row_of_any_series_once(
    web: Web, tmp_path: Path, query: str, rows: int | None
) -> None:
    """Of no page, of one, of a full one, of a row more and of many: what one answer without pages has."""
    _, whole, _ = csv_of(web, f"{query}&limit=10000")
    run(web, tmp_path, "bash", "-c", example("sh"), "candles.sh", query)
    assert (tmp_path / "candles.csv").read_text() == whole
    found = whole.count("\n") - 1
    assert found == rows if rows is not None else found > 2_500


def test_the_example_by_curl_fails_and_leaves_no_file_when_the_data_move(web: Web, tmp_path: Path) -> None:
    """A version that is published between its first page and its second ends it, and the reason is told."""
    move = f'import psycopg; psycopg.connect("{web.dsn}", autocommit=True).execute("{_PUBLISH}")'
    (tmp_path / "move.py").write_text(move)
    curl = tmp_path / "bin" / "curl"
    curl.parent.mkdir()
    curl.write_text(
        f'#!/bin/sh\ncase "$*" in *token=*) {sys.executable} move.py ;; esac\nexec {shutil.which("curl")} "$@"\n'
    )
    curl.chmod(0o755)
    done = run_unchecked(web, tmp_path, "bash", "-c", example("sh"), PATH=f"{curl.parent}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "the data moved from version" in done.stderr
    assert not (tmp_path / "candles.csv").exists()


_PUBLISH = "UPDATE gold.publication SET data_version = data_version + 1"


def test_a_csv_without_a_limit_has_all_rows_or_is_refused(web: Web) -> None:
    """Up to 10,000, of a page's rest too; with a limit it is a page and names the next one."""
    status, text, following = csv_of(web, f"secid=SBER&timeframe=1m&from={trading_dates(4)[0]}")
    assert (status, text.count("\n") > 2_500, following) == (200, True, None)
    status, text, following = csv_of(web, "secid=SBER&timeframe=1m&limit=10000")
    assert (status, text.count("\n"), bool(following)) == (200, 10_001, True)
    refused = (
        "SBER 1m: there are more than 10,000 rows, and a CSV does not tell that it was cut: narrow from and till, or "
        "read pages with limit and token (the header X-Next)"
    )
    assert csv_of(web, "secid=SBER&timeframe=1m") == (400, refused, None)
    assert csv_of(web, f"secid=SBER&timeframe=1m&token={following}") == (400, refused, None)


def test_every_kind_of_problem_is_listed() -> None:
    """With its status and its title."""
    listed = re.findall(r"^\| `(\w+)` \| (\d+|the gateway’s own) \| (.*) \|$", PAGE, re.MULTILINE)
    kinds = KIND_BY_CODE.values()
    assert listed == [(kind.code, str(kind.status or "the gateway’s own"), kind.title) for kind in kinds]
