"""The page Analysis (analysts and admins): Python on the candles chosen, run in the sandbox, what it shows in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
import psycopg
import structlog

from gradio_app import sandbox_output as output
from gradio_app.callbacks import require
from gradio_app.ingest import NAME_BY_TIMEFRAME
from gradio_app.presets import PRESETS
from gradio_app.sandbox_runs import Running, Runs
from gradio_app.sandbox_saved import saved_form, wire_saved
from gradio_app.session import Pool, address_of
from lakehouse.access import runs as record
from lakehouse.access.roles import Role, User
from lakehouse.market.errors import LakehouseError
from lakehouse.market.timeframe import Timeframe
from lakehouse.sandbox.host import Limits
from lakehouse.serving.frames import Selection
from lakehouse.serving.queries import InstrumentRow, instruments

log = structlog.get_logger()

ADMIN_WALL_S = (10, 30, 60, 120)
_CPU_SHARE = 0.8  # of the wall time
_TICK_S = 0.5
_PAGE = "sandbox page"
_AWAY = "the database does not answer, so the run has no result, or no end on record: try again in some seconds"
_FAILED = "the platform failed at this run: try again; an admin finds why in logs/web.log under sandbox_page.run_failed"


@dataclass(frozen=True)
class SandboxDesk:
    """The callbacks of the page; each checks that an analyst asks."""

    pool: Pool
    runs: Runs

    def open(self, request: gr.Request) -> tuple[Any, ...]:
        """Return choices of instruments, the limit's field, status, buttons and runs, for a page just opened."""
        user = require(self.pool, request, Role.ANALYST, _PAGE)
        running = self.runs.of(user)
        why = self.runs.sandbox.why_off()
        said = output.status("A run of yours is under way; its result is shown where it was begun.", "running")
        if not running:
            said = output.status(f"The sandbox is off: {why}", "bad") if why else output.status("Ctrl+Enter runs it.")
        with self.pool.connection() as conn:
            loaded = instruments(conn)
        return (
            gr.Dropdown(choices=_choices(loaded), value=PRESETS[0].choose(loaded, [])[1]),
            gr.Dropdown(visible=user.role >= Role.ADMIN),
            said,
            *_buttons(is_running=running is not None, is_off=why is not None),
            self._runs(user),
        )

    def preset(self, secids: list[str] | None, request: gr.Request, event: gr.EventData) -> tuple[Any, ...]:
        """Return an example's code, and the instruments, timeframe and dates it takes of what is loaded."""
        require(self.pool, request, Role.ANALYST, _PAGE)
        key = getattr(event, "key", None)
        found = next((preset for preset in PRESETS if preset.key == key), None)
        if found is None:
            raise gr.Error("there is no such example: reload the page", print_exception=False)
        with self.pool.connection() as conn:
            timeframe, chosen = found.choose(instruments(conn), secids if isinstance(secids, list) else [])
        return found.code, chosen, timeframe.value, "", "", "split"

    async def run(
        self,
        code: str,
        secids: list[str],
        timeframe: str,
        from_: str,
        till: str,
        adjust: str,
        wall_s: int | None,
        request: gr.Request,
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Run what the editor holds; give status, results, buttons and runs, each time something happens."""
        user = await asyncio.to_thread(require, self.pool, request, Role.ANALYST, "sandbox run")
        happened: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        try:
            selection = Selection.parse(secids, timeframe, from_, till, adjust)
            limits = _limits(user, wall_s)
            running = await asyncio.to_thread(
                self.runs.start,
                user,
                address_of(request),
                code,
                selection,
                limits,
                lambda text: _tell(loop, happened, text),
            )
        except LakehouseError as error:
            is_running = self.runs.of(user) is not None
            yield output.status(str(error), "bad"), gr.skip(), *_buttons(is_running=is_running), gr.skip()
            return
        results: Any = ""  # those of the run before do not stand below what happens now
        async for text in _followed(running, happened):
            yield output.status(text, "running"), results, *_buttons(is_running=True), gr.skip()
            results = gr.skip()
        yield await asyncio.to_thread(self._finished, user, running)

    def stop(self, request: gr.Request) -> str:
        """Stop the user's run; return the status."""
        user = require(self.pool, request, Role.ANALYST, "sandbox stop")
        return output.status("Stopping" if self.runs.stop(user) else "Nothing of yours is running.", "running")

    def _finished(self, user: User, running: Running) -> tuple[Any, ...]:
        try:
            finished = running.result.result()
        except LakehouseError as error:
            return output.status(str(error), "bad"), gr.skip(), *_buttons(), gr.skip()
        except psycopg.Error:
            return output.status(_AWAY, "bad"), gr.skip(), *_buttons(), gr.skip()
        except Exception:
            log.exception("sandbox_page.run_failed", run_id=str(running.run_id))
            return output.status(_FAILED, "bad"), gr.skip(), *_buttons(), gr.skip()
        return output.finished_status(finished), output.results(finished), *_buttons(), self._runs(user)

    def _runs(self, user: User) -> str:
        with self.pool.connection() as conn:
            rows = record.newest(conn, None if user.role >= Role.ADMIN else user)
        return output.run_list(rows, self.runs.under_way())


def _limits(user: User, wall_s: object) -> Limits:
    """Return the limits of a run: an admin may choose a longer time, whatever others send is ignored."""
    if user.role < Role.ADMIN or wall_s not in ADMIN_WALL_S or not isinstance(wall_s, int):
        return Limits()
    return Limits(wall_s=wall_s, cpu_s=wall_s * _CPU_SHARE)


def _tell(loop: asyncio.AbstractEventLoop, happened: asyncio.Queue[str], text: str) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(happened.put_nowait, text)


async def _followed(running: Running, happened: asyncio.Queue[str]) -> AsyncIterator[str]:
    """Give what a run does, and how long it has been doing it, until it ends."""
    text, since = "Beginning", time.monotonic()
    while not running.result.done():
        try:
            text = await asyncio.wait_for(happened.get(), _TICK_S)
            since = time.monotonic()
        except TimeoutError:
            pass
        yield f"{text} · {time.monotonic() - since:.1f} s"


def _choices(rows: list[InstrumentRow]) -> list[tuple[str, str]]:
    return [(f"{row.secid} · {row.shortname or row.name or row.board}", row.secid) for row in rows if row.timeframes]


def _buttons(*, is_running: bool = False, is_off: bool = False) -> tuple[gr.Button, gr.Button]:
    return gr.Button(interactive=not is_running and not is_off), gr.Button(interactive=is_running)


def sandbox(blocks: gr.Blocks, pool: Pool, runs: Runs) -> None:
    """Put the page into *blocks* and wire it."""
    desk = SandboxDesk(pool, runs)
    with gr.Row(elem_classes="lh-ingest lh-sandbox"):
        with gr.Column(scale=1, min_width=300, elem_classes="lh-card lh-form"):
            selection, wall_s = _data_form()
            examples = _examples()
            saved = saved_form()
        with gr.Column(scale=3, min_width=320, elem_classes="lh-card lh-work"):
            code, run, stop, said = _editor()
            results = gr.HTML(html_template='<div class="lh-results"></div>', js_on_load=_SHOW, apply_default_css=False)
            with gr.Accordion("Runs", open=False, elem_classes="lh-runs"):
                run_list = gr.HTML(apply_default_css=False)
    program = [code, *selection]
    buttons = [run, stop]
    opened = blocks.load(
        desk.open,
        [],
        [selection[0], wall_s, said, *buttons, run_list],
        show_progress="hidden",
        api_visibility="private",
    )
    opened.then(None, program, program, js=_RESTORE)
    changes: list[Any] = [part.change for part in program]
    gr.on(changes, None, program, None, js=_KEEP)
    _on(examples.select, desk.preset, [selection[0]], program)
    _on(stop.click, desk.stop, [], [said])
    _on(run.click, desk.run, [*program, wall_s], [said, results, *buttons, run_list], concurrency_limit=None)
    wire_saved(blocks, pool, saved, program, said)


def _on(event: Any, callback: Callable[..., Any], inputs: list[Any], outputs: list[Any], **options: Any) -> None:
    event(callback, inputs, outputs, show_progress="hidden", api_visibility="private", **options)


def _data_form() -> tuple[list[Any], gr.Dropdown]:
    gr.HTML("<h2>Data</h2>", apply_default_css=False)
    secids = gr.Dropdown(
        [], value=[], multiselect=True, allow_custom_value=True, label="Instruments", elem_id="lh-secids"
    )
    timeframe = gr.Dropdown(
        [(NAME_BY_TIMEFRAME[item], item.value) for item in Timeframe], value="1d", label="Timeframe", elem_id="lh-frame"
    )
    with gr.Row(elem_classes="lh-spans"):
        from_ = gr.Textbox(label="From", placeholder="the first day", elem_id="lh-run-from", min_width=110, max_lines=1)
        till = gr.Textbox(label="Till", placeholder="the last day", elem_id="lh-run-till", min_width=110, max_lines=1)
    adjust = gr.Radio(
        [("Adjusted for splits", "split"), ("Raw", "none")],
        value="split",
        label="Prices",
        info="Splits are the exchange's list, and what an administrator added to it (lakehouse splits)",
    )
    wall_s = gr.Dropdown(
        [(f"{seconds} s", seconds) for seconds in ADMIN_WALL_S], value=10, label="Time limit", visible=False
    )
    return [secids, timeframe, from_, till, adjust], wall_s


def _examples() -> gr.HTML:
    buttons = "".join(
        f'<button type="button" class="lh-preset" data-preset="{preset.key}" title="{escape(preset.about)}">'
        f"{escape(preset.name)}</button>"
        for preset in PRESETS
    )
    heading = '<h3 id="lh-examples">Examples</h3>'
    return gr.HTML(
        f'{heading}<div class="lh-presets" role="group" aria-labelledby="lh-examples">{buttons}</div>',
        js_on_load=_PICK,
        apply_default_css=False,
    )


def _editor() -> tuple[gr.Code, gr.Button, gr.Button, gr.HTML]:
    code = gr.Code(
        PRESETS[0].code,
        language="python",
        lines=14,
        max_lines=28,
        wrap_lines=True,
        buttons=[],
        interactive=True,
        label="Python",
        elem_id="lh-code",
    )
    with gr.Row(elem_classes="lh-buttons"):
        run = gr.Button("Run", variant="primary", size="sm", elem_id="lh-run-program", interactive=False)
        stop = gr.Button("Stop", size="sm", elem_id="lh-stop-program", interactive=False)
        said = gr.HTML(output.status("Opening"), apply_default_css=False, elem_classes="lh-said")
    return code, run, stop, said


_SHOW = """
import("/static/sandbox.js").then((page) => {
  page.mountResults(element, () => props.value);
  watch("value", () => page.showResults(element, props.value));
});
"""
_RESTORE = 'async (...program) => (await import("/static/sandbox.js")).restore(program)'
_KEEP = 'async (...program) => (await import("/static/sandbox.js")).keep(program)'
_PICK = """
element.addEventListener("click", ({ target }) => {
  if (target.dataset.preset) trigger("select", { key: target.dataset.preset });
});
"""
