"""
A page of the exchange that somebody saved and uploaded: what it is of by its key, and whether its content agrees. Pure.

Keys: ``uploads/candles/ENGINE/MARKET/BOARD/SECID/TIMEFRAME/NAME.json`` and ``uploads/history/ENGINE/MARKET/NAME.json``,
or ``.csv``; segments as storage/keys.py writes them.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence

from lakehouse.bronze.objects import UPLOADED, Exchange, Trailer, encode_object
from lakehouse.bronze.window import Series, Window, period_end, period_start
from lakehouse.iss.answer import Answer
from lakehouse.iss.blocks import NUMBER_OR_NULL, Block, check_types, read_block
from lakehouse.iss.errors import IssContractError
from lakehouse.iss.history import CURSOR, VALUES
from lakehouse.iss.pages import key_column
from lakehouse.iss.saved import read_saved
from lakehouse.market.errors import BadInput
from lakehouse.market.instrument import parse_listing, parse_secid
from lakehouse.market.timeframe import Timeframe
from lakehouse.storage.keys import segment, unsegment

UPLOADS = "uploads/"
# Nobody said when an uploaded page was read: before everything that was fetched
UPLOADED_AT = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# A page has 50 kB; the whole of a long series of days, pages put together, some MB
MAX_FILE = 8 << 20
_SAID = 400
_YEARS = (1990, 2100)
_PLACES = (
    "candles go to uploads/candles/ENGINE/MARKET/BOARD/SECID/TIMEFRAME/NAME.json and end-of-day rows to "
    "uploads/history/ENGINE/MARKET/NAME.json, or NAME.csv"
)
_WORD = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.(?:json|csv)")


def upload_key(series: Series, name: str) -> str:
    """Return the key of a file of *series*; raise BadInput if there can be no such series or name."""
    parts = [series.family, series.engine, series.market]
    if series.family == "candles":
        parts += [series.board, series.secid, series.timeframe]
    key = UPLOADS + "/".join(segment(part) for part in (*parts, name))
    series_of(key)
    return key


def series_of(key: str) -> Series:
    """
    Return what the file under *key* is of; of end-of-day rows without the secid, which the content tells.

    Raises:
        BadInput: if *key* is no place for an upload.
    """
    prefix, _, rest = key.partition("/")
    family, *parts = map(unsegment, rest.split("/"))
    if f"{prefix}/" != UPLOADS or (family, len(parts)) not in (("candles", 6), ("history", 3)):
        raise BadInput(f"{_shown(key)}: no place for an upload: {_PLACES}")
    *parts, name = parts
    try:
        if not _NAME.fullmatch(name):
            raise BadInput(
                f"the file's name {_shown(name)} must be of letters, digits and . _ -, and end in .json or .csv"
            )
        for word in parts[:2]:
            if not _WORD.fullmatch(word):
                raise BadInput(f"{_shown(word)} is no engine or market: those are words such as stock and shares")
        if family == "history":
            return Series(family, *parts)
        secid, board = parse_listing(f"{parts[3]}@{parts[2]}")
        return Series(family, parts[0], parts[1], board or "", secid, Timeframe.parse(parts[4]).value)
    except BadInput as error:
        raise BadInput(f"{_shown(key)}: {error}") from None


def read_upload(key: str, body: bytes) -> tuple[str, bytes, Trailer]:
    """
    Return key, bytes and trailer of the Bronze object that holds the file under *key*, unchanged and with its origin.

    It proves nothing but its rows: what it lacks is not absent, and where the exchange was asked that counts.

    Raises:
        BadInput: naming the file, what is wrong with it, and where.
    """
    series = series_of(key)
    try:
        series, window, last, rows = _checked(series, key, body)
    except (BadInput, IssContractError) as error:
        raise BadInput(f"{key}: {_line(str(error).removeprefix(f'{key}: '))}") from error
    exchange = Exchange(key, 200, {}, UPLOADED_AT, body)
    trailer = Trailer(
        window, UPLOADED_AT, rows, 1, "uploaded", complete=False, state="uploaded", last=last, rank=UPLOADED, origin=key
    )
    return *encode_object([exchange], trailer), trailer


def _checked(series: Series, key: str, body: bytes) -> tuple[Series, Window, str, int]:
    """Return the series and the window that the content says it is of, the key of its last row, and its rows."""
    if len(body) > MAX_FILE:
        raise BadInput(f"it has {len(body):,} bytes, at most {MAX_FILE:,} are taken: upload its pages one by one")
    answer = Answer(key, 200, {}, UPLOADED_AT, body, read_saved(key, body))
    candles = series.family == "candles"
    required = (*VALUES, "begin", "end") if candles else ("boardid", "secid", "tradedate", "numtrades", *VALUES)
    block = _block(answer, series.family, required)
    keys = key_column(answer, block, "begin" if candles else "tradedate", 19 if candles else 10)
    moments = [_moment(number, text) for number, text in enumerate(keys, 1)]
    if candles:
        _check_timeframe(series, moments, block.column("end"))
    else:
        series = _with_secid(series, block)
        _check_cursor(answer, len(keys))
    return series, Window(series, min(moments), max(moments).date()), max(keys), len(keys)


def _block(answer: Answer, name: str, required: Sequence[str]) -> Block:
    if name not in answer.document:
        held = ", ".join(list(answer.document)[:5]) or "nothing"
        raise BadInput(f"it has no block {name}, but {held[:200]}: is it another page, or in another folder's place?")
    block = read_block(answer, name, required)
    if len(set(block.columns)) < len(block.columns):
        raise BadInput(f"two columns of its block {name} have one name: {', '.join(block.columns)}")
    if not block.rows:
        raise BadInput(f"its block {name} holds no rows: there is nothing to import")
    check_types(answer, block, VALUES, NUMBER_OR_NULL)
    return block


def _moment(number: int, text: str) -> dt.datetime:
    try:
        moment = dt.datetime.strptime(text, "%Y-%m-%d %H:%M:%S" if len(text) > 10 else "%Y-%m-%d")  # noqa: DTZ007
    except ValueError:
        raise BadInput(f"row {number} is of {text!r}, expected a date, or a date and a time") from None
    if not _YEARS[0] <= moment.year < _YEARS[1]:
        raise BadInput(f"row {number} is of {text!r}: the exchange has nothing of that year")
    return moment


def _check_timeframe(series: Series, begins: Sequence[dt.datetime], ends: Sequence[object]) -> None:
    """Raise BadInput if candles do not begin, or most of them do not end, where those of the timeframe do."""
    timeframe = Timeframe(series.timeframe)
    for number, begin in enumerate(begins, 1):
        if not _on_grid(timeframe, begin):
            raise BadInput(
                f"row {number} begins {begin}, where no {timeframe} candle begins: is its timeframe another?"
            )
    lasting = [
        number
        for number, (begin, end) in enumerate(zip(begins, ends, strict=True), 1)
        if isinstance(end, str) and end > f"{_last_moment(series, begin)}"
    ]
    # The exchange has a few that end where no candle does (docs/iss.md section 7)
    if len(lasting) * 2 > len(begins):
        row = lasting[0] - 1
        raise BadInput(
            f"row {lasting[0]} lasts from {begins[row]} to {ends[row]}, and most others as long: these are no "
            f"{timeframe} candles; upload them under their timeframe"
        )


def _on_grid(timeframe: Timeframe, begin: dt.datetime) -> bool:
    if timeframe.is_intraday:
        return begin.second == 0 and (begin.hour * 60 + begin.minute) % timeframe.interval == 0
    return begin.time() == dt.time() and timeframe.period_start(begin.date()) == begin.date()


def _last_moment(series: Series, begin: dt.datetime) -> dt.datetime:
    timeframe = Timeframe(series.timeframe)
    if timeframe.is_intraday:
        return begin + dt.timedelta(minutes=timeframe.interval, seconds=-1)
    last = period_end(series, period_start(series, begin.date()))
    return dt.datetime.combine(last, dt.time(23, 59, 59))


def _with_secid(series: Series, block: Block) -> Series:
    found = list(dict.fromkeys(map(str, block.column("secid"))))
    if len(found) > 1:
        raise BadInput(f"it holds rows of {len(found)} securities ({', '.join(found[:3])} ...): upload each by itself")
    for board in dict.fromkeys(map(str, block.column("boardid"))):
        parse_listing(f"{found[0]}@{board}")  # no file's text gets into the tables unchecked
    return Series(series.family, series.engine, series.market, secid=parse_secid(found[0]))


def _check_cursor(answer: Answer, rows: int) -> None:
    """Raise BadInput if the page's own cursor says that rows are missing; pages are saved without one, too."""
    if "history.cursor" not in answer.document:
        return
    cursor = read_block(answer, "history.cursor", CURSOR)
    counts = [cursor.column(name)[0] for name in CURSOR] if len(cursor.rows) == 1 else []
    if [type(count) for count in counts] != [int, int, int]:
        raise BadInput("its cursor is not one row of three numbers: INDEX, TOTAL, PAGESIZE")
    index, total, page_rows = counts
    if rows != (expected := min(page_rows, total - index)):
        raise BadInput(f"it holds {rows} rows, by its cursor it has {expected}: it is cut off; save the page again")


def _line(text: str) -> str:
    """Return what is said of a file, which may quote anything from it, as a line of text."""
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return shown if len(shown) <= _SAID else f"{shown[:_SAID]}..."


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else f"{text[:117]}...")
