"""``GET /v1/candles`` and ``GET /v1/instruments``: JSON a program reads quickly, and CSV a person opens."""

from __future__ import annotations

import csv
import datetime as dt
import io
from typing import Annotated, Any, Literal

from chalice.app import Response
from pydantic import Field

from functions.answers import answer
from functions.models import DIGITS, Answered, Date, PageToken, Parameters, Secid
from functions.operation import Call, Text, operation
from functions.versions import version_headers
from lakehouse.access.roles import Role
from lakehouse.market.errors import BadInput
from lakehouse.market.timeframe import Timeframe
from lakehouse.serving import queries

_CSV = Text("text/csv; charset=utf-8")


class InstrumentsQuery(Parameters):
    q: Annotated[str, Field(description="Code, former code, ISIN or name, or part of one", examples=["SBER"])] = ""
    limit: Annotated[int, Field(ge=1, le=queries.MAX_LIMIT), DIGITS] = queries.DEFAULT_LIMIT


class Instruments(Answered):
    instruments: list[queries.InstrumentRow]
    more: Annotated[bool, Field(description="Whether there are more than the limit: narrow `q`, or raise `limit`")]


class CandlesQuery(Parameters):
    secid: Secid
    board: Annotated[str | None, Field(description="The instrument's main board", examples=["TQBR"])] = None
    timeframe: Timeframe = Timeframe.DAY
    from_: Annotated[Date, Field(alias="from")] = None
    till: Date = None
    adjust: Annotated[
        Literal["none", "split"],
        Field(
            description="split: prices and volumes comparable with today's, by silver.splits: the exchange's list, and "
            "what an administrator added to it (lakehouse splits)"
        ),
    ] = "none"
    limit: Annotated[
        int | None,
        Field(
            ge=1,
            le=queries.MAX_LIMIT,
            description=f"Rows of a page. Without it JSON has {queries.DEFAULT_LIMIT:,}; CSV has all, or is refused if "
            f"there are more than {queries.MAX_LIMIT:,}",
        ),
        DIGITS,
    ] = None
    token: PageToken = None
    format: Literal["json", "csv"] = "json"


class Candles(Answered):
    secid: str
    timeframe: Timeframe
    adjust: Literal["none", "split"]
    data_version: Annotated[int, Field(description="Version of the data that all rows belong to")]
    columns: Annotated[list[str], Field(description="Names of the columns of `rows`, in order")]
    rows: list[
        tuple[
            Annotated[dt.datetime, Field(title="begin_at")],
            Annotated[dt.date, Field(title="trade_date")],
            Annotated[str, Field(title="secid")],
            Annotated[float | None, Field(title="open")],
            Annotated[float | None, Field(title="high")],
            Annotated[float | None, Field(title="low")],
            Annotated[float | None, Field(title="close")],
            Annotated[float | None, Field(title="value")],
            Annotated[float | None, Field(title="volume")],
            Annotated[bool, Field(title="is_final")],
            Annotated[float, Field(title="split_factor")],
            Annotated[float | None, Field(title="sma_20")],
            Annotated[float | None, Field(title="rsi_14")],
        ]
    ]
    next: Annotated[str | None, Field(description="What to ask the next page with, as `token`; null at the end")]


@operation(Role.VIEWER, "find instruments", parameters=InstrumentsQuery, answers={200: Instruments}, is_versioned=True)
def read_instruments(call: Call) -> Response:
    """Return the instruments that a text finds, best first; without one those with candles, then the others."""
    limit = call.parameters.limit
    # First: a tag that is older than the rows has them sent once more, a newer one would hide them
    published = queries.publication(call.conn)
    found = queries.instruments(call.conn, call.parameters.q, limit + 1)
    document = {"instruments": found[:limit], "more": len(found) > limit}
    return answer(document, headers=version_headers(published))


@operation(
    Role.VIEWER,
    "read candles",
    parameters=CandlesQuery,
    answers={200: (Candles, _CSV)},
    refuses={409: "the data moved between two pages: start again without the token"},
    is_versioned=True,
)
def read_candles(call: Call) -> Response:
    """
    Return a page of candles, oldest first; in CSV the continuation token is the header ``X-Next``.

    CSV without a limit is never cut: it has all rows that were asked for, or is refused.
    """
    asked: CandlesQuery = call.parameters
    is_whole = asked.format == "csv" and asked.limit is None
    limit = asked.limit or (queries.MAX_LIMIT if is_whole else queries.DEFAULT_LIMIT)
    page = queries.candles(
        call.conn, asked.secid, asked.board, asked.timeframe, asked.from_, asked.till, asked.adjust, limit, asked.token
    )
    if is_whole and page.next_token:
        raise BadInput(
            f"{asked.secid} {asked.timeframe}: there are more than {limit:,} rows, and a CSV does not tell that it was "
            "cut: narrow from and till, or read pages with limit and token (the header X-Next)"
        )
    response = _csv(page, asked) if asked.format == "csv" else _json(page, asked)
    response.headers.update(version_headers(page))
    return response


def _json(page: queries.CandlePage, asked: CandlesQuery) -> Response:
    return answer(
        {
            "secid": asked.secid,
            "timeframe": asked.timeframe,
            "adjust": asked.adjust,
            "data_version": page.data_version,
            "columns": page.columns,
            "rows": page.rows,
            "next": page.next_token,
        }
    )


def _csv(page: queries.CandlePage, asked: CandlesQuery) -> Response:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(page.columns)
    writer.writerows([_cell(value) for value in row] for row in page.rows)
    headers: dict[str, str | list[str]] = {
        "Content-Type": _CSV.content_type,
        "Content-Disposition": f'attachment; filename="{asked.secid}_{asked.timeframe}.csv"',
        "X-Data-Version": str(page.data_version),
    }
    if page.next_token:
        headers["X-Next"] = page.next_token
    return Response(text.getvalue(), headers=headers)


def _cell(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
