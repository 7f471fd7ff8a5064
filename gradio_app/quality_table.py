"""What is doubtful in the data, as HTML: pure functions of what the lists say."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from lakehouse.bronze.doubts import DIFFERS, VolumeGap
from lakehouse.serving.jumps import PriceJump
from lakehouse.serving.quarantine import QuarantinedRow, RuleCount

_GAPS = ("Date", "Security", "Candles", "State", "Measure", "Of the day", "Within the day", "What happens")

_JUMPS = ("Date", "Security", "Close before", "Open", "Known factor", "What to do")


def quarantine(
    rows: Sequence[QuarantinedRow], counts: Sequence[RuleCount], has_more: bool, secid: str | None = None
) -> str:
    """
    Return the rows in quarantine, newest fetch first: rule, the row as received, and where in Bronze it lies.

    *counts* are of all tickers; *secid* is that of the *rows*, if they are of one.
    """
    total = sum(count.rows for count in counts)
    if not total:
        return _nothing("No row is in quarantine: every row received is in Silver.")
    if secid and not rows:
        return _nothing(f"No row of {escape(secid)} is in quarantine.")
    told = ", ".join(f"{escape(count.table)}: {escape(count.rule)} {count.rows:,}" for count in counts)
    head = "".join(f"<th>{name}</th>" for name in ("Fetched (UTC)", "Security", "Rule", "Row as received", "In Bronze"))
    body = "".join(_quarantined(row) for row in rows)
    more = f"; the newest {len(rows):,} are shown" if has_more else ""
    whose = "of all tickers " if secid else ""
    return (
        f'<p class="lh-stages">{total:,} rows {whose}({told}){more}. '
        "After a rule was mended: lakehouse rebuild silver</p>" + _table(head, body)
    )


def volumes(gaps: Sequence[VolumeGap], counts: dict[str, int]) -> str:
    """Return the dates on which the candles within the day do not add up to the day's candle."""
    if not any(counts.values()):
        return _nothing("No date is in doubt: where both are held, minutes add up to the day's volume.")
    told = ", ".join(f"{count:,} {escape(state)}" for state, count in counts.items())
    head = "".join(f"<th>{name}</th>" for name in _GAPS)
    more = f"; the newest {len(gaps):,} are shown" if len(gaps) < sum(counts.values()) else ""
    return f'<p class="lh-stages">Dates: {told}{more}.</p>' + _table(head, "".join(map(_gap, gaps)))


def jumped(found: Sequence[PriceJump], count: int) -> str:
    """Return the days whose adjusted prices jump as by a split that is not known."""
    if not count:
        return _nothing("No day opens at a multiple of the close before, or a part of it, that no split explains.")
    head = "".join(f"<th>{name}</th>" for name in _JUMPS)
    more = f"; the newest {len(found):,} are shown" if len(found) < count else ""
    return f'<p class="lh-stages">Days: {count:,}{more}.</p>' + _table(head, "".join(map(_jump, found)))


def _quarantined(row: QuarantinedRow) -> str:
    security = " ".join(part for part in (row.secid, row.board, row.timeframe) if part)
    cells = (
        f"{row.fetched_at:%Y-%m-%d %H:%M:%S}",
        escape(security),
        f'<b class="lh-bad">{escape(row.rule)}</b>',
        f"<code>{escape(row.payload)}</code>",
        f"<code>{escape(row.source)}</code>",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _gap(gap: VolumeGap) -> str:
    cells = (
        f"{gap.trade_date}",
        escape(f"{gap.secid} {gap.board}"),
        escape(gap.timeframe),
        f'<b class="lh-bad">{escape(gap.state)}</b>' if gap.state == DIFFERS else escape(gap.state),
        escape(gap.measure),
        "none held" if gap.day_volume is None else f"{gap.day_volume:,.0f}",
        f"{gap.intraday_volume:,.0f}",
        _what_happens(gap),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _what_happens(gap: VolumeGap) -> str:
    if gap.state != DIFFERS:
        return "ingest 1d of it, too: then it is compared"
    if gap.reread_at is None:
        return "read again at its next ingest"
    return f"read again {gap.reread_at:%Y-%m-%d}, the same: the exchange says so"


def _jump(jump: PriceJump) -> str:
    cells = (
        f"{jump.trade_date}",
        escape(f"{jump.secid} {jump.board}"),
        f"{jump.close:,g}",
        f"{jump.open:,g}",
        f"{jump.known:g}",
        escape(jump.what_to_do),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _table(head: str, body: str) -> str:
    table = f'<table class="lh-plain lh-wrapping"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="lh-scroll">{table}</div>'


def _nothing(text: str) -> str:
    return f'<p class="lh-empty">{text}</p>'
