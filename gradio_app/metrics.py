"""``GET /metrics``: for Prometheus, with the token that the settings name, and for admins."""

from __future__ import annotations

import secrets

import psycopg
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

from functions.requests import SESSION, cookie_of
from gradio_app.session import Pool
from lakehouse.access import tokens
from lakehouse.access.roles import NotAllowed, NotLoggedIn, Role, require
from lakehouse.operations.metrics import LakehouseCollector
from lakehouse.settings import Settings

_PATIENCE_S = 2.0
_LOG_IN = "log in as an admin, or send LAKEHOUSE_METRICS_TOKEN as Authorization: Bearer"


def registry(settings: Settings, pool: Pool) -> CollectorRegistry:
    """Return what is asked at a scrape: this process and the platform."""
    found = CollectorRegistry(auto_describe=False)
    ProcessCollector(namespace="lakehouse", registry=found)
    found.register(LakehouseCollector(settings, lambda: pool.connection(timeout=_PATIENCE_S)))
    return found


def routes(settings: Settings, pool: Pool, metrics: CollectorRegistry) -> APIRouter:
    """Return the route /metrics, which sees to itself who may read it."""
    router = APIRouter()
    known = settings.metrics_token.get_secret_value() if settings.metrics_token else None

    @router.get("/metrics", response_class=PlainTextResponse)
    def show(request: Request) -> Response:
        try:
            if not _has_token(request, known):
                _require_admin(request, pool)
        except NotLoggedIn:
            return PlainTextResponse(_LOG_IN, 401, {"WWW-Authenticate": "Bearer"})
        except NotAllowed as error:
            return PlainTextResponse(str(error), 403)
        except psycopg.OperationalError:
            return PlainTextResponse("the database that knows who you are does not answer", 503, {"Retry-After": "5"})
        return Response(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST, headers={"cache-control": "no-store"})

    return router


def _bearer(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _has_token(request: Request, known: str | None) -> bool:
    given = _bearer(request)
    return known is not None and secrets.compare_digest(given.encode(), known.encode())


def _require_admin(request: Request, pool: Pool) -> None:
    bearer, cookie = _bearer(request), cookie_of(request.headers, SESSION)
    if not bearer and not cookie:
        raise NotLoggedIn("log in first")
    with pool.connection(timeout=_PATIENCE_S) as conn:
        require(tokens.asker(conn, bearer, cookie), Role.ADMIN)
