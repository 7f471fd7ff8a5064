"""Tables of the exchange that concern many securities: timetable, calendar, splits, changes of code."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from lakehouse.iss.answer import Answer
from lakehouse.iss.blocks import read_block
from lakehouse.iss.client import IssClient
from lakehouse.iss.errors import PagingBroken
from lakehouse.iss.pages import segment

Required = Mapping[str, tuple[str, ...]]

TIMETABLE: Required = {"timetable": ("week_day", "is_work_day"), "dailytable": ("date", "is_work_day")}
CALENDAR: Required = {"off_days": ("tradedate", "is_traded", "reason")}
SPLITS: Required = {"splits": ("tradedate", "secid", "before", "after")}
CHANGEOVER: Required = {"changeover": ("action_date", "old_secid", "new_secid")}


async def fetch_timetable(client: IssClient, engine: str) -> list[Answer]:
    """
    Fetch the working days of the week and their coming exceptions.

    Source:
        ``/engines/{engine}.json`` (docs/iss.md section 1)
    """
    return await _fetch(client, f"/engines/{segment(engine)}.json", TIMETABLE)


async def fetch_calendar(client: IssClient, engine: str, from_: dt.date, till: dt.date) -> list[Answer]:
    """
    Fetch every date of a span: whether there is trading, and why not.

    Source:
        ``/calendars/{engine}.json`` (docs/iss.md section 1); some are answered with a login page: IssUnavailable.
    """
    span: dict[str, str | int] = {"from": from_.isoformat(), "till": till.isoformat(), "show_all_days": 1}
    return await _fetch(client, f"/calendars/{segment(engine)}.json", CALENDAR, span)


async def fetch_splits(client: IssClient, engine: str) -> list[Answer]:
    """
    Fetch all splits and consolidations.

    Source:
        ``/statistics/engines/{engine}/splits.json`` (docs/iss.md section 1)
    """
    return await _fetch(client, f"/statistics/engines/{segment(engine)}/splits.json", SPLITS)


async def fetch_changeover(client: IssClient, engine: str, market: str) -> list[Answer]:
    """
    Fetch all changes of codes of a market.

    Source:
        ``/history/engines/{engine}/markets/{market}/securities/changeover.json`` (docs/iss.md section 1)
    """
    path = f"/history/engines/{segment(engine)}/markets/{segment(market)}/securities/changeover.json"
    return await _fetch(client, path, CHANGEOVER)


async def _fetch(
    client: IssClient, path: str, required: Required, parameters: Mapping[str, str | int] | None = None
) -> list[Answer]:
    """Fetch blocks that come in one answer, unless the exchange adds a cursor to the only one of them."""
    only = [*required, *(f"{name}.cursor" for name in required if len(required) == 1)]
    answers: list[Answer] = []
    start = 0
    while True:
        asked = {"iss.only": ",".join(only), **(parameters or {}), **({"start": start} if start else {})}
        answer = await client.get(path, asked)
        rows = [len(read_block(answer, name, columns).rows) for name, columns in required.items()]
        answers.append(answer)
        total = _total(answer, only[-1], start)
        start += rows[0]
        if total is None or start >= total:
            return answers
        if not rows[0]:
            raise PagingBroken(f"{answer.url}: no rows from row {start} on, expected {total}")


def _total(answer: Answer, cursor: str, start: int) -> int | None:
    if not cursor.endswith(".cursor") or cursor not in answer.document:
        return None
    row = read_block(answer, cursor, ("index", "total", "pagesize")).records()[0]
    if row["index"] != start:
        raise PagingBroken(f"{answer.url}: the page from row {start} says that it begins at row {row['index']}")
    return int(row["total"])
