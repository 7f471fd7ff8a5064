"""
The Market page: an instrument's candles, volume and indicators.

The page is plain HTML and JavaScript (static/market.html, market.js, chart.js): the browser reads /api/v1/candles
itself, so the functions check the role, and a year of minutes never passes through Gradio's queue.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_STATIC = Path(__file__).parent / "static"
_START = 'import("/static/{script}.js").then((page) => page.{mount}(element));'


def header() -> gr.HTML:
    """Put the head that all pages share."""
    return mounted("header.html", "shell", "mountHeader")


def market() -> gr.HTML:
    """Put the Market page."""
    return mounted("market.html", "market", "mountMarket")


def mounted(file: str, script: str, mount: str) -> gr.HTML:
    """Put the HTML in static/*file*, with *mount* of static/*script*.js to start it."""
    return gr.HTML(
        (_STATIC / file).read_text(encoding="utf-8"),
        js_on_load=_START.format(script=script, mount=mount),
        apply_default_css=False,
    )
