"""Pages of the exchange that somebody saved as files: JSON or CSV, read to the blocks of a JSON answer."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

import orjson

from lakehouse.iss.history import CURSOR, VALUES
from lakehouse.market.errors import BadInput

# The exchange writes text in all cells of CSV; other columns than these are text, or nobody reads them
_NUMBERS = frozenset({*VALUES, "numtrades", "legalcloseprice", "waprice", *CURSOR})
# iss.dp=comma writes decimal commas. What has more digits than a number of the exchange is text: Python reads none of
# thousands of digits, and a double of hundreds is infinite
_NUMBER = re.compile(r"[+-]?\d{1,40}(?:[.,]\d{1,40})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_BOM = b"\xef\xbb\xbf"


def read_saved(name: str, body: bytes) -> dict[str, Any]:
    """
    Return the blocks of a saved page, ``{block: {"columns": [...], "data": [[...]]}}``, by the ending of its name.

    Raises:
        BadInput: if it is cut off, or is no page of the exchange; the message does not name the file.
    """
    return _csv_blocks(body) if name.endswith(".csv") else _json_blocks(body)


def _json_blocks(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body.removeprefix(_BOM))
    except orjson.JSONDecodeError as error:
        raise BadInput(f"it is no JSON ({error}): it may be cut off; save the page again") from None
    if isinstance(document, list):
        raise BadInput("it is a list, as iss.json=extended gives it: save the page without that parameter")
    if not isinstance(document, dict):
        raise BadInput("it is JSON, but no page of the exchange: that is an object of blocks")
    return document


def _csv_blocks(body: bytes) -> dict[str, Any]:
    """Read CSV as the exchange writes it: per block its name, an empty line, a header, rows, an empty line."""
    if not body.endswith(b"\n"):
        raise BadInput("its last line has no end: it may be cut off; save the page again")
    blocks: dict[str, Any] = {}
    lines = _csv_lines(_text(body))
    for number, line in lines:
        if not any(line):
            continue
        name = line[0].strip()
        if len(line) != 1 or name in blocks:
            raise BadInput(
                f"line {number} is {';'.join(line)[:60]!r}, expected the name of a block, such as candles, alone: "
                "save the page as the exchange gives it at candles.csv or SECID.csv"
            )
        blocks[name] = _csv_block(name, lines)
    return blocks


def _csv_block(name: str, lines: Iterator[tuple[int, list[str]]]) -> dict[str, Any]:
    columns: list[str] = []
    rows: list[list[Any]] = []
    for number, line in lines:
        if not any(line):
            if columns:
                break
        elif not columns:
            columns = [column.strip() for column in line]
        elif len(line) != len(columns):
            raise BadInput(f"line {number} has {len(line)} values for the {len(columns)} columns of {name}")
        else:
            rows.append([_value(column, text) for column, text in zip(columns, line, strict=True)])
    return {"columns": columns, "data": rows}


def _csv_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";", strict=True)
    try:
        for line in reader:
            yield reader.line_num, line
    except csv.Error as error:
        raise BadInput(f"line {reader.line_num} is no CSV with ';' ({error})") from None


def _value(column: str, text: str) -> Any:
    if not text:
        return None
    if column.lower() not in _NUMBERS or not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("+-").isdigit() else float(text.replace(",", "."))


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        # What the exchange's CSV is written in (docs/iss.md section 2)
        return body.decode("cp1251", "replace")
