"""Delta's log on S3, where a commit is made only if it is not there yet: compiled by the compiler inside Spark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOG_STORE = "lakehouse.ConditionalLogStore"
_SOURCE = Path(__file__).with_name("ConditionalLogStore.java")


def compile_log_store(spark: SparkSession, folder: Path) -> None:
    """Put the class LOG_STORE into *folder*, which must be on the class path of Spark's driver."""
    jvm: Any = spark.sparkContext._jvm
    sources = spark.sparkContext._gateway.new_array(jvm.java.io.File, 1)  # type: ignore[union-attr]
    sources[0] = jvm.java.io.File(str(_SOURCE))
    compiler = jvm.org.codehaus.janino.Compiler()
    compiler.setDestinationDirectory(jvm.java.io.File(str(folder)), False)
    compiler.compile(sources)
