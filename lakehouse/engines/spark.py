"""The Spark session that writes every Delta table."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lakehouse.engines.jars import jar_paths, java_home
from lakehouse.engines.log_store import LOG_STORE, compile_log_store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def start_spark(
    master: str = "local[*]",
    *,
    with_s3: bool = False,
    work_dir: Path | str | None = None,
    driver_memory: str = "2g",
) -> SparkSession:
    """
    Start Spark, or return the session of this process. Takes 6-8 s the first time.

    Args:
        master: ``local[*]``, or ``spark://host:port`` of a standalone master.
        with_s3: Whether tables lie on S3 (`reach_s3` says where); its jars are on the class path only then.
        work_dir: Folder for shuffle files and the (unused) warehouse; the system's temporary folder by default.
        driver_memory: Heap of the JVM, which in local mode does all the work.

    Raises:
        SparkNotInstalled: if jars or Java are missing.
    """
    os.environ["JAVA_HOME"] = str(java_home())
    os.environ["PYSPARK_PYTHON"] = sys.executable  # workers take python3 from PATH otherwise
    from pyspark.sql import SparkSession  # imported late: it reads the environment

    builder = SparkSession.builder.appName("lakehouse").master(master)
    settings = _settings(jar_paths(with_s3=with_s3), driver_memory)
    if with_s3:
        classes = Path(work_dir or tempfile.mkdtemp(prefix="lakehouse-spark-")) / "classes"
        classes.mkdir(parents=True, exist_ok=True)
        settings["spark.driver.extraClassPath"] += f":{classes}"
        settings["spark.delta.logStore.s3a.impl"] = LOG_STORE
    if _is_on_this_machine(master):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        settings |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    for name, value in settings.items():
        builder = builder.config(name, value)
    if work_dir is not None:
        builder = builder.config("spark.local.dir", str(work_dir))
        builder = builder.config("spark.sql.warehouse.dir", str(Path(work_dir) / "warehouse"))
        # A JVM that is killed leaves its temporary folder: in a place that the next start clears
        java = f"{settings['spark.driver.extraJavaOptions']} -Djava.io.tmpdir={work_dir}"
        builder = builder.config("spark.driver.extraJavaOptions", java)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    if with_s3:
        compile_log_store(spark, classes)
    return spark


def reach_s3(spark: SparkSession, url: str, options: Mapping[str, str]) -> None:
    """
    Tell Spark how the bucket of *url* (``s3://bucket/prefix``) is reached, for as long as the process runs.

    Not among the session's settings, which PySpark hands to the JVM in the command line: for all to see.

    Args:
        options: As `storage.s3.open_bucket` takes them.
    """
    hadoop: Any = spark.sparkContext._jsc
    for name, value in s3a_settings(url, options).items():
        hadoop.hadoopConfiguration().set(name, value)


def s3a_settings(url: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return Hadoop's settings for the bucket of *url*; *options* as `storage.s3.open_bucket` takes them."""
    endpoint = options.get("endpoint", "")
    given = {
        "access.key": options.get("access_key_id"),
        "secret.key": options.get("secret_access_key"),
        # Without one, S3A would ask AWS which
        "endpoint.region": options.get("region") or ("us-east-1" if endpoint else None),
        "endpoint": endpoint,
        # A server of one's own has no name for each bucket
        "path.style.access": "true" if endpoint else None,
        "connection.ssl.enabled": "false" if endpoint.startswith("http://") else None,
    }
    bucket = urlsplit(url).netloc
    return {f"fs.s3a.bucket.{bucket}.{name}": value for name, value in given.items() if value}


def _is_on_this_machine(master: str) -> bool:
    """Whether loopback will do; a master elsewhere must reach the driver by the machine's own name."""
    return master.startswith("local") or urlsplit(master).hostname in ("127.0.0.1", "localhost")


def _settings(jars: Sequence[Path], driver_memory: str) -> dict[str, str]:
    classpath = ":".join(map(str, jars))
    return {
        # On the class path, not spark.jars: nothing is copied or resolved at start
        "spark.driver.extraClassPath": classpath,
        "spark.executor.extraClassPath": classpath,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.memory": driver_memory,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "4",
        # The default INT96 reads as naive nanoseconds elsewhere
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # A join on a longer key reuses the windows' partitioning by a shorter one
        "spark.sql.requireAllClusterKeysForCoPartition": "false",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
    }
