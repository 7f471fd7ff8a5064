"""Processes of clusters on machines of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.engines.node import dask_worker, own_address, spark_master, spark_worker
from lakehouse.market.errors import BadInput, LakehouseError


def test_a_worker_tells_the_address_by_which_it_reaches_its_master(tmp_path: Path) -> None:
    """Of several networks that it is in, its master is in that one."""
    assert own_address("tcp://127.0.0.1:8786") == "127.0.0.1"
    command = dask_worker("tcp://127.0.0.1:8786", 8788, tmp_path).command
    assert command[command.index("--host") + 1] == "127.0.0.1"


@pytest.mark.parametrize("master", ["", "spark-master", "spark://spark-master", "tcp://:8786"])
def test_what_is_no_address_of_a_master_is_refused(master: str) -> None:
    """The message says how one is written."""
    with pytest.raises(BadInput, match=r"is no address of a master: write spark://HOST:PORT or tcp://HOST:PORT"):
        own_address(master)


def test_a_master_whose_name_is_unknown_is_told() -> None:
    """One line, and no traceback of the name service."""
    with pytest.raises(LakehouseError, match=r"nowhere\.invalid cannot be reached \(.*\): does spark://.* run\?"):
        own_address("spark://nowhere.invalid:7077")


def test_executors_unpack_programs_where_they_may_run(tmp_path: Path) -> None:
    """/tmp of a container often allows no programs, and Parquet's codecs are some."""
    node = spark_worker("spark://127.0.0.1:7077", 8081, tmp_path / "work")
    assert node.environment["JAVA_TOOL_OPTIONS"] == f"-Djava.io.tmpdir={tmp_path / 'work'}"
    assert (tmp_path / "work").is_dir()


def test_a_master_is_called_by_the_name_that_others_know() -> None:
    """Spark refuses messages that are addressed to another name."""
    command = list(spark_master("spark-master", 7077, 8080).command)
    assert command[command.index("--host") + 1] == "spark-master"
