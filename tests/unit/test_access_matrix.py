"""Who may do what: the table written by hand, the code and the document name the same things."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr
from starlette.routing import BaseRoute, Mount

from functions.app import app as functions_app
from gradio_app.callbacks import require
from gradio_app.server import ROLE_BY_PAGE, create_app
from infra import access
from lakehouse.access.roles import Role
from lakehouse.settings import load_settings
from tests.access_matrix import REFUSED, read_matrix

MATRIX = read_matrix()


@pytest.fixture(scope="module")
def web_routes() -> set[str]:
    """Method and path of each route of the web process, and of Gradio in it."""
    nowhere = SecretStr("postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    application = create_app(load_settings().model_copy(update={"database_url": nowhere}))
    return set(routes_of(application.routes))


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """Yield the routes in order, those of what is mounted among them; the functions are the table's other section."""
    for route in iter_route_contexts(list(routes)):
        mounted = getattr(route, "original_route", route)
        if isinstance(mounted, Mount):
            if mounted.path != "/api":
                yield from routes_of(mounted.routes)
            continue
        yield from (f"{method} {route.path}" for method in route.methods or ())


def test_each_operation_of_the_api_is_in_the_table_and_is_there() -> None:
    """An operation that is added or taken away changes the table, by hand."""
    assert set(MATRIX["api"]) == {f"{method} {path}" for method, path, _ in access.operations(functions_app)}


def test_each_route_of_the_web_process_is_in_the_table_and_is_there(web_routes: set[str]) -> None:
    """A release of Gradio that brings a route fails here until somebody says who may ask it."""
    assert set(MATRIX["web"]) == web_routes
    assert {f"GET {page}" for page in ROLE_BY_PAGE} <= set(MATRIX["web"])


def test_each_callback_of_the_pages_is_in_the_table_and_is_there() -> None:
    """A callback that is added or taken away changes the table, by hand."""
    found = [callback.__qualname__ for _, callback in access.callbacks(access.unconnected_pages())]
    assert sorted(found) == sorted(MATRIX["callbacks"])


def test_what_the_table_expects_is_what_is_declared() -> None:
    """The least role that the table lets in is the one that operations and callbacks declare."""
    roles = [str(role) for role in Role]
    for method, path, declared in access.operations(functions_app):
        if declared.role is not None:
            marks = MATRIX["api"][f"{method} {path}"]
            assert [marks[role] == REFUSED for role in roles] == [Role(role) < declared.role for role in roles], path
    for _, callback in access.callbacks(access.unconnected_pages()):
        marks, role = MATRIX["callbacks"][callback.__qualname__], access.check_of(callback).role
        assert [marks[each] == REFUSED for each in roles] == [Role(each) < role for each in roles], callback


def test_a_callback_that_does_not_check_is_found() -> None:
    """One that never asks for the role, or asks twice, cannot be described."""

    def forgets(request: object) -> str:
        return f"{require}"

    with pytest.raises(ValueError, match="calls require 0 times"):
        access.check_of(forgets)
