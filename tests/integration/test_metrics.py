"""/metrics of a web process: what it shows, to whom, and what it costs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from functions import context
from gradio_app.server import create_app
from lakehouse.access.roles import Role
from lakehouse.access.tokens import make_token
from lakehouse.access.users import user_named
from lakehouse.database import counters
from lakehouse.database.connection import connect, pool
from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.jobs.queue import enqueue
from lakehouse.operations.metrics import LakehouseCollector
from lakehouse.settings import Settings
from tests.functions_api import make_users
from tests.killing import copied_database

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]
TOKEN = "a token of Prometheus"


@dataclass(frozen=True)
class Web:
    """A web process, and a session of each role."""

    client: TestClient
    dsn: str
    tokens: dict[str, str]

    def scrape(self, token: str = TOKEN) -> Any:
        """Return the answer to a scrape with a token."""
        return self.client.get("/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})

    def values(self) -> dict[tuple[str, ...], float]:
        """Return what a scrape shows, by the sample's name and the values of its labels, which are ordered by name."""
        answer = self.scrape()
        assert answer.status_code == 200
        return samples(answer.text)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a text that Prometheus' own parser reads, each once."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.name.startswith("lakehouse_")
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


@pytest.fixture(scope="module")
def web(postgres: EmbeddedPostgres, migrated_database: str) -> Iterator[Web]:
    with copied_database(postgres.dsn, migrated_database) as dsn, pytest.MonkeyPatch.context() as patched:
        settings = Settings(database_url=SecretStr(dsn), metrics_token=SecretStr(TOKEN), sandbox="off")
        patched.setenv("LAKEHOUSE_DATABASE_URL", dsn)
        context.settings.cache_clear()
        context.api_pool.cache_clear()
        with TestClient(create_app(settings)) as client:
            yield Web(client, dsn, make_users(dsn))
        context.api_pool().close()
        context.settings.cache_clear()
        context.api_pool.cache_clear()


def test_metrics_are_for_prometheus_and_for_admins(web: Web) -> None:
    """A token that the settings name, or an admin's session or API token; 401 without, 403 for other roles."""
    assert web.scrape().status_code == 200
    assert web.scrape(web.tokens["admin"]).status_code == 200
    with connect(web.dsn, "lakehouse_app") as conn:
        admin = user_named(conn, "admin")
        token, lesser = (make_token(conn, admin, f"{role}", role=role).text for role in (Role.ADMIN, Role.ANALYST))
    assert [web.scrape(each).status_code for each in (token, lesser)] == [200, 403]
    assert [web.scrape(web.tokens[role]).status_code for role in ("viewer", "analyst")] == [403, 403]
    assert [web.scrape(token).status_code for token in ("", "another token", TOKEN[:-1])] == [401, 401, 401]


def test_metrics_show_what_the_platform_did(web: Web) -> None:
    """Counters, the queue, the budget and requests over HTTP; with the names of Prometheus' conventions."""
    with connect(web.dsn, "lakehouse_app") as conn:
        enqueue(conn, "merge", {}, only_one=True)
        counted = {("exchange_requests", "answered"): 3.0, ("rows", "silver.candles", "accepted"): 5.0}
        counters.add(conn, {**counted, **counters.took("step_seconds", 0.3, "fetch")})
        counters.add(conn, counters.took("step_seconds", 7.0, "fetch"))
        conn.execute(
            "INSERT INTO lake.progress VALUES ('silver.candles', 7, 'r'), ('gold < silver.candles 0a', 6, 'r')"
        )
    web.client.get("/api/v1/jobs/12")
    web.client.get("/api/v1/no/such/path")
    web.client.get("/made-up")
    found = web.values()
    assert found["lakehouse_database_up",] == 1
    assert found["lakehouse_exchange_requests_total", "answered"] == 3
    assert found["lakehouse_rows_total", "accepted", "silver.candles"] == 5
    assert found["lakehouse_queue_messages", "spark", "waiting"] == 1
    assert found["lakehouse_queue_oldest_message_age_seconds", "spark", "waiting"] >= 0
    buckets = [
        found["lakehouse_step_duration_seconds_bucket", bound, "fetch"] for bound in ("0.1", "0.5", "10", "+Inf")
    ]
    assert buckets == [0, 1, 2, 2]
    assert found["lakehouse_step_duration_seconds_sum", "fetch"] == pytest.approx(7.3)
    assert found["lakehouse_table_version", "silver.candles"] == 7
    assert [key for key in found if key[0] == "lakehouse_table_version"] == [
        ("lakehouse_table_version", "silver.candles")
    ]
    assert found["lakehouse_http_requests_total", "GET /api/v1/jobs/{job_id}", "4xx"] >= 1
    assert found["lakehouse_http_requests_total", "unknown", "4xx"] >= 1
    assert found["lakehouse_process_start_time_seconds",] <= time.time()


def test_names_of_operations_are_not_made_by_who_asks(web: Web) -> None:
    """Paths, methods and parameters that are made up make no new series."""
    for number in range(20):
        web.client.request(f"MADE{number}", f"/x{number}")
        web.client.get(f"/api/v1/jobs/{number}?limit={number}")
        web.client.get(f"/api/v1/{number}")
    operations = {key[1] for key in web.values() if key[0] == "lakehouse_http_requests_total"}
    assert operations <= {"other", "unknown", "GET /api/v1/jobs/{job_id}", "GET /metrics"}


def test_metrics_are_shown_while_the_database_is_away(web: Web) -> None:
    """Prometheus hears that it is, and what is known without it."""
    away = make_conninfo(web.dsn, port=1)
    nobody = pool(away, "lakehouse_app", 0, 1)
    with nobody:
        collector = LakehouseCollector(Settings(), lambda: nobody.connection(timeout=1))
        found = {sample.name: sample.value for family in collector.collect() for sample in family.samples}
    assert found["lakehouse_database_up"] == 0
    assert found["lakehouse_budget_requests_per_second"] == 5


def test_a_scrape_of_a_large_ledger_reads_no_large_table(dsn: str) -> None:
    """Of 100,000 windows only the index of coverage is read, and that not again at the next scrape."""
    with connect(dsn) as conn, connect(dsn, "lakehouse_app") as scraping:
        conn.execute(
            """
            INSERT INTO lake.coverage (family, engine, market, board, secid, timeframe, from_date, till_date, state)
            SELECT 'candles', 'stock', 'shares', 'TQBR', 'S' || n / 1000, '1m', date '2000-01-01' + n % 1000,
                date '2000-01-01' + n % 1000, CASE n % 10 WHEN 0 THEN 'no trades' ELSE 'complete' END
            FROM generate_series(0, 99999) n
            """
        )
        conn.execute("VACUUM ANALYZE lake.coverage")
        collector = LakehouseCollector(Settings(), lambda: nullcontext(scraping))

        def scrape() -> dict[tuple[str, ...], float]:
            samples = [sample for family in collector.collect() for sample in family.samples]
            scraping.execute("SELECT pg_stat_force_next_flush()")
            scraping.execute("SELECT 1")
            return {(sample.name, *sample.labels.values()): sample.value for sample in samples}

        def reads() -> Any:
            query = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'coverage'"
            return conn.execute(query).fetchone()

        before = reads()
        assert scrape()["lakehouse_coverage_windows", "candles", "1m", "complete"] == 90_000
        once = reads()
        assert (once[0], once[1] > before[1]) == (before[0], True)
        assert scrape()["lakehouse_coverage_windows", "candles", "1m", "no trades"] == 10_000
        assert reads() == once


def test_a_request_keeps_its_id(web: Web) -> None:
    """One that is well-formed is returned; any other gets a new one."""
    mine = web.client.get("/api/v1/health", headers={"X-Request-Id": "my-request.1"})
    assert mine.headers["x-request-id"] == "my-request.1"
    for hostile in ("a b", "x" * 65, 'x"y'):
        other = web.client.get("/static/app.css", headers={"X-Request-Id": hostile})
        assert other.headers["x-request-id"] not in (hostile, "")
        assert len(other.headers.get_list("x-request-id")) == 1


def test_every_metric_that_an_alert_names_is_there(web: Web) -> None:
    """With the labels that it asks for; each alert says what it is, and the guide has its row."""
    text = (ROOT / "infra" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    families = list(text_string_to_metric_families(web.scrape().text))
    known = {family.name for family in families} | {
        f"{family.name}{suffix}"
        for family in families
        for suffix in {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ())
    }
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    for rule in rules:
        assert set(re.findall(r"lakehouse_\w+", rule["expr"])) <= known, rule["alert"]
        assert rule["annotations"]["summary"]
        assert f"`{rule['alert']}`" in guide, rule["alert"]
    assert {name for name in re.findall(r"`(lakehouse_\w+)`", guide) if name not in known | {"lakehouse_app"}} == set()
