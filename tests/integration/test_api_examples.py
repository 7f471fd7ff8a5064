"""The examples of docs/api.md do what they say, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.problems import KIND_BY_CODE
from infra.installing.environment import ROOT
from lakehouse.database.runner import EmbeddedPostgres
from tests.api_web import Web, web_of_made_market

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
    who = {"API_URL": f"{web.url}/api", "API_USER": "viewer", "API_PASSWORD": "a long password"}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **who}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_example_in_python_reads_all_pages_once_and_again_nothing(web: Web, tmp_path: Path) -> None:
    """It lists the market, reads its days, and is told that they did not change."""
    secids, days, status = run(web, tmp_path, sys.executable, "-c", example("python"))
    assert set(secids.split()) == {"SBER", "YDEX", "GMKN", "IMOEX"}
    assert days.split()[0] == "520"
    assert status == "304"


def test_the_example_by_curl_reads_two_pages_and_again_nothing(web: Web, tmp_path: Path) -> None:
    """The same as CSV: a head and 520 days."""
    instruments, lines, status = run(web, tmp_path, "bash", "-euo", "pipefail", "-c", example("sh"))
    assert '"secid":"SBER"' in instruments
    assert (lines.strip(), status) == ("521", "304")
    assert not (tmp_path / "again.csv").exists() or not (tmp_path / "again.csv").read_bytes()


def test_every_kind_of_problem_is_listed() -> None:
    """With its status and its title."""
    listed = re.findall(r"^\| `(\w+)` \| (\d+|the gateway’s own) \| (.*) \|$", PAGE, re.MULTILINE)
    kinds = KIND_BY_CODE.values()
    assert listed == [(kind.code, str(kind.status or "the gateway’s own"), kind.title) for kind in kinds]
