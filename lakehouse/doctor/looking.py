"""All that the doctor looks at, in this order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lakehouse.doctor import database, machine, outside, stores
from lakehouse.doctor.finding import Check, Finding, Site, failed, with_database

CHECKS: Mapping[str, Check] = {
    "python": machine.python,
    "java": machine.java,
    "jars": machine.jars,
    "memory": machine.memory,
    "disk": machine.disk,
    "data folder": machine.data_folder,
    "port": machine.port,
    "secrets": machine.secrets,
    "postgresql": database.server,
    "schema": with_database("schema", database.schema),
    "state": with_database("state", database.rows),
    "queue": with_database("queue", database.queue),
    "schedules": with_database("schedules", database.clocked),
    "backups": with_database("backups", database.backups),
    "store": stores.store,
    "tables": stores.tables,
    "versions": with_database("versions", stores.versions),
    "ledger": with_database("ledger", stores.ledger),
    "sandbox": outside.sandbox,
    "exchange": outside.exchange,
}


def look(site: Site) -> Iterator[Finding]:
    """Yield what is found, each as soon as it is; a check that fails itself says so, and the others go on."""
    for name, check in CHECKS.items():
        try:
            yield from check(site)
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            yield failed(name, f"this could not be looked at: {said}", "what stands above may be the cause")
