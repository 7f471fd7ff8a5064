"""The database of a platform that may not run: for what needs nothing else of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lakehouse.database.runner import EmbeddedPostgres
from lakehouse.market.errors import BadInput
from lakehouse.settings import Settings
from lakehouse.up import folder
from lakehouse.up.plan import stamp_file

# A killed supervisor's server may still be stopping
_PATIENCE_S = 10.0


@contextlib.contextmanager
def database_of(settings: Settings) -> Iterator[str]:
    """
    Give the address of the database on these settings: a running platform's, one's own, or the embedded server's.

    That is started for the block where nothing runs. Raises BadInput where there is no data.
    """
    try:
        dsn = folder.running_dsn(settings)
    except BadInput:
        data = settings.data_dir
        if not stamp_file(data).exists():
            raise BadInput(f"there is no data in {data}: say --data") from None
        with folder.sole_use(data), embedded(data) as dsn:
            yield dsn
    else:
        yield dsn


@contextlib.contextmanager
def embedded(data: Path) -> Iterator[str]:
    """Run the embedded server of a data folder, whose lock must be ours, and give its address."""
    server = EmbeddedPostgres(folder.database_folder(data))
    server.start(_PATIENCE_S)
    try:
        yield server.dsn
    finally:
        server.stop()
