"""Which files `make test` runs in one of its processes, one after another: those that share what is dear to make."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

SHARING = (
    # `localstack` and `deployed`: a server of 20 s, and a deployment on it of another 20 s
    (
        "tests/contract/test_localstack_functions.py",
        "tests/contract/test_store.py",
        "tests/contract/test_store_servers.py",
        "tests/integration/test_api_alike.py",
        "tests/integration/test_bronze_on_stores.py",
        "tests/integration/test_functions.py",
        "tests/integration/test_hostile_input.py",
        "tests/integration/test_sqs.py",
        "tests/integration/test_triggers.py",
    ),
    # `spark`: a JVM, whose first merge takes a minute of both cores; and `calm`, a whole chain by it
    (
        "tests/property/test_merge_seeds.py",
        "tests/property/test_merge_workers.py",
        "tests/property/test_versions.py",
        "tests/property/test_weather.py",
        "tests/integration/test_added_splits.py",
        "tests/integration/test_care_chain.py",
        "tests/integration/test_clusters.py",
        "tests/integration/test_commits_on_s3.py",
        "tests/integration/test_day_in_steps.py",
        "tests/integration/test_engines_delta.py",
        "tests/integration/test_event_storm.py",
        "tests/integration/test_gold_build.py",
        "tests/integration/test_hidden_rows.py",
        "tests/integration/test_kill_disk.py",
        "tests/integration/test_kill_points.py",
        "tests/integration/test_lake_sql_s3.py",
        "tests/integration/test_lake_sql_spark.py",
        "tests/integration/test_platform_at_work.py",
        "tests/integration/test_recorded_run.py",
        "tests/integration/test_silver_merge.py",
        "tests/integration/test_uploads.py",
    ),
)
_FIRST_BY_FILE = {file: files[0] for files in SHARING for file in files}


class Together(LoadFileScheduling):  # type: ignore[misc]
    """Gives a process file after file, and files that share as if they were one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return _FIRST_BY_FILE.get(file, file)
