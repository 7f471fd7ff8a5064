"""
The Ingest page (admins): queue tickers, see the jobs move, look into one, cancel it, retry what failed of it.

Saved pages are uploaded there, too (static/uploads.js): the browser sends them to the functions itself.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from functions import context
from gradio_app import jobs_table
from gradio_app.callbacks import require
from gradio_app.market import mounted
from gradio_app.schedules import schedules
from gradio_app.session import Pool, address_of
from lakehouse.access import audit
from lakehouse.access.roles import Role
from lakehouse.database import breaker
from lakehouse.database.connection import one_moment
from lakehouse.jobs import queue, retrying
from lakehouse.market.errors import BadInput
from lakehouse.market.timeframe import Timeframe

REFRESH_S = 2
NAME_BY_TIMEFRAME = {
    Timeframe.MINUTE: "Minute",
    Timeframe.TEN_MINUTES: "10 min",
    Timeframe.HOUR: "Hour",
    Timeframe.DAY: "Daily",
    Timeframe.WEEK: "Week",
    Timeframe.MONTH: "Month",
    Timeframe.QUARTER: "Quarter",
}
# A click on a job's row, or Enter on it, picks the job.
_PICK = """
const pick = (event) => {
  const row = event.target.closest("tr[data-job]");
  if (row && (event.type === "click" || event.key === "Enter")) trigger("select", {job_id: Number(row.dataset.job)});
};
element.addEventListener("click", pick);
element.addEventListener("keydown", pick);
"""


@dataclass(frozen=True)
class IngestDesk:
    """The callbacks of the page; each checks that an admin asks."""

    pool: Pool

    def submit(
        self,
        tickers: str | None,
        timeframes: list[str],
        from_: str | None,
        till: str | None,
        reread: bool,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """Queue what the form says; return the message, the jobs, the picked job, its details and its buttons."""
        user = require(self.pool, request, Role.ADMIN, "ingest")
        secids = split_tickers(tickers or "")  # a script may send nothing where a page sends text
        document = {
            "instruments": secids,
            "timeframes": timeframes,
            "from": (from_ or "").strip() or None,
            "till": (till or "").strip() or None,
            "reread": reread,
        }
        try:
            wanted = queue.IngestRequest.parse(document)
        except BadInput as error:
            return jobs_table.message(str(error), is_error=True), *[gr.skip()] * 5
        with self.pool.connection() as conn, conn.transaction():
            job_id = queue.submit_ingest(conn, wanted, user.name)
            detail = {**wanted.model_dump(mode="json", by_alias=True), "job_id": job_id}
            audit.record(conn, user, "ingest", " ".join(secids)[:200], detail, "queued", address_of(request))
        context.wake()
        return (jobs_table.message(f"Job {job_id} is queued."), *self._all(job_id))

    def refresh(self, job_id: int | None, request: gr.Request) -> tuple[Any, ...]:
        """Return the jobs, the picked job (the newest at first), its details and its buttons."""
        require(self.pool, request, Role.ADMIN, "ingest page")
        return self._all(job_id)

    def pick(self, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """Pick the job whose row was clicked."""
        require(self.pool, request, Role.ADMIN, "ingest page")
        return self._all(int(event.job_id))

    def cancel(self, job_id: int | None, request: gr.Request) -> tuple[Any, ...]:
        """Ask the picked job to stop; return what `submit` returns."""
        user = require(self.pool, request, Role.ADMIN, "cancel")
        if job_id is None:
            return jobs_table.message("Pick a job first.", is_error=True), *self._all(None)
        with self.pool.connection() as conn:
            try:
                with conn.transaction():
                    state = queue.cancel(conn, job_id)
                    audit.record(conn, user, "cancel", f"job {job_id}", {}, state, address_of(request))
            except BadInput as error:
                audit.record(conn, user, "cancel", f"job {job_id}", {}, "refused", address_of(request))
                return jobs_table.message(str(error), is_error=True), *self._all(job_id)
        context.wake()
        return jobs_table.message(f"Job {job_id} is {state}."), *self._all(job_id)

    def retry(self, job_id: int | None, request: gr.Request) -> tuple[Any, ...]:
        """Queue again what failed of the picked job; return what `submit` returns."""
        user = require(self.pool, request, Role.ADMIN, "retry")
        if job_id is None:
            return jobs_table.message("Pick a job first.", is_error=True), *self._all(None)
        with self.pool.connection() as conn, conn.transaction():
            again = retrying.retry_failed(conn, job_id)
            audit.record(conn, user, "retry", f"job {job_id}", {}, "queued" if again else "done", address_of(request))
        context.wake()
        said = "goes on with what had failed." if again else "has nothing that failed."
        return jobs_table.message(f"Job {job_id} {said}"), *self._all(job_id)

    def _all(self, job_id: int | None) -> tuple[Any, ...]:
        now = dt.datetime.now(dt.UTC)
        with self.pool.connection() as conn, one_moment(conn):
            jobs, exchange = queue.jobs(conn), breaker.state(conn)
            if job_id is None and jobs:
                job_id = jobs[0].job_id
            job = queue.job(conn, job_id) if job_id is not None else None
            windows = queue.windows(conn, job.job_id) if job else []
            steps = queue.steps_of(conn, job) if job else []
        can_stop = job is not None and not job.is_over
        return (
            jobs_table.jobs(jobs, job_id, now, str(exchange) if exchange.is_open else ""),
            job_id,
            jobs_table.details(job, windows, steps),
            gr.Button(f"Cancel job {job_id}" if can_stop else "Cancel", interactive=can_stop),
            gr.Button("Retry what failed", interactive=job is not None and job.is_over and job.why_failed is not None),
        )


def split_tickers(text: str) -> list[str]:
    """Return the tickers of a text, separated by commas, semicolons or blanks, each once, in order."""
    return list(dict.fromkeys(part for part in re.split(r"[\s,;]+", text) if part))


def ingest(blocks: gr.Blocks, pool: Pool) -> None:
    """Put the page into *blocks* and wire it."""
    desk = IngestDesk(pool)
    with gr.Row(elem_classes="lh-ingest"):
        with gr.Column(scale=1, min_width=300, elem_classes="lh-card lh-form"):
            tickers, fields, submit = _form()
            note = gr.HTML()
        with gr.Column(scale=3, min_width=560, elem_classes="lh-card"):
            jobs = gr.HTML(js_on_load=_PICK, apply_default_css=False)
            with gr.Row(elem_classes="lh-buttons"):
                cancel = gr.Button("Cancel", size="sm", interactive=False, elem_id="lh-cancel")
                retry = gr.Button("Retry what failed", size="sm", interactive=False, elem_id="lh-retry")
            details = gr.HTML(apply_default_css=False)
            mounted("uploads.html", "uploads", "mountUploads")
    schedules(blocks, pool)
    picked = gr.State(None)
    shown = [jobs, picked, details, cancel, retry]
    _on([submit.click, tickers.submit], desk.submit, fields, [note, *shown])
    _on([cancel.click], desk.cancel, [picked], [note, *shown])
    _on([retry.click], desk.retry, [picked], [note, *shown])
    _on([jobs.select], desk.pick, [], shown)
    _on([blocks.load, gr.Timer(REFRESH_S).tick], desk.refresh, [picked], shown)


def _on(triggers: list[Any], callback: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
    gr.on(triggers, callback, inputs, outputs, show_progress="hidden", api_visibility="private")


def _form() -> tuple[gr.Textbox, list[gr.components.Component], gr.Button]:
    gr.HTML("<h2>Read from the exchange</h2>", apply_default_css=False)
    tickers = gr.Textbox(label="Tickers", placeholder="SBER GAZP, LKOH", lines=1, max_lines=6, elem_id="lh-tickers")
    timeframes = gr.CheckboxGroup(
        [(NAME_BY_TIMEFRAME[item], item.value) for item in Timeframe], value=["1d"], label="Timeframes"
    )
    with gr.Row(elem_classes="lh-spans"):
        from_ = gr.Textbox(label="From", placeholder="YYYY-MM-DD", elem_id="lh-ingest-from", min_width=110)
        till = gr.Textbox(label="Till", placeholder="today", elem_id="lh-ingest-till", min_width=110)
    reread = gr.Checkbox(False, label="Read again what is there already (finds old revisions)")
    submit = gr.Button("Queue", variant="primary", elem_id="lh-queue")
    return tickers, [tickers, timeframes, from_, till, reread], submit
