"""Blocks are read by name."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse.iss.blocks import NUMBER_OR_NULL, check_types, read_block
from lakehouse.iss.errors import IssContractError
from tests.exchange import answer


def test_columns_are_found_wherever_they_stand() -> None:
    """New columns and another order change nothing: a column is known by its name, whatever its case."""
    block = read_block(
        answer({"boards": {"columns": ["NEW", "BOARDID"], "data": [[1, "TQBR"]]}}), "boards", ["boardid"]
    )
    assert block.column("boardid") == ["TQBR"]
    assert block.records() == [{"new": 1, "boardid": "TQBR"}]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"other": {}}, r"x\.json: the answer has no block 'boards' of columns and data"),
        ([{"charsetinfo": {}}], "has no block 'boards'"),
        ({"boards": []}, "has no block 'boards'"),
        ({"boards": {"columns": ["title"], "data": []}}, "block 'boards' lacks boardid; it has title"),
        (
            {"boards": {"columns": ["boardid"], "data": [["a", 1]]}},
            "a row of block 'boards' has 2 values for 1 columns",
        ),
        (
            {"boards": {"columns": ["boardid"], "data": [], "metadata": {"boardid": {"type": "blob"}}}},
            "column boardid of block 'boards' has the unknown type 'blob'",
        ),
    ],
)
def test_unknown_shape_is_a_broken_contract(document: Any, message: str) -> None:
    """A missing block or column, an unknown type and a ragged row are told with the address, and never retried."""
    with pytest.raises(IssContractError, match=message) as caught:
        read_block(answer(document), "boards", ["boardid"])
    assert caught.value.answer == answer(document)


def test_type_of_an_unneeded_column_is_not_our_business() -> None:
    """Only columns that are read must have a known type."""
    metadata = {"boardid": {"type": "string"}, "new": {"type": "blob"}}
    document = {"boards": {"columns": ["boardid", "new"], "data": [], "metadata": metadata}}
    assert read_block(answer(document), "boards", ["boardid"]).rows == []


def test_column_of_foreign_values_is_a_broken_contract() -> None:
    """A column that holds no number at all has changed its type; one odd value is only a bad row."""
    got = answer({"candles": {"columns": ["open", "close"], "data": [[1, "1"], ["2", "2"]]}})
    block = read_block(got, "candles", ["open", "close"])
    check_types(got, block, ["open"], NUMBER_OR_NULL)
    with pytest.raises(
        IssContractError, match="column close of block 'candles' holds str, expected NoneType or float or int"
    ):
        check_types(got, block, ["close"], NUMBER_OR_NULL)
