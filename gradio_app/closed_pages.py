"""
What Gradio keeps of pages that were closed: the configuration of every component, 60 KiB each, of up to ten thousand.

A page that is opened anew is another one to it; one whose computer slept goes on where it was for some minutes.
"""

from __future__ import annotations

import asyncio
import datetime as dt

import gradio as gr
from gradio.state_holder import StateHolder

KEPT = dt.timedelta(minutes=5)
MOST_PAGES = 1_000
_EVERY_S = 30


async def forget_closed_pages(blocks: gr.Blocks) -> None:
    """Forget again and again what was closed, until cancelled."""
    while True:
        await asyncio.sleep(_EVERY_S)
        forget_closed(blocks.state_holder, dt.datetime.now() - KEPT)  # noqa: DTZ005 - by Gradio's clock


def forget_closed(holder: StateHolder, unused_since: dt.datetime) -> None:
    """Forget the pages that were closed and not used since then, a local time."""
    for name, page in list(holder.session_data.items()):
        used_at = holder.time_last_used.get(name)
        if page.is_closed and (used_at is None or used_at < unused_since):
            holder.session_data.pop(name, None)
            holder.time_last_used.pop(name, None)
