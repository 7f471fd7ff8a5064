"""Callbacks of the pages, called by hand as a script would."""

from __future__ import annotations

import functools
import json
import uuid

import pytest
from playwright.sync_api import APIRequestContext


def call_back(asking: APIRequestContext, name: str, values: list[object], event_data: object = None) -> str:
    """Call a page's callback in the session of who is *asking*; return what the server says about it in the end."""
    number = next(number for named, number in _callbacks(asking) if named.startswith(name))
    session = uuid.uuid4().hex
    request = {"data": values, "fn_index": number, "session_hash": session, "event_data": event_data}
    assert asking.post("/gradio_api/queue/join", data=request).ok
    said = ""
    for line in asking.get(f"/gradio_api/queue/data?session_hash={session}").text().splitlines():
        if line.startswith("data:") and json.loads(line[5:])["msg"] in ("process_generating", "process_completed"):
            said += line
    return said or pytest.fail("the callback gave no answer")


@functools.cache
def _callbacks(asking: APIRequestContext) -> list[tuple[str, int]]:
    config = asking.get("/config").json()
    return [(str(item.get("api_name")), item["id"]) for item in config["dependencies"]]
