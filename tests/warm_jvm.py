"""A driver of Spark that can be killed without its JVM: it takes one that runs already."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Gateway:
    """Where a JVM is reached; to be sent to another process."""

    port: int
    secret: str = field(repr=False)

    @classmethod
    def of(cls, spark: SparkSession) -> Gateway:
        gateway: Any = spark.sparkContext._gateway
        return cls(gateway.gateway_parameters.port, gateway.gateway_parameters.auth_token)

    def session(self) -> SparkSession:
        """
        Return a session of its own on that JVM, with this process as its driver.

        The first merge of a cold JVM takes ten times as long as one of a warm one.
        """
        os.environ |= {"PYSPARK_GATEWAY_PORT": str(self.port), "PYSPARK_GATEWAY_SECRET": self.secret}
        from pyspark import SparkConf, SparkContext
        from pyspark.java_gateway import launch_gateway
        from pyspark.sql import SparkSession

        gateway: Any = launch_gateway()  # type: ignore[no-untyped-call]
        running = gateway.jvm.org.apache.spark.SparkContext.getOrCreate()
        conf = SparkConf(_jvm=gateway.jvm, _jconf=running.getConf())
        jsc = gateway.jvm.JavaSparkContext.fromSparkContext(running)
        return SparkSession(SparkContext(gateway=gateway, jsc=jsc, conf=conf)).newSession()
