"""A body that an operation does not take is refused, and nothing of it is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote, urlencode, urlsplit

import pytest
from chalice.app import RouteEntry
from psycopg import sql

from functions.app import app
from functions.operation import operation_of
from lakehouse.database.runner import EmbeddedPostgres
from tests.api_world import Granted, World, api_world
from tests.functions_api import Api
from tests.hostile_bodies import ANYWHERE, HostileBody, in_fields
from tests.hostile_requests import Hostile

pytestmark = pytest.mark.postgres
ROUTES = [route for methods in app.routes.values() for route in methods.values() if route.method != "GET"]
asked: Counter[str] = Counter()


@pytest.fixture(scope="module")
def world(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The web process over a little of everything."""
    with api_world(postgres, tmp_path_factory.mktemp("bodies")) as found:
        yield found


def stored(world: World) -> dict[str, int]:
    """Return how many rows each table has; of the audit record those of what was not refused."""
    query = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('lake', 'gold', 'public')"
    names = sorted(tuple(row) for row in world.conn.execute(query) if row[1] != "login_attempt")
    where = {"audit": sql.SQL("WHERE outcome <> 'refused'")}
    counts = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, count(*) FROM {} {}").format(
            f"{schema}.{name}", sql.Identifier(schema, name), where.get(name, sql.SQL(""))
        )
        for schema, name in names
    )
    return dict(world.conn.execute(counts).fetchall())


def hostile(route: RouteEntry, granted: Granted, body: HostileBody) -> Hostile:
    """Return the request that would be granted, with another body."""
    path = route.uri_pattern.format(**{name: quote(value) for name, value in granted.path.items()})
    target = f"{path}?{urlencode(granted.query)}" if granted.query else path
    headers = body.headers or (f"Content-Type: {operation_of(route.view_function).content_type}".encode(),)
    return Hostile(route.method, target.encode(), 0, "", body.body, "asker" if granted.token != "" else "", headers)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.uri_pattern}")
def test_a_hostile_body_is_refused_and_nothing_is_stored(world: World, route: RouteEntry) -> None:
    """By 400, 413 or 415, whoever may ask; the request would be granted with another body."""
    granted = world.granted(route.view_name)
    token = world.web.tokens["admin"] if granted.token is None else granted.token
    address = urlsplit(world.web.url)
    api = Api(address.port or 0, world.web.dsn, world.conn, {"asker": token}, bytes, host=address.netloc, root="/api")
    # An event of a store says more than what is read of it
    takes_more = operation_of(route.view_function).body is dict
    fields = in_fields(granted.body, takes_more=takes_more) if isinstance(granted.body, dict) else iter(())
    before = stored(world)
    for body in (*ANYWHERE, *fields):
        status, answer = api.ask(hostile(route, granted, body))
        asked[route.view_name] += 1
        assert status in (400, 413, 415), (body.name, status, answer)
        assert b'"detail": "' in answer, body.name
    assert stored(world) == before


def test_there_were_five_hundred_of_them() -> None:
    """Over all operations that are sent a body."""
    if len(asked) < len(ROUTES):
        pytest.skip("not all of this file was run")
    assert asked.total() >= 500, asked
