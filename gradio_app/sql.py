"""
The pages SQL and Schema (analysts; the schema is everybody's).

Plain HTML and JavaScript (static/sql.html, sql.js, schema.js) around Gradio's code editor: the browser asks /api/v1/sql
itself, so the functions check the role, and no answer passes through Gradio's queue.
"""

from __future__ import annotations

import gradio as gr

from gradio_app.market import mounted


def sql() -> None:
    """Put the SQL page; sql.js moves the editor to its place."""
    gr.Code(language="sql", show_label=False, buttons=[], elem_id="lh-sql-editor", interactive=True)
    mounted("sql.html", "sql", "mountSql")


def schema() -> None:
    """Put the Schema page."""
    mounted("schema.html", "schema", "mountSchema")
