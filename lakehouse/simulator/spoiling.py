"""What becomes of an answer's blocks under each kind of fault. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lakehouse.simulator.answer import Block, Column
from lakehouse.simulator.faults import Asked, Fault, Rows

_KEYS = {"candles": "begin", "history": "TRADEDATE"}
_ONE_IN = 100


def spoil(fault: Fault, asked: Asked) -> list[Block] | None:
    """Return the blocks that come instead; None if the fault would change nothing in this answer."""
    return _SPOIL[fault.kind](fault, asked)


def renumber(fault: Fault, asked: Asked) -> Asked:
    """Return the request to an exchange whose rows are others: they are numbered as if that were all there is."""
    edit = _NUMBERED[fault.kind]
    key = [column.name for column in asked.blocks()[0].columns].index(_KEYS[asked.family])

    def is_struck(row: list[Any]) -> bool:
        if fault.begins:
            return row[key] in fault.begins
        return (zlib.crc32(f"{fault.draw} {row[key]}".encode()) % _ONE_IN) == 0

    def answer(start: int) -> list[Block]:
        rows: Rows = []
        read = 0
        blocks = asked.answer(start)
        wanted = start + asked.page_rows if len(blocks) == 1 else None
        while page := asked.rows(read):
            read += len(page)
            rows += [edited for row in page for edited in (edit(row, asked) if is_struck(row) else [row])]
            if wanted and len(rows) >= wanted:
                break
        changed = _with_rows(blocks, rows[start : start + asked.page_rows])
        return _with_cursor(changed, TOTAL=len(rows) - _cursor(blocks)["TOTAL"]) if len(blocks) > 1 else changed

    return replace(asked, answer=answer)


def _short_page(fault: Fault, asked: Asked) -> list[Block] | None:
    rows = asked.rows()
    kept = fault.pick(max(1, len(rows))) if fault.rows is None else fault.rows
    return _with_rows(asked.blocks(), rows[:kept]) if kept < len(rows) else None


def _inner_rows(fault: Fault, asked: Asked) -> list[Block] | None:
    rows = _without_inner(fault, asked.rows())
    return None if rows is None else _with_rows(asked.blocks(), rows)


def _left_out_rows(fault: Fault, asked: Asked) -> list[Block] | None:
    rows = asked.rows()
    kept = _without_inner(fault, rows)
    if kept is None:
        return None
    more = asked.rows(asked.start + len(rows))[: len(rows) - len(kept)]
    return _with_rows(asked.blocks(), kept + more) if len(kept) + len(more) == len(rows) else None


def _without_inner(fault: Fault, rows: Rows) -> Rows | None:
    count = fault.rows or 1
    if len(rows) < count + 2:
        return None
    at = 1 + fault.pick(len(rows) - count - 1)
    return rows[:at] + rows[at + count :]


def _empty_page(fault: Fault, asked: Asked) -> list[Block] | None:
    return _with_rows(asked.blocks(), []) if asked.rows() else None


def _skipped_page(fault: Fault, asked: Asked) -> list[Block] | None:
    return _moved_page(asked, asked.start + (fault.rows or asked.page_rows))


def _repeated_page(fault: Fault, asked: Asked) -> list[Block] | None:
    return _moved_page(asked, max(0, asked.start - (fault.rows or asked.page_rows)))


def _shifted_row(fault: Fault, asked: Asked) -> list[Block] | None:
    return _moved_page(asked, max(0, asked.start - 1))


def _moved_page(asked: Asked, start: int) -> list[Block] | None:
    rows = asked.rows(start)
    return _with_rows(asked.blocks(), rows) if rows != asked.rows() else None


def _inserted_row(fault: Fault, asked: Asked) -> list[Block] | None:
    before = asked.rows(asked.start - 1)[:1] if asked.start else []
    return _with_rows(asked.blocks(), before + asked.rows()) if before else None


def _conflicting_duplicate(fault: Fault, asked: Asked) -> list[Block] | None:
    rows = asked.rows()
    if not rows:
        return None
    at = fault.pick(len(rows))
    rows[at : at + 1] = _two_of(rows[at], asked)
    return _with_rows(asked.blocks(), rows)


def _wrong_index(fault: Fault, asked: Asked) -> list[Block] | None:
    return _with_cursor(asked.blocks(), INDEX=fault.rows or 1)


def _changed_total(fault: Fault, asked: Asked) -> list[Block] | None:
    return _with_cursor(asked.blocks(), TOTAL=fault.rows or 1)


def _missing_block(fault: Fault, asked: Asked) -> list[Block] | None:
    blocks = asked.blocks()
    struck = _struck(fault, asked, blocks)
    return [block for block in blocks if block is not struck] if struck else None


def _missing_column(fault: Fault, asked: Asked) -> list[Block] | None:
    def drop(block: Block) -> Block:
        names = [column.name for column in block.columns]
        lost = fault.column or names[fault.pick(len(names))]
        return block.select([name for name in names if name != lost])

    return _reshaped(fault, asked, drop)


def _reordered_columns(fault: Fault, asked: Asked) -> list[Block] | None:
    return _reshaped(fault, asked, lambda block: block.select([column.name for column in reversed(block.columns)]))


def _added_column(fault: Fault, asked: Asked) -> list[Block] | None:
    def add(block: Block) -> Block:
        at = fault.pick(len(block.columns) + 1)
        added = Column(fault.column or "ADDED", "string", 36)
        rows = [[*row[:at], "new", *row[at:]] for row in block.parsed()]
        return Block.of(block.name, (*block.columns[:at], added, *block.columns[at:]), rows)

    return _reshaped(fault, asked, add)


def _reshaped(fault: Fault, asked: Asked, reshape: Callable[[Block], Block]) -> list[Block] | None:
    blocks = asked.blocks()
    struck = _struck(fault, asked, blocks)
    if struck is None:
        return None
    changed = reshape(struck)
    if changed.columns == struck.columns:
        return None
    return [changed if block is struck else block for block in blocks]


def _struck(fault: Fault, asked: Asked, blocks: list[Block]) -> Block | None:
    shown = [block for block in blocks if asked.shows(block.name) and fault.block in (None, block.name)]
    return shown[0 if fault.draw is None else fault.pick(len(shown))] if shown else None


def _with_rows(blocks: list[Block], rows: Rows) -> list[Block]:
    return [Block.of(blocks[0].name, blocks[0].columns, rows), *blocks[1:]]


def _cursor(blocks: list[Block]) -> dict[str, int]:
    names = [column.name for column in blocks[1].columns]
    return dict(zip(names, blocks[1].parsed()[0], strict=True))


def _with_cursor(blocks: list[Block], **more: int) -> list[Block]:
    values = {name: value + more.get(name, 0) for name, value in _cursor(blocks).items()}
    return [blocks[0], Block.of(blocks[1].name, blocks[1].columns, [list(values.values())])]


def _two_of(row: list[Any], asked: Asked) -> Rows:
    """Return a row and another of the same key, with more turnover and volume."""
    names = [column.name.lower() for column in asked.blocks()[0].columns]
    more = [(value or 0) + 1 if name in ("value", "volume") else value for name, value in zip(names, row, strict=True)]
    return [row, more]


_SPOIL: Mapping[str, Callable[[Fault, Asked], list[Block] | None]] = {
    "short_page": _short_page,
    "inner_rows": _inner_rows,
    "left_out_rows": _left_out_rows,
    "empty_page": _empty_page,
    "skipped_page": _skipped_page,
    "repeated_page": _repeated_page,
    "shifted_row": _shifted_row,
    "inserted_row": _inserted_row,
    "conflicting_duplicate": _conflicting_duplicate,
    "wrong_index": _wrong_index,
    "changed_total": _changed_total,
    "missing_block": _missing_block,
    "missing_column": _missing_column,
    "added_column": _added_column,
    "reordered_columns": _reordered_columns,
}
_NUMBERED: Mapping[str, Callable[[list[Any], Asked], Rows]] = {
    "hidden_rows": lambda row, asked: [],
    "conflicting_rows": _two_of,
}
