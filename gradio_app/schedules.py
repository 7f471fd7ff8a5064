"""The schedules on the Ingest page (admins): what is done by the clock, when it was and will be, and changing that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from gradio_app import schedules_table
from gradio_app.callbacks import require
from gradio_app.jobs_table import message
from gradio_app.session import Pool, address_of
from lakehouse.access import audit
from lakehouse.access.roles import Role
from lakehouse.jobs import schedules as timetable
from lakehouse.market.errors import BadInput

_REFRESH_S = 10


@dataclass(frozen=True)
class ScheduleDesk:
    """The callbacks of the schedules; each checks that an admin asks."""

    pool: Pool

    def show(self, request: gr.Request) -> str:
        """Return the table."""
        require(self.pool, request, Role.ADMIN, "ingest page")
        with self.pool.connection() as conn:
            return schedules_table.table(timetable.overview(conn))

    def pick(self, name: str, request: gr.Request) -> tuple[Any, ...]:
        """Return the time, the weekday and the switch of a schedule, as the fields that change it show them."""
        require(self.pool, request, Role.ADMIN, "ingest page")
        with self.pool.connection() as conn:
            each = timetable.schedule(conn, name)
        at = f":{each.at:%M}" if each.every == "hour" else f"{each.at:%H:%M}"
        day = timetable.WEEKDAYS[each.weekday - 1] if each.weekday else None
        return at, gr.Dropdown(value=day, visible=day is not None), each.is_on

    def save(self, name: str, at: str, weekday: str | None, is_on: bool, request: gr.Request) -> tuple[str, str]:
        """Change a schedule as the fields say; return the message and the table."""
        user = require(self.pool, request, Role.ADMIN, "schedule")
        with self.pool.connection() as conn:
            day, detail = weekday or None, {"at": at, "weekday": weekday, "is_on": bool(is_on)}
            try:
                with conn.transaction():
                    changed = timetable.change(conn, name, by=user.name, at=at, weekday=day, is_on=bool(is_on))
                    audit.record(conn, user, "schedule", name, detail, "done", address_of(request))
            except BadInput as error:
                return message(str(error), is_error=True), schedules_table.table(timetable.overview(conn))
            said = f"{name}: {changed.when}{'' if changed.is_on else ', off'}."
            return message(said), schedules_table.table(timetable.overview(conn))


def schedules(blocks: gr.Blocks, pool: Pool) -> None:
    """Put the schedules into *blocks*, below what is there, and wire them."""
    desk = ScheduleDesk(pool)
    with gr.Column(elem_classes="lh-card lh-timetable"):
        gr.HTML("<h3>Schedules <small>by the exchange's clock</small></h3>", apply_default_css=False)
        shown = gr.HTML(apply_default_css=False)
        with gr.Row(elem_classes="lh-spans"):
            names = list(timetable.MEANING)
            name = gr.Dropdown(names, value=names[0], label="Schedule", elem_id="lh-schedule", min_width=140)
            at = gr.Textbox(label="At (Moscow time)", elem_id="lh-schedule-at", min_width=110, max_lines=1)
            weekday = gr.Dropdown(list(timetable.WEEKDAYS), label="Weekday", visible=False, min_width=120)
            is_on = gr.Checkbox(label="On", elem_id="lh-schedule-on", min_width=80)
            save = gr.Button("Save", size="sm", elem_id="lh-schedule-save", min_width=90)
        note = gr.HTML()
    fields = [at, weekday, is_on]
    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on([blocks.load, name.change], desk.pick, [name], fields, **hidden)
    gr.on([blocks.load, gr.Timer(_REFRESH_S).tick], desk.show, [], [shown], **hidden)
    gr.on([save.click, at.submit], desk.save, [name, *fields], [note, shown], **hidden)
