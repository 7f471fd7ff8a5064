"""What the web process does when there is nothing to do."""

from __future__ import annotations

import asyncio

import gradio as gr

from gradio_app.server import look_seldom


async def test_nobody_asking_hardly_wakes_the_process() -> None:
    """Gradio's queue looks again and again for events, and for progress to tell: it sleeps at least 20 ms between."""
    with gr.Blocks() as blocks:
        gr.Textbox()
    look_seldom(blocks)
    loop, slept = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def noted(delay, *rest, **options):  # type: ignore[no-untyped-def]
        slept.append(delay)
        return call_later(delay, *rest, **options)

    loop.call_later = noted  # type: ignore[method-assign, assignment]
    looking = [
        asyncio.create_task(look()) for look in (blocks._queue.start_processing, blocks._queue.start_progress_updates)
    ]
    while len(slept) < 4:  # noqa: ASYNC110 - each of both twice
        await asyncio.sleep(0)
    for task in looking:
        task.cancel()
    assert min(slept) >= 0.02
