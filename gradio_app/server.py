"""The web process: functions under /api, the pages under /, one origin and one session cookie for both."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse
from starlette.middleware.cors import CORSMiddleware

from functions.app import app as functions_app
from functions.host import asgi_app
from functions.proxy import Forwarded
from gradio_app import login
from gradio_app import metrics as platform_metrics
from gradio_app.account import access, account
from gradio_app.closed_pages import MOST_PAGES, forget_closed_pages
from gradio_app.guard import Guard
from gradio_app.ingest import ingest
from gradio_app.market import header, market
from gradio_app.nonces import put_nonces
from gradio_app.observing import HttpMetrics, Observed, naming
from gradio_app.quality import quality
from gradio_app.sandbox import sandbox
from gradio_app.sandbox_runs import Runs
from gradio_app.session import Pool
from gradio_app.sql import schema, sql
from gradio_app.theme import HEAD, theme
from lakehouse.access.roles import Role
from lakehouse.database.connection import pool as open_pool
from lakehouse.lifeline import end_with_parent
from lakehouse.listening import server_options
from lakehouse.logs import configure_logs_of
from lakehouse.market.errors import BadInput, LakehouseError
from lakehouse.memory import keep_little
from lakehouse.sandbox.host import Sandbox
from lakehouse.settings import Settings, load_settings

_STATIC = Path(__file__).parent / "static"
_LOOK_S = 0.02
ROLE_BY_PAGE = {
    "/": Role.VIEWER,
    "/sql": Role.ANALYST,
    "/sandbox": Role.ANALYST,
    "/schema": Role.VIEWER,
    "/ingest": Role.ADMIN,
    "/quality": Role.ADMIN,
    "/account": Role.VIEWER,
    "/access": Role.ADMIN,
}


def create_app(settings: Settings) -> FastAPI:
    """
    Return the web application.

    Raises:
        BadInput: if the settings name no database.
    """
    if settings.database_url is None:
        raise BadInput("LAKEHOUSE_DATABASE_URL is not set; `lakehouse up` and `lakehouse demo` start the pages with it")
    pool = open_pool(settings.database_url.get_secret_value(), "lakehouse_app", 1, 8)
    runs = Runs(pool, Sandbox(settings.sandbox_socket))

    @asynccontextmanager
    async def serving(_: FastAPI) -> AsyncIterator[None]:
        gc.collect()
        gc.freeze()  # what is there now stays: a look through all of it holds up every request for 0.2 s
        forgetting = asyncio.create_task(forget_closed_pages(blocks))
        yield
        forgetting.cancel()
        runs.close()
        pool.close()

    app = FastAPI(title="MOEX Lakehouse", docs_url=None, redoc_url=None, openapi_url=None, lifespan=serving)
    app.include_router(login.routes(pool))
    app.include_router(_files())
    metrics = platform_metrics.registry(settings, pool)
    app.include_router(platform_metrics.routes(settings, pool, metrics))
    app.mount("/api", asgi_app(functions_app))
    app.add_middleware(CORSMiddleware)  # no other origin may ask; Gradio's own would let other ports of this machine
    app.add_middleware(Guard, pool=pool, role_by_page=ROLE_BY_PAGE)
    app.add_middleware(Forwarded, settings=settings)  # the last added is asked first
    app.add_middleware(Observed, metrics=HttpMetrics(metrics), operation_of=naming(functions_app, ROLE_BY_PAGE))
    put_nonces()
    # Gradio warns that several pages exclude server-side rendering, even where that is off.
    warnings.filterwarnings("ignore", message="SSR mode is not supported", category=UserWarning)
    blocks = pages(pool, runs)
    blocks.state_session_capacity = MOST_PAGES
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        auth_dependency=lambda request: request.state.user.name,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=False,  # what a callback did not foresee may name what is nobody's business; gr.Error is shown
        max_file_size="1kb",  # no page takes files
        theme=theme(),
        head=HEAD,
    )
    look_seldom(blocks)
    return app


def look_seldom(blocks: gr.Blocks) -> None:
    """Have Gradio look 50 times a second for what to do: a thousand times, as it does, is 7 % of a core for nothing."""
    blocks._queue.sleep_when_free = _LOOK_S
    blocks._queue.progress_update_sleep_when_free = _LOOK_S


def pages(pool: Pool, runs: Runs) -> gr.Blocks:
    """Return all pages; each but the first has its own address."""
    blocks = gr.Blocks(title="MOEX Lakehouse", analytics_enabled=False, fill_width=True)
    with blocks:
        header()
        market()
    with blocks.route("SQL", "/sql"):
        header()
        sql()
    with blocks.route("Schema", "/schema"):
        header()
        schema()
    with blocks.route("Analysis", "/sandbox"):
        header()
        sandbox(blocks, pool, runs)
    with blocks.route("Ingest", "/ingest"):
        header()
        ingest(blocks, pool)
    with blocks.route("Quality", "/quality"):
        header()
        quality(blocks, pool)
    with blocks.route("Account", "/account"):
        header()
        account()
    with blocks.route("Access", "/access"):
        header()
        access()
    return blocks


def _files() -> APIRouter:
    router = APIRouter()

    @router.get("/session")
    def session(request: Request) -> JSONResponse:
        user = request.state.user
        return JSONResponse({"user": user.name, "role": str(user.role)}, headers={"cache-control": "no-store"})

    static = {path.name: path for path in _STATIC.iterdir()}
    static["lightweight-charts.js"] = Path(str(files("litecharts") / "js" / "lightweight-charts.js"))
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        static[name] = Path(str(files("fastapi_offline") / "static" / name))
    static["plotly.min.js"] = Path(str(files("plotly") / "package_data" / "plotly.min.js"))

    @router.get("/api/docs")
    def api_docs() -> FileResponse:
        return FileResponse(_STATIC / "api_docs.html", headers={"cache-control": "no-cache"})

    # One level only: Gradio keeps files of its own in folders under /static.
    @router.get("/static/{name}")
    def file(name: str) -> FileResponse:
        if name not in static:
            raise HTTPException(404, f"there is no file {name}")
        return FileResponse(static[name], headers={"cache-control": "no-cache"})

    @router.get("/favicon.ico")
    def favicon() -> FileResponse:
        return FileResponse(_STATIC / "favicon.svg", media_type="image/svg+xml")

    return router


def main() -> int:
    """Serve until stopped; 1 with one line on standard error when that cannot be."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    end_with_parent()
    keep_little()
    try:
        settings = load_settings()
        options = server_options(settings)
        configure_logs_of(settings)
        application = create_app(settings)
    except LakehouseError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    run(application, options, settings.log_level)
    return 0


def run(application: FastAPI, options: Mapping[str, Any], log_level: str) -> None:
    """Serve until stopped, with the `server_options` of the settings."""
    uvicorn.run(
        application,
        **options,
        log_level=log_level,
        log_config=None,  # as our own lines
        access_log=False,  # observing.py has the line, with who asked and what
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=1,  # open pages hold a stream that never ends by itself
    )


if __name__ == "__main__":
    sys.exit(main())
