"""Callbacks of the pages, called by hand as a script would."""

from __future__ import annotations

import json
import uuid

import pytest
from playwright.sync_api import Page


def call_back(page: Page, name: str, values: list[object], event_data: object = None) -> str:
    """Call a page's callback in the session of *page*; return what the server says about it in the end."""
    config = page.request.get("/config").json()
    number = next(item["id"] for item in config["dependencies"] if str(item.get("api_name")).startswith(name))
    session = uuid.uuid4().hex
    request = {"data": values, "fn_index": number, "session_hash": session, "event_data": event_data}
    assert page.request.post("/gradio_api/queue/join", data=request).ok
    said = ""
    for line in page.request.get(f"/gradio_api/queue/data?session_hash={session}").text().splitlines():
        if line.startswith("data:") and json.loads(line[5:])["msg"] in ("process_generating", "process_completed"):
            said += line
    return said or pytest.fail("the callback gave no answer")
