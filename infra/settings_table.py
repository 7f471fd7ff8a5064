"""
Write docs/settings.md, what can be set from outside, from its declarations: ``python -m infra.settings_table``.

With ``--check``, a part of ``make check``: fail if the file is not what would be written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from infra.generated import write_or_check
from lakehouse.settings import Settings

TABLE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"

# Who reads what. The services are those of `lakehouse up` and of docker-compose.yml; `functions` is them on AWS
EVERYONE = "up, web, worker, spark, functions, commands"
_STORES = "web, worker, spark, functions, commands"
READ_BY = {
    "data_dir": "up, web, worker, spark, commands",
    "cache_dir": "up, spark, commands",
    "database_url": EVERYONE,
    "app_password": "`lakehouse migrate`",
    "read_password": "`lakehouse migrate`",
    "minio_root_user": "`lakehouse buckets`",
    "minio_root_password": "`lakehouse buckets`",
    "bronze_url": f"up, {_STORES}",
    "lake_url": "up, web, worker, spark, commands",
    "s3_endpoint": _STORES,
    "s3_region": _STORES,
    "s3_access_key_id": _STORES,
    "s3_secret_access_key": _STORES,
    "storage_token": "web, functions",
    "queue_prefix": "web, spark, functions, commands",
    "sqs_endpoint": "web, spark, functions, commands",
    "source": "up, web, functions, commands",
    "iss_url": "up, worker, functions",
    "requests_per_s": "up, worker, functions; web shows it",
    "requests_in_flight": "up, worker, functions; web shows it",
    "pause_s": "worker, functions",
    "dask_scheduler": "up, worker",
    "spark_master": "up, spark, `lakehouse sql --spark`",
    "host": "up, web",
    "port": "up, web",
    "tls_certificate": "up, web, commands",
    "tls_key": "up, web",
    "behind_proxy": "up, web",
    "proxy_addresses": "web",
    "sandbox": "up",
    "sandbox_socket": "web",
    "log_level": EVERYONE,
    "log_format": EVERYONE,
    "metrics_token": "web",
}

_HEAD = """\
# Settings

Made from `lakehouse/settings.py` by `python -m infra.settings_table`; `make check` fails when the two differ.

Every setting is an environment variable. None is needed: `lakehouse up` runs with all defaults. An option of a command
(`--data`, `--port`, `--spark`) counts more than its variable. A wrong value, and a variable that begins with
`LAKEHOUSE_` and is none of these, are refused at the start. Secrets stand in no log; `.env` is read by Docker Compose
only ([compose.md](compose.md)).

Who reads it: *up* is the supervisor, `lakehouse up` and `lakehouse demo`, which hands to its services what it was given
or found out itself; *web* serves pages and API; *worker* plans and fetches; *spark* merges and publishes;
*functions* are the handlers on AWS; *commands* are the others of `lakehouse`, on the same machine.

| setting | default | values | what it is | read by |
| --- | --- | --- | --- | --- |
"""
_DEFAULTS = {"data_dir": "`/var/lib/lakehouse` as root, else the user's data folder"}


def settings_table() -> str:
    """Return the text of the table."""
    return _HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def main(arguments: list[str], path: Path = TABLE) -> int:
    """Write the table, or compare it; return the exit code."""
    if odd := sorted(set(Settings.model_fields) ^ set(READ_BY)):
        print(
            f"Error: infra/settings_table.py: say in READ_BY who reads {', '.join(odd)}, or that it is gone",
            file=sys.stderr,
        )
        return 1
    difference = "docs/settings.md is not what the settings are: run `python -m infra.settings_table`"
    return write_or_check(arguments, path, settings_table(), difference)


def _row(name: str, field: FieldInfo) -> str:
    meaning = (field.description or "").replace("|", "\\|")
    return (
        f"| `LAKEHOUSE_{name.upper()}` | {_default(name, field)} | {_values(field)} | {meaning} | {READ_BY[name]} |\n"
    )


def _default(name: str, field: FieldInfo) -> str:
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    value = field.default
    if value is None or value == "":
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _values(field: FieldInfo) -> str:
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    bounds = " ".join(_bounds(field.metadata))
    return f"{_NAMES[kinds[0]]}{f' {bounds}' if bounds else ''}"


_NAMES: dict[Any, str] = {
    str: "text",
    Path: "path",
    SecretStr: "secret",
    int: "whole number",
    float: "number",
    bool: "`true`, `false`",
}


def _bounds(metadata: list[Any]) -> Iterator[str]:
    for each in metadata:
        if (pattern := getattr(each, "pattern", None)) is not None:
            yield f"like `{pattern}`".replace("|", "\\|")
        for attribute, words in (("ge", "from"), ("gt", "above"), ("le", "to"), ("min_length", "of at least")):
            if (bound := getattr(each, attribute, None)) is not None:
                yield f"{words} {bound}{' characters' if attribute == 'min_length' else ''}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
