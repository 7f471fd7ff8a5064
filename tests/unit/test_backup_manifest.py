"""What a backup says of itself, read with suspicion."""

from __future__ import annotations

import pytest

from lakehouse.backup.manifest import BackupDamaged, File, decode_files, encode_files


def test_a_list_of_files_comes_back_as_it_was() -> None:
    files = [File("bronze/iss/candles/x.jsonl.gz", "ab", 3), File("lake/gold/dim_date/_delta_log/0.json", "cd", 4, "m")]
    assert decode_files(encode_files(files)) == files


@pytest.mark.parametrize("path", ["bronze/../../etc/passwd", "elsewhere/x", "bronze", "lake//x", "", "/etc/passwd"])
def test_a_file_that_belongs_to_no_place_is_refused(path: str) -> None:
    with pytest.raises(BackupDamaged, match="which is no place of a backup"):
        decode_files(encode_files([File(path, "ab", 3)]))


@pytest.mark.parametrize("body", [b"", b"x", encode_files([File("bronze/x", "ab", 3)])[:-9]])
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(BackupDamaged):
        decode_files(body or b"\x1f\x8b")
