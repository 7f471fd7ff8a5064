"""``lakehouse migrate`` and ``buckets``: what services find ready that `lakehouse up` does not start."""

from __future__ import annotations

import click

from lakehouse.database.connection import connect
from lakehouse.database.logins import READER_LOGIN, WEB_LOGIN, set_logins
from lakehouse.database.migrate import migrate as migrate_database
from lakehouse.database.outage import connect_patiently
from lakehouse.market.errors import BadInput
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.buckets import admit, make_buckets, send_events
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
    """
    Make the buckets of LAKEHOUSE_BRONZE_URL and LAKEHOUSE_LAKE_URL, stamped with the source of their data.

    Where LAKEHOUSE_MINIO_ROOT_USER and LAKEHOUSE_MINIO_ROOT_PASSWORD say who may, the key of LAKEHOUSE_S3_ACCESS_KEY_ID
    becomes a user of that MinIO as well, who reads and writes these buckets alone; a changed secret is changed there.
    """
    settings = load_settings()
    urls = {"LAKEHOUSE_BRONZE_URL": settings.bronze_location, "LAKEHOUSE_LAKE_URL": settings.lake_location}
    if wrong := [name for name, url in urls.items() if not url.startswith("s3://")]:
        raise BadInput(f"{' and '.join(wrong)} must be s3://BUCKET/PREFIX: folders need no buckets")
    root = _minio_root(settings)
    maker = root or settings.s3_options
    made = make_buckets(list(urls.values()), maker)
    click.echo(f"buckets made now: {', '.join(made) or 'none, they are there'}")
    if root:
        admit(settings.s3_options, root, list(urls.values()))
        click.echo("the user of LAKEHOUSE_S3_ACCESS_KEY_ID has these buckets, and no others")
    stamp = {"source": settings.source} | ({"seed": seed} if settings.source == "simulator" else {})
    for name, url in urls.items():
        claim(open_store(url, settings.s3_options), stamp, name)
    if events:
        send_events(settings.bronze_location, events, maker)


def _minio_root(settings: Settings) -> dict[str, str] | None:
    """Return how the store is reached as its root; None where that is not said, BadInput where it is half said."""
    user, password = settings.minio_root_user, settings.minio_root_password
    if user is None and password is None:
        return None
    needed = {
        "LAKEHOUSE_MINIO_ROOT_USER": user,
        "LAKEHOUSE_MINIO_ROOT_PASSWORD": password,
        "LAKEHOUSE_S3_ENDPOINT": settings.s3_endpoint,
        "LAKEHOUSE_S3_ACCESS_KEY_ID": settings.s3_access_key_id,
        "LAKEHOUSE_S3_SECRET_ACCESS_KEY": settings.s3_secret_access_key,
    }
    missing = [name for name, value in needed.items() if value is None]
    if user is None or password is None or missing:
        raise BadInput(f"to make a user of MinIO, set {', '.join(missing)} as well")
    return {**settings.s3_options, "access_key_id": user, "secret_access_key": password.get_secret_value()}
