"""``lakehouse migrate`` and ``buckets``: what services find ready that `lakehouse up` does not start."""

from __future__ import annotations

import click

from lakehouse.database.connection import connect
from lakehouse.database.logins import READER_LOGIN, WEB_LOGIN, set_logins
from lakehouse.database.migrate import migrate as migrate_database
from lakehouse.database.outage import connect_patiently
from lakehouse.market.errors import BadInput
from lakehouse.settings import load_settings
from lakehouse.storage.buckets import make_buckets, send_events
from lakehouse.storage.stamp import claim
from lakehouse.storage.store import open_store

_DATABASE_S = 60.0


@click.command()
def migrate() -> None:
    """
    Bring the database in LAKEHOUSE_DATABASE_URL up to date, as its owner.

    Makes the logins lakehouse_web (the app's role) and lakehouse_reader (the readers') as well, where
    LAKEHOUSE_APP_PASSWORD and LAKEHOUSE_READ_PASSWORD say with which passwords; a changed one is changed there too.
    """
    settings = load_settings()
    if settings.database_url is None:
        raise BadInput("LAKEHOUSE_DATABASE_URL is not set: name the database, as its owner")
    dsn = settings.database_url.get_secret_value()
    connect_patiently(dsn, patience_s=_DATABASE_S).close()
    applied = migrate_database(dsn)
    click.echo(f"migrations applied now: {', '.join(applied) or 'none, it is up to date'}")
    given = {WEB_LOGIN: settings.app_password, READER_LOGIN: settings.read_password}
    passwords = {login: password.get_secret_value() for login, password in given.items() if password}
    with connect(dsn) as conn:
        set_logins(conn, passwords)
    click.echo(f"logins: {', '.join(passwords) or 'none asked for'}")


@click.command()
@click.option("--events", metavar="ARN", help="Have the store tell this target of its objects, as MinIO names it.")
@click.option("--seed", type=int, default=1, show_default=True, help="The simulator's, if the data are from one.")
def buckets(events: str | None, seed: int) -> None:
    """Make the buckets of LAKEHOUSE_BRONZE_URL and LAKEHOUSE_LAKE_URL, stamped with the source of their data."""
    settings = load_settings()
    urls = {"LAKEHOUSE_BRONZE_URL": settings.bronze_location, "LAKEHOUSE_LAKE_URL": settings.lake_location}
    if wrong := [name for name, url in urls.items() if not url.startswith("s3://")]:
        raise BadInput(f"{' and '.join(wrong)} must be s3://BUCKET/PREFIX: folders need no buckets")
    made = make_buckets(list(urls.values()), settings.s3_options)
    click.echo(f"buckets made now: {', '.join(made) or 'none, they are there'}")
    stamp = {"source": settings.source} | ({"seed": seed} if settings.source == "simulator" else {})
    for name, url in urls.items():
        claim(open_store(url, settings.s3_options), stamp, name)
    if events:
        send_events(settings.bronze_location, events, settings.s3_options)
