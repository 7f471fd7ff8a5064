"""``GET /v1/candles``: JSON a program reads quickly, and CSV a person opens."""

from __future__ import annotations

import csv
import io
from typing import Any, cast

from chalice.app import Request, Response
from psycopg import Connection

from functions.answers import answer
from functions.requests import choice_of, date_of, integer_of, no_others, text_of
from lakehouse.market.instrument import parse_secid
from lakehouse.market.timeframe import Timeframe
from lakehouse.serving import queries

_PARAMETERS = ("secid", "board", "timeframe", "from", "till", "adjust", "limit", "token", "format")


def read_candles(conn: Connection[Any], request: Request) -> Response:
    """Answer a request for candles as JSON or CSV; in CSV the continuation token is the header ``X-Next``."""
    no_others(request, *_PARAMETERS)
    form = choice_of(request, "format", ("json", "csv"))
    secid = parse_secid(text_of(request, "secid"))
    timeframe = Timeframe.parse(text_of(request, "timeframe", Timeframe.DAY))
    adjust = cast(queries.Adjust, choice_of(request, "adjust", ("none", "split")))
    page = queries.candles(
        conn,
        secid,
        text_of(request, "board", "") or None,
        timeframe,
        date_of(request, "from"),
        date_of(request, "till"),
        adjust,
        integer_of(request, "limit", queries.DEFAULT_LIMIT, 1, queries.MAX_LIMIT),
        text_of(request, "token", "") or None,
    )
    if form == "csv":
        return _csv(page, f"{secid}_{timeframe}.csv")
    return answer(
        {
            "secid": secid,
            "timeframe": timeframe,
            "adjust": adjust,
            "data_version": page.data_version,
            "columns": queries.CANDLE_COLUMNS,
            "rows": page.rows,
            "next": page.next_token,
        }
    )


def _csv(page: queries.CandlePage, name: str) -> Response:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(queries.CANDLE_COLUMNS)
    writer.writerows(
        [value.isoformat() if hasattr(value, "isoformat") else value for value in row] for row in page.rows
    )
    headers: dict[str, str | list[str]] = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Data-Version": str(page.data_version),
    }
    if page.next_token:
        headers["X-Next"] = page.next_token
    return Response(text.getvalue(), headers=headers)
