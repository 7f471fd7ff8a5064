"""Pages that were closed are forgotten."""

from __future__ import annotations

import datetime as dt

import gradio as gr
from gradio.state_holder import StateHolder

from gradio_app.closed_pages import forget_closed


def test_a_page_that_was_closed_and_not_used_since_is_forgotten() -> None:
    """One that is open stays however long it is idle, and one that was closed a moment ago may come back."""
    with gr.Blocks() as blocks:
        picked = gr.State("nothing")
    holder = StateHolder()  # type: ignore[no-untyped-call]
    holder.set_blocks(blocks)
    now = dt.datetime(2026, 3, 4, 12, 0)  # noqa: DTZ001 - by Gradio's clock
    for name, is_closed, minutes in (("open", False, 600), ("just closed", True, 1), ("long closed", True, 6)):
        holder[name][picked._id] = name
        holder[name].is_closed = is_closed
        holder.time_last_used[name] = now - dt.timedelta(minutes=minutes)
    forget_closed(holder, now - dt.timedelta(minutes=5))
    assert list(holder.session_data) == ["open", "just closed"]
    assert set(holder.time_last_used) == {"open", "just closed"}
    assert holder["open"][picked._id] == "open"
