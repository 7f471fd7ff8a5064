"""Which files `make test` runs in one of its processes, one after another: those that share what is dear to start."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

# A server of 20 s, and a deployment on it of another 20 s
LOCALSTACK = (
    "tests/contract/test_localstack_functions.py",
    "tests/contract/test_store.py",
    "tests/contract/test_store_servers.py",
    "tests/integration/test_api_alike.py",
    "tests/integration/test_bronze_on_stores.py",
    "tests/integration/test_functions.py",
    "tests/integration/test_hostile_input.py",
    "tests/integration/test_sqs.py",
    "tests/integration/test_triggers.py",
)


class Together(LoadFileScheduling):  # type: ignore[misc]
    """Gives a process file after file, and files that belong together as if they were one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return LOCALSTACK[0] if file in LOCALSTACK else file
