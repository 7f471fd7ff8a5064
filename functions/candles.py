"""``GET /v1/candles``: JSON a program reads quickly, and CSV a person opens."""

from __future__ import annotations

import csv
import io
from typing import Any

from chalice.app import Request, Response
from psycopg import Connection

from functions.answers import answer
from functions.requests import choice_of, date_of, integer_of, text_of
from lakehouse.market.errors import BadInput
from lakehouse.market.instrument import parse_secid
from lakehouse.market.timeframe import Timeframe
from lakehouse.serving import queries

DEFAULT_LIMIT = 1_000
MAX_LIMIT = 10_000


def read_candles(conn: Connection[Any], request: Request, form: str) -> Response:
    """Answer a request for candles in *form* json or csv; in CSV the continuation token is the header ``X-Next``."""
    secid = parse_secid(text_of(request, "secid"))
    timeframe = Timeframe.parse(text_of(request, "timeframe", Timeframe.DAY))
    adjust = choice_of(request, "adjust", ("none", "split"))
    from_, till = date_of(request, "from"), date_of(request, "till")
    if from_ and till and till < from_:
        raise BadInput(f"till {till} lies before from {from_}")
    page = queries.candles(
        conn,
        secid,
        text_of(request, "board", "") or None,
        timeframe,
        from_,
        till,
        adjust,
        integer_of(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT),
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
            "columns": page.columns,
            "rows": page.rows,
            "next": page.next_token,
        }
    )


def _csv(page: queries.CandlePage, name: str) -> Response:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(page.columns)
    writer.writerows([value.isoformat() if hasattr(value, "isoformat") else value for value in row] for row in page.rows)
    headers = {
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Data-Version": str(page.data_version),
    }
    if page.next_token:
        headers["X-Next"] = page.next_token
    return Response(text.getvalue(), headers=headers)
