"""Many writers of one table on S3: a commit is made by one of them, and the others see that it was."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from lakehouse.storage.minio import MinioServer
from tests.stores import make_bucket, options

PROCESSES, ROUNDS, ATTEMPTS = 6, 4, 200
SHARED = "shared"


def work(url: str, storage: dict[str, str], name: str) -> None:
    """Append a row a round, and count the rounds in two rows of another table: one's own, and one of all."""
    for number in range(ROUNDS):
        row = pa.table({"name": [name], "n": [number]})
        again(lambda row=row: write_deltalake(f"{url}/appended", row, mode="append", storage_options=storage))
        again(lambda: count(f"{url}/merged", storage, name))


def count(url: str, storage: dict[str, str], name: str) -> None:
    source = pa.table({"name": [name, SHARED], "n": [1, 1]})
    (
        DeltaTable(url, storage_options=storage)
        .merge(source, "t.name = s.name", source_alias="s", target_alias="t")
        .when_matched_update({"n": "t.n + s.n"})
        .when_not_matched_insert_all()
        .execute()
    )


def again(act: Any) -> None:
    """Do it until no other commit came between."""
    for _ in range(ATTEMPTS):
        try:
            act()
        except CommitFailedError:
            continue
        return
    raise RuntimeError(f"others were faster {ATTEMPTS} times")


def test_six_processes_lose_nothing_on_s3(minio: MinioServer) -> None:
    """Each append and each merge is there once, and every process ends well."""
    url = f"s3://{make_bucket(minio)}/lake"
    storage = {**{f"aws_{name}": value for name, value in options(minio).items()}, "aws_allow_http": "true"}
    for table in ("appended", "merged"):
        schema = pa.schema([("name", pa.string()), ("n", pa.int64())])
        write_deltalake(f"{url}/{table}", schema.empty_table(), storage_options=storage)
    names = [f"process {number}" for number in range(PROCESSES)]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(url, storage, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(900)
    # 134: deltalake's runtime was seen to abort as the interpreter ended
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    appended, merged = (DeltaTable(f"{url}/{table}", storage_options=storage) for table in ("appended", "merged"))
    assert sorted(rows(appended)) == [(name, number) for name in names for number in range(ROUNDS)]
    assert dict(rows(merged)) == {**dict.fromkeys(names, ROUNDS), SHARED: PROCESSES * ROUNDS}
    assert merged.version() == PROCESSES * ROUNDS


def rows(table: DeltaTable) -> list[tuple[str, int]]:
    return [(row["name"], row["n"]) for row in table.to_pyarrow_table().to_pylist()]
