"""The Quality page (admins): rows in quarantine, dates whose volumes do not add up, prices that jump."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from gradio_app import quality_table
from gradio_app.callbacks import require
from gradio_app.jobs_table import message
from gradio_app.session import Pool
from lakehouse.access.roles import Role
from lakehouse.bronze import doubts
from lakehouse.database.connection import one_moment
from lakehouse.market.errors import BadInput
from lakehouse.market.instrument import parse_secid
from lakehouse.serving import jumps
from lakehouse.serving.quarantine import quarantined, rule_counts

_ROWS_SHOWN = 200


@dataclass(frozen=True)
class QualityDesk:
    """The callbacks of the page; each checks that an admin asks."""

    pool: Pool

    def show(self, ticker: str, request: gr.Request) -> tuple[str, str, str, str]:
        """Return what is wrong with the ticker typed, the rows in quarantine, the dates in doubt, and the jumps."""
        require(self.pool, request, Role.ADMIN, "quality page")
        note, secid = "", None
        if ticker.strip():
            try:
                secid = parse_secid(ticker.strip())
            except BadInput as error:
                note = message(str(error), is_error=True)
        with self.pool.connection() as conn, one_moment(conn):
            rows, more = quarantined(conn, secid=secid, limit=_ROWS_SHOWN)
            gaps = doubts.gaps(conn, secid=secid, limit=_ROWS_SHOWN)
            counts, volumes = rule_counts(conn), doubts.gap_counts(conn, secid)
            count, found_jumps = jumps.jump_count(conn, secid), jumps.jumps(conn, secid=secid, limit=_ROWS_SHOWN)
        refused = quality_table.quarantine(rows, counts, more is not None, secid)
        return note, refused, quality_table.volumes(gaps, volumes), quality_table.jumped(found_jumps, count)


def quality(blocks: gr.Blocks, pool: Pool) -> None:
    """Put the page into *blocks* and wire it."""
    desk = QualityDesk(pool)
    with gr.Column(elem_classes="lh-card lh-quality"):
        ticker = gr.Textbox(label="Only of ticker", placeholder="all", elem_id="lh-quality-ticker", max_lines=1)
        note = gr.HTML()
        gr.HTML("<h3>Rows in quarantine</h3>", apply_default_css=False)
        rows = gr.HTML(apply_default_css=False)
        gr.HTML("<h3>Volumes that do not add up</h3>", apply_default_css=False)
        gaps = gr.HTML(apply_default_css=False)
        gr.HTML("<h3>Prices that jump as by a split</h3>", apply_default_css=False)
        found_jumps = gr.HTML(apply_default_css=False)
    gr.on(
        [blocks.load, ticker.submit, ticker.blur],
        desk.show,
        [ticker],
        [note, rows, gaps, found_jumps],
        show_progress="hidden",
        api_visibility="private",
    )
