"""A worker with a Spark of its own: ``python -m tests.merge_worker DSN ROOT`` merges until told that all has landed."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from lakehouse.engines.spark import start_spark
from lakehouse.silver.lake import Lake
from lakehouse.silver.merge import merge_bronze

READY, LANDED = "ready", "landed"


def main(dsn: str, root: Path) -> None:
    """Say when Spark is ready, then merge again and again; the last time after everything had landed."""
    spark = start_spark("local[1]", work_dir=root / "worker", driver_memory="1g")
    (root / READY).touch()
    is_over = False
    while not is_over:
        is_over = (root / LANDED).exists()
        report = merge_bronze(spark, dsn, str(root / "bronze"), Lake(str(root)))
        if report.changed:
            sys.stdout.write(f"{report.run_id}\n")
        else:
            time.sleep(0.5)
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
