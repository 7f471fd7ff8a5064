"""The API answers alike on both servers: status, headers that a client reads, and body, over equal databases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.serving.publish import publish_gold
from tests.bronze_objects import CANDLE_COLUMNS, candle
from tests.deployed import Deployed
from tests.functions_api import Api, deployed_functions, served_functions
from tests.gold_lake import GoldLake, fact, instrument, minutes
from tests.hostile_requests import JSON, Hostile
from tests.uploaded import as_csv, candles_json

pytestmark = pytest.mark.postgres

BYTES = b"Content-Type: application/octet-stream"
SAVED = "family=candles&engine=stock&market=shares&board=TQBR&secid=SBER&timeframe=1d"
ROWS = [candle("2012-03-01 00:00:00")]
HEADERS = ("content-type", "cache-control", "content-disposition", "allow", "retry-after", "set-cookie")
# Instants of this run, and what is random
VARYING = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)|[\w-]{43}")


@dataclass(frozen=True)
class Asked:
    """A request by somebody, and the status of its answer."""

    status: int
    role: str
    method: str
    target: str
    body: Any = None
    headers: tuple[bytes, ...] = (JSON,)

    def __str__(self) -> str:
        return f"{self.method} {self.target[:60]} {self.role} {self.status}"

    @property
    def request(self) -> Hostile:
        sent = (
            self.body if isinstance(self.body, bytes) else b"" if self.body is None else json.dumps(self.body).encode()
        )
        return Hostile(self.method, self.target.encode(), self.status, "", sent, self.role, self.headers)


def get(target: str, role: str = "viewer", status: int = 200) -> Asked:
    return Asked(status, role, "GET", target)


def post(target: str, body: Any, status: int, role: str = "admin", *headers: bytes) -> Asked:
    return Asked(status, role, "POST", target, body, headers or (JSON,))


# In this order: later ones see what earlier ones did
REQUESTS = [
    get("/v1/openapi.json", ""),
    get("/v1/health?probe=live", ""),
    get("/v1/instruments"),
    get("/v1/instruments?q=sber"),
    get(f"/v1/instruments?q={quote('сбербанк')}"),
    get("/v1/instruments?q=%D0%A2-%D0%A2%D0%B5%D1%85"),
    get("/v1/instruments?q=a+b%2Bc%26d"),
    get("/v1/instruments?q="),
    get("/v1/instruments?limit=1"),
    get("/v1/instruments?q=SBER&q=GMKN", status=400),
    get("/v1/candles?secid=SBER&timeframe=1d"),
    get("/v1/candles?secid=SBER&timeframe=1m&limit=10"),
    get("/v1/candles?secid=GMKN&adjust=split"),
    get("/v1/candles?secid=TCSG&board=TQBR"),
    get("/v1/candles?secid=T&format=csv"),
    get("/v1/candles?secid=SBER&from=2100-01-01"),
    get("/v1/candles?secid=NOPE", status=400),
    get("/v1/candles?secid=SBER", "", 401),
    get("/v1/schema"),
    get("/v1/jobs", "analyst"),
    get("/v1/jobs", "viewer", 403),
    post("/v1/ingest", {"instruments": ["SBER", "T"], "timeframes": ["1d"], "from": "2024-01-01"}, 202),
    get("/v1/jobs/1", "analyst"),
    get("/v1/jobs?limit=1", "analyst"),
    post("/v1/jobs/1/cancel", {}, 200),
    post("/v1/jobs/1/cancel", {}, 400),
    post("/v1/jobs/1/retry", {}, 400),
    post("/v1/jobs/redrive", {}, 202),
    post("/v1/jobs/redrive", {}, 403, "analyst"),
    get("/v1/schedules", "admin"),
    Asked(200, "admin", "PUT", "/v1/schedules/care", {"at": "05:45", "is_on": False}),
    Asked(400, "admin", "PUT", "/v1/schedules/care", {"at": "25:00"}),
    Asked(403, "analyst", "PUT", "/v1/schedules/care", {"at": "05:45"}),
    get("/v1/schedules", "admin"),
    post(f"/v1/uploads?{SAVED}&name=page.json", candles_json(ROWS), 201, "admin", BYTES),
    post(f"/v1/uploads?{SAVED}&name=page.csv", as_csv("candles", CANDLE_COLUMNS, ROWS), 201, "admin", BYTES),
    post(f"/v1/uploads?{SAVED}&name=empty.json", b"{}", 400, "admin", BYTES),
    post(f"/v1/uploads?{SAVED}&name=page.csv", b"a;b", 415, "admin", b"Content-Type: text/csv"),
    post(f"/v1/uploads?{SAVED}&name=page.json", candles_json(ROWS), 415),
    post(f"/v1/uploads?{SAVED}&name=page.json", candles_json(ROWS), 403, "analyst", BYTES),
    post(f"/v1/uploads?{SAVED}&name=..%2F..%2Fx.json", candles_json(ROWS), 400, "admin", BYTES),
    get("/v1/uploads", "admin"),
    post("/v1/events/storage", {"Records": []}, 404, ""),
    get("/v1/quarantine", "admin"),
    get("/v1/quality", "admin"),
    post("/v1/login", {"user": "viewer", "password": "a long password"}, 200, ""),
    post("/v1/login", {"user": "viewer", "password": "another password"}, 401, ""),
    post("/v1/logout", {}, 200, "viewer"),
    get("/v1/instruments", "viewer", 401),
]  # fmt: skip


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> GoldLake:
    """Gold with a split, a rename, days and minutes."""
    lake = GoldLake(tmp_path_factory.mktemp("gold"))
    gmkn = [fact(4, at, 15000.0 if at < 10 else 150.0, split_factor=0.01 if at < 10 else 1.0) for at in range(25)]
    t = [fact(3, at, 300.0, secid="TCSG" if at < 20 else "T") for at in range(30)]
    cards = [
        instrument(1, "SBER", shortname="Сбербанк", name="Сбербанк России ПАО ао", isin="RU0009029540"),
        instrument(3, "T", secids="TCSG,T", shortname="Т-Технологии", name="МКПАО Т-Технологии", isin="RU000A107UL4"),
        instrument(4, "GMKN", shortname="ГМКНорНик", name="ГМК Норильский никель", isin="RU0007288411"),
    ]
    lake.create([*gmkn, *t, *(fact(1, at, 100.0 + at) for at in range(25)), *minutes(1, 30)], cards)
    return lake


@pytest.fixture(scope="module")
def embedded(
    postgres: EmbeddedPostgres, simulator: str, gold: GoldLake, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """The platform's own server."""
    more = {"LAKEHOUSE_SOURCE": "simulator", "LAKEHOUSE_ISS_URL": simulator}
    with served_functions(postgres, tmp_path_factory.mktemp("alike"), more=more) as api:
        publish_gold(api.dsn, gold.lake)
        yield api


@pytest.fixture(scope="module")
def on_aws(deployed: Deployed, gold: GoldLake) -> Iterator[Api]:
    """The same as it is deployed."""
    with deployed_functions(deployed) as api:
        publish_gold(api.dsn, gold.lake)
        yield api


def answer(api: Api, asked: Asked) -> tuple[int, dict[str, str], str]:
    status, headers, body = api.ask_whole(asked.request)
    told = {name: VARYING.sub("...", headers[name]) for name in HEADERS if name in headers}
    return status, told, VARYING.sub("...", body.decode())


@pytest.mark.parametrize("asked", REQUESTS, ids=str)
def test_both_servers_answer_alike(embedded: Api, on_aws: Api, asked: Asked) -> None:
    """To the letter, but for instants and tokens."""
    here, there = answer(embedded, asked), answer(on_aws, asked)
    assert here[0] == asked.status, here[2]
    assert there == here


def test_both_servers_tell_their_health(embedded: Api, on_aws: Api) -> None:
    """In one form; where functions take the queue `io` no worker of it is missed."""
    here, there = (json.loads(api.ask(get("/v1/health", "").request)[1]) for api in (embedded, on_aws))
    assert list(here) == list(there)
    assert (here["ready"], there["ready"], here["data_version"]) == (True, True, there["data_version"])
    assert [reason["code"] for reason in here["reasons"]] == ["no_worker", "no_worker"]
    assert [reason["code"] for reason in there["reasons"]] == ["no_worker"]


def test_both_servers_page_alike(embedded: Api, on_aws: Api) -> None:
    """Page for page, until the end, and a token of the one is a token of the other."""
    token: str | None = ""
    rows = 0
    while token is not None:
        target = f"/v1/candles?secid=SBER&timeframe=1m&limit=7{f'&token={token}' if token else ''}"
        pages = [json.loads(api.ask(get(target, "analyst").request)[1]) for api in (embedded, on_aws)]
        assert pages[0] == pages[1]
        token, rows = pages[0]["next"], rows + len(pages[0]["rows"])
    assert rows == 30


def test_sql_is_answered_at_home_only(embedded: Api, on_aws: Api) -> None:
    """There it is told where; who may not ask is refused on both."""
    asked = post("/v1/sql", {"statement": "SELECT 1 AS one"}, 200, "analyst")
    status, said = on_aws.ask(asked.request)
    assert (status, json.loads(said)["code"]) == (501, "not_here")
    assert "/api/v1/sql" in json.loads(said)["detail"]
    assert embedded.ask(asked.request)[0] == 200
    refused = post("/v1/sql", {"statement": "SELECT 1"}, 403, "viewer")
    assert on_aws.ask(post("/v1/sql", {"statement": "SELECT 1"}, 401, "").request)[0] == 401
    assert {api.ask(refused.request)[0] for api in (embedded, on_aws)} <= {401, 403}


@pytest.mark.parametrize(("method", "status"), [("HEAD", 405), ("OPTIONS", 405)])
def test_no_other_origin_and_no_head_is_answered(embedded: Api, on_aws: Api, method: str, status: int) -> None:
    """API Gateway says 404 of a method that no path takes."""
    asked = Asked(status, "analyst", method, "/v1/jobs", headers=(b"Origin: http://evil.example",))
    here, there = embedded.ask_whole(asked.request), on_aws.ask_whole(asked.request)
    assert (here[0], there[0]) == (status, 404)
    assert not [name for name in (*here[1], *there[1]) if name == "access-control-allow-origin"]
