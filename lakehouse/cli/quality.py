"""``lakehouse quarantine`` and ``lakehouse quality``: rows that were refused, dates that do not add up, jumps."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lakehouse.bronze import doubts
from lakehouse.cli.options import connected, data_option, plain
from lakehouse.database.connection import one_moment
from lakehouse.market.instrument import parse_secid
from lakehouse.serving import jumps
from lakehouse.serving.quarantine import MAX_LIMIT, quarantined, rule_counts

_LIMIT = click.IntRange(1, MAX_LIMIT)
_PAYLOAD_SHOWN = 120


@click.command()
@click.option("--table", help="Of one table of Silver, such as silver.candles.")
@click.option("--secid", help="Of one security.")
@click.option("--rule", help="That broke this rule.")
@click.option("--limit", type=_LIMIT, default=50, show_default=True, help="Most rows shown, newest fetch first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
@data_option
def quarantine(
    table: str | None, secid: str | None, rule: str | None, limit: int, as_json: bool, data: Path | None
) -> None:
    """List rows that broke a rule: the rule, the row as received, and where in Bronze it lies."""
    secid = parse_secid(secid) if secid else None
    with connected(data) as conn, one_moment(conn):
        rows, more = quarantined(conn, table=table, secid=secid, rule=rule, limit=limit)
        total = sum(count.rows for count in rule_counts(conn))
    if as_json:
        click.echo(json.dumps([vars(row) for row in rows], default=plain, ensure_ascii=False))
        return
    shown = Table("fetched (UTC)", "table", "security", "rule", "payload", "Bronze reference", box=None)
    for row in rows:
        series = " ".join(part for part in (row.secid, row.board, row.timeframe) if part)
        payload = row.payload if len(row.payload) <= _PAYLOAD_SHOWN else f"{row.payload[:_PAYLOAD_SHOWN]}..."
        shown.add_row(f"{row.fetched_at:%Y-%m-%d %H:%M:%S}", row.table, series, row.rule, payload, row.source)
    if rows:
        Console(markup=False).print(shown)
    click.echo(
        f"{total:,} rows are in quarantine" + (f", {len(rows)} of them shown (--limit)" if more else ""), err=True
    )


@click.command()
@click.option("--secid", help="Of one security.")
@click.option("--state", type=click.Choice([doubts.DIFFERS, doubts.NOT_PROVABLE]), help="Of dates, only these.")
@click.option("--limit", type=_LIMIT, default=50, show_default=True, help="Most dates shown, newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@data_option
def quality(secid: str | None, state: str | None, limit: int, as_json: bool, data: Path | None) -> None:
    """Show what is doubtful: rows in quarantine by rule, dates whose volumes differ, days that jump as by a split."""
    secid = parse_secid(secid) if secid else None
    with connected(data) as conn, one_moment(conn):
        rules, counts = rule_counts(conn), doubts.gap_counts(conn, secid)
        gaps = doubts.gaps(conn, secid=secid, state=state, limit=limit)
        count, found_jumps = jumps.jump_count(conn, secid), jumps.jumps(conn, secid=secid, limit=limit)
    if as_json:
        volumes = {"volume_counts": counts, "volume_gaps": gaps}
        found = {"quarantine": rules, **volumes, "jump_count": count, "price_jumps": found_jumps}
        click.echo(json.dumps(found, default=plain, ensure_ascii=False))
        return
    whose = "of all securities: " if secid else ""
    click.echo(f"In quarantine: {whose}{sum(rule.rows for rule in rules):,} rows (lakehouse quarantine lists them)")
    for rule in rules:
        click.echo(f"  {rule.table}: {rule.rule}: {rule.rows:,}")
    differ, unproved = counts[doubts.DIFFERS], counts[doubts.NOT_PROVABLE]
    click.echo(f"Dates whose volumes differ: {differ:,}; not provable: {unproved:,}")
    if gaps:
        Console(markup=False).print(_gap_table(gaps))
    click.echo(f"Days that jump as by a split that is not known: {count:,}")
    if found_jumps:
        Console(markup=False).print(_jump_table(found_jumps))


def _gap_table(gaps: list[doubts.VolumeGap]) -> Table:
    shown = Table(
        "date", "security", "timeframe", "state", "measure", "of the day", "within the day", "read again", box=None
    )
    for gap in gaps:
        day = "none held" if gap.day_volume is None else f"{gap.day_volume:,.0f}"
        again = f"{gap.reread_at:%Y-%m-%d %H:%M}" if gap.reread_at else ""
        place = f"{gap.secid} {gap.board}"
        volumes = (day, f"{gap.intraday_volume:,.0f}")
        shown.add_row(f"{gap.trade_date}", place, gap.timeframe, gap.state, gap.measure, *volumes, again)
    return shown


def _jump_table(found: list[jumps.PriceJump]) -> Table:
    shown = Table("date", "security", "close before", "open", "known factor", "what to do", box=None)
    for jump in found:
        prices = (f"{jump.close:,g}", f"{jump.open:,g}", f"{jump.known:g}")
        shown.add_row(f"{jump.trade_date}", f"{jump.secid} {jump.board}", *prices, jump.what_to_do)
    return shown
