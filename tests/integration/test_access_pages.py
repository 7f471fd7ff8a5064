"""What the pages change is on the audit record too, without a browser."""

from __future__ import annotations

import datetime as dt

import gradio as gr
import pytest
from starlette.requests import Request

from gradio_app.sandbox_saved import SavedDesk
from gradio_app.schedules import ScheduleDesk
from lakehouse.access import audit
from lakehouse.access.sessions import mint
from lakehouse.access.users import create_user
from lakehouse.database.connection import pool as open_pool

pytestmark = pytest.mark.postgres


def test_what_pages_change_is_on_the_record(dsn: str) -> None:
    """Analyses and schedules: who, what, from where, in the same transaction; what was refused is not."""
    with open_pool(dsn, "lakehouse_app", 1, 2) as pool, pool.connection() as conn:
        token = mint(conn, create_user(conn, "anna", "correct horse battery", "admin"), dt.timedelta(minutes=5))
        headers = [(b"cookie", b"lakehouse_session=" + token.encode())]
        asking = gr.Request(Request({"type": "http", "headers": headers, "client": ("203.0.113.9", 1)}))
        saved, schedules = SavedDesk(pool), ScheduleDesk(pool)
        program = ("print(df)", ["SBER"], "1d", "2026-01-01", "2026-02-01", "none")
        saved.save("mine", *program, asking)
        saved.rename("mine", "ours", asking)
        saved.delete("ours", asking)
        saved.delete("ours", asking)
        schedules.save("care", "06:30", "Sunday", False, asking)
        schedules.save("care", "midnight", "Sunday", False, asking)
        entries = audit.read(conn)
    assert [(each.action, each.target, each.outcome) for each in reversed(entries)] == [
        ("analysis save", "mine", "done"),
        ("analysis rename", "ours", "done"),
        ("analysis delete", "ours", "done"),
        ("schedule", "care", "done"),
    ]
    assert {(each.user, each.address) for each in entries} == {("anna", "203.0.113.9")}
