"""Saved analyses on the page Analysis: open one, save, rename and delete; each user has their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from gradio_app import sandbox_output as output
from gradio_app.callbacks import require
from gradio_app.session import Pool, address_of
from lakehouse.access import analyses, audit
from lakehouse.access.roles import Role
from lakehouse.market.errors import BadInput
from lakehouse.serving.frames import Selection


class SavedForm(NamedTuple):
    """The parts of the form."""

    chosen: gr.Dropdown
    name: gr.Textbox
    save: gr.Button
    rename: gr.Button
    delete: gr.Button


@dataclass(frozen=True)
class SavedDesk:
    """The callbacks of the form; each checks that an analyst asks, and gives them their own analyses only."""

    pool: Pool

    def choices(self, request: gr.Request) -> Any:
        """Return the choices of analyses."""
        user = require(self.pool, request, Role.ANALYST, "analyses")
        with self.pool.connection() as conn:
            return gr.Dropdown(choices=analyses.names(conn, user), value=None)

    def open(self, name: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Return the status, the name, and the program of an analysis: code, instruments, timeframe, dates, prices."""
        user = require(self.pool, request, Role.ANALYST, "analysis open")
        try:
            with self.pool.connection() as conn:
                found = analyses.open_analysis(conn, user, name or "")
        except BadInput as error:
            return output.status(str(error), "bad"), *[gr.skip()] * 7
        wanted = found.selection
        program = (found.code, wanted["instruments"], wanted["timeframe"], wanted["from"], wanted["till"])
        return output.status(f"{found.name} is open."), found.name, *program, wanted["adjust"]

    def save(
        self,
        name: str,
        code: str,
        secids: list[str],
        timeframe: str,
        from_: str,
        till: str,
        adjust: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """Keep the program under a name; return status, choices and the name as kept."""
        user = require(self.pool, request, Role.ANALYST, "analysis save")
        try:
            selection = Selection.parse(secids, timeframe, from_, till, adjust)
            with self.pool.connection() as conn, conn.transaction():
                kept = analyses.save(conn, user, name, code, selection.document())
                audit.record(conn, user, "analysis save", kept, {}, "done", address_of(request))
                return self._changed(f"{kept} is saved.", analyses.names(conn, user), kept)
        except BadInput as error:
            return output.status(str(error), "bad"), gr.skip(), gr.skip()

    def rename(self, name: str | None, new_name: str, request: gr.Request) -> tuple[Any, ...]:
        """Rename the analysis chosen; return what `save` returns."""
        user = require(self.pool, request, Role.ANALYST, "analysis rename")
        try:
            with self.pool.connection() as conn, conn.transaction():
                kept = analyses.rename(conn, user, name or "", new_name)
                audit.record(conn, user, "analysis rename", kept, {"was": name}, "done", address_of(request))
                return self._changed(f"{name} is now {kept}.", analyses.names(conn, user), kept)
        except BadInput as error:
            return output.status(str(error), "bad"), gr.skip(), gr.skip()

    def delete(self, name: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Delete the analysis chosen; return what `save` returns."""
        user = require(self.pool, request, Role.ANALYST, "analysis delete")
        try:
            with self.pool.connection() as conn, conn.transaction():
                analyses.delete(conn, user, name or "")
                audit.record(conn, user, "analysis delete", name or "", {}, "done", address_of(request))
                said = f"{name} is deleted. What the editor holds is still there: Save keeps it again."
                return self._changed(said, analyses.names(conn, user), None)
        except BadInput as error:
            return output.status(str(error), "bad"), gr.skip(), gr.skip()

    def _changed(self, said: str, names: list[str], chosen: str | None) -> tuple[Any, ...]:
        return output.status(said), gr.Dropdown(choices=names, value=chosen), chosen or ""


def saved_form() -> SavedForm:
    """Put the form."""
    gr.HTML("<h3>Saved</h3>", apply_default_css=False)
    # Any text may be sent: it is looked up in what this user keeps now, not in what the page was told when it opened
    chosen = gr.Dropdown([], value=None, allow_custom_value=True, interactive=True, label="Open", elem_id="lh-saved")
    name = gr.Textbox(label="Name", placeholder="my analysis", max_lines=1, max_length=80, elem_id="lh-analysis-name")
    with gr.Row(elem_classes="lh-buttons"):
        buttons = [gr.Button(text, size="sm", min_width=60, elem_id=f"lh-{text.lower()}-analysis") for text in _BUTTONS]
    return SavedForm(chosen, name, *buttons)


def wire_saved(
    blocks: gr.Blocks, pool: Pool, form: SavedForm, program: list[gr.components.Component], said: gr.HTML
) -> None:
    """Wire the form to the *program* (code, instruments, timeframe, from, till, prices) and its status line."""
    desk = SavedDesk(pool)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    changed = [said, form.chosen, form.name]
    blocks.load(desk.choices, [], [form.chosen], **quiet)
    form.chosen.input(desk.open, [form.chosen], [said, form.name, *program], **quiet)
    form.save.click(desk.save, [form.name, *program], changed, **quiet)
    form.rename.click(desk.rename, [form.chosen, form.name], changed, **quiet)
    form.delete.click(desk.delete, [form.chosen], changed, **quiet)


_BUTTONS = ("Save", "Rename", "Delete")
