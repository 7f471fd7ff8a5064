"""How the pages look: Gradio's theme in our colours (static/tokens.css) and system fonts; what goes into the head."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils import fonts, sizes

# System fonts only: a page asks no other server for anything.
_FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Liberation Sans", "sans-serif")
_MONO = ("ui-monospace", "SF Mono", "Cascadia Mono", "Liberation Mono", "DejaVu Sans Mono", "monospace")

HEAD = """
<link rel="stylesheet" href="/static/tokens.css">
<link rel="stylesheet" href="/static/app.css">
<link rel="stylesheet" href="/static/sql.css">
<link rel="stylesheet" href="/static/sandbox.css">
<link rel="stylesheet" href="/static/account.css">
<script src="/static/theme.js"></script>
"""


def theme() -> gr.themes.Base:
    """Return Gradio's theme: flat, dense, our colours by reference, so that light and dark come from one place."""
    base = gr.themes.Base(
        text_size=sizes.text_sm,
        spacing_size=sizes.spacing_sm,
        radius_size=sizes.radius_sm,
        font=[fonts.Font(name) for name in _FONT],
        font_mono=[fonts.Font(name) for name in _MONO],
    )
    colours = {name: f"var(--lh-{colour})" for name, colour in _COLOUR.items()}
    return base.set(**colours, **{f"{name}_dark": colour for name, colour in colours.items()})


_COLOUR = {
    "body_background_fill": "page",
    "body_text_color": "text",
    "body_text_color_subdued": "muted",
    "background_fill_primary": "panel",
    "background_fill_secondary": "sunken",
    "block_background_fill": "panel",
    "block_border_color": "line",
    "block_label_background_fill": "panel",
    "block_label_text_color": "muted",
    "block_title_text_color": "muted",
    "block_info_text_color": "muted",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "input_background_fill": "panel",
    "input_border_color": "line-strong",
    "input_border_color_focus": "accent",
    "input_placeholder_color": "muted",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "accent",
    "button_primary_text_color": "on-accent",
    "button_primary_border_color": "accent",
    "button_secondary_background_fill": "panel",
    "button_secondary_background_fill_hover": "sunken",
    "button_secondary_text_color": "text",
    "button_secondary_border_color": "line-strong",
    "checkbox_background_color": "panel",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "line-strong",
    "checkbox_border_color_selected": "accent",
    "checkbox_label_background_fill": "panel",
    "checkbox_label_background_fill_hover": "sunken",
    "checkbox_label_background_fill_selected": "accent-soft",
    "checkbox_label_border_color": "line",
    "checkbox_label_text_color": "text",
    "checkbox_label_text_color_selected": "text",
    "link_text_color": "accent",
    "link_text_color_hover": "accent",
    "link_text_color_active": "accent",
    "link_text_color_visited": "accent",
    "color_accent_soft": "accent-soft",
}
