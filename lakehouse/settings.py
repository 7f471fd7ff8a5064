"""What can be set from outside: the only reader of the environment."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lakehouse.market.errors import BadInput

EXCHANGE_URL = "https://iss.moex.com/iss"
# The store's library ends the process at another one
ADDRESS = r"^https?://[\w.\[\]:-]+/?$"
# Names of functions begin with it as well, and have 64 characters at most
QUEUE_PREFIX = r"^[a-z][a-z0-9-]{0,30}$"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_PLACE = re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/.*)?|/.*")


class Settings(BaseSettings):
    """Settings of one process; every field is ``LAKEHOUSE_`` + its name in capitals in the environment."""

    model_config = SettingsConfigDict(env_prefix="LAKEHOUSE_", frozen=True)

    data_dir: Path = Field(
        default_factory=lambda: default_data_dir(), description="root of Bronze, the tables and PostgreSQL"
    )
    cache_dir: Path | None = Field(default=None, description="downloads that can be made again (lakehouse/cache.py)")
    database_url: SecretStr | None = Field(
        default=None, description="a PostgreSQL of your own instead of the embedded one"
    )
    app_password: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="`lakehouse migrate` gives it to the login lakehouse_web, which has the app's role",
    )
    read_password: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="`lakehouse migrate` gives it to the login lakehouse_reader, which only reads what is served",
    )
    minio_root_user: str | None = Field(
        default=None,
        min_length=3,
        description="root of MinIO: `lakehouse buckets` makes the S3 access key a user there, with the buckets alone",
    )
    minio_root_password: SecretStr | None = Field(default=None, min_length=8, description="the password of that root")
    bronze_url: str | None = Field(default=None, description="object store of Bronze; a folder in data_dir by default")
    lake_url: str | None = Field(default=None, description="root of the Delta tables; data_dir by default")
    s3_endpoint: str | None = Field(
        default=None, pattern=ADDRESS, description="address of MinIO or LocalStack; AWS's own by default"
    )
    s3_region: str | None = Field(default=None, description="region of the object store")
    s3_access_key_id: str | None = Field(
        default=None, description="who asks the object store; by default the machine's role on AWS"
    )
    s3_secret_access_key: SecretStr | None = Field(default=None, description="the secret of that access key")
    storage_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="what the object store sends with its events to /v1/events/storage; without it nobody may",
    )
    queue_prefix: str | None = Field(
        default=None,
        pattern=QUEUE_PREFIX,
        description="name of a deployment on AWS: its queues are PREFIX-ingest and PREFIX-fetch; no queues by default",
    )
    sqs_endpoint: str | None = Field(
        default=None, pattern=ADDRESS, description="address of LocalStack's queues; AWS's own by default"
    )
    source: Literal["exchange", "simulator", "recorded"] = Field(
        default="exchange", description="where the data are from"
    )
    iss_url: str = Field(default=EXCHANGE_URL, description="base address of the exchange's API")
    requests_per_s: float = Field(default=5, ge=0, le=50, description="request budget of all processes; 0 lifts it")
    requests_in_flight: int = Field(default=4, ge=1, le=32, description="requests at a time of all processes")
    pause_s: float = Field(
        default=30, gt=0, le=900, description="first pause when the exchange does not answer; doubles up to 30 times it"
    )
    dask_scheduler: str = Field(default="threads", description="`threads`, or tcp://host:port of a Dask cluster")
    spark_master: str = Field(default="local[*]", description="Spark master of merges")
    host: str = Field(
        default="127.0.0.1",
        pattern=r"^[A-Za-z0-9.:_-]+$",
        description="address of the web server; beyond this machine only with TLS or behind a proxy",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="port of the web server; 0 takes a free one")
    tls_certificate: Path | None = Field(
        default=None, description="the web server's certificate with its chain (PEM); it speaks TLS then"
    )
    tls_key: Path | None = Field(default=None, description="the key of that certificate (PEM, without a password)")
    behind_proxy: bool = Field(
        default=False, description="whether a proxy with TLS stands in front of the web server, and nobody gets past it"
    )
    proxy_addresses: str = Field(
        default="",
        description="addresses and networks of the proxies, with commas; by default one proxy on loopback or in a "
        "private network",
    )
    sandbox: Literal["auto", "off"] = Field(
        default="auto", description="whether analysts may run Python; where the walls do not hold it is off anyway"
    )
    sandbox_socket: Path | None = Field(default=None, description="where the sandbox's runner listens; set by `up`")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="warning", description="least level logged")
    log_format: Literal["text", "json"] = Field(
        default="text", description="lines of the log for people, or one JSON object a line for programs"
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="what Prometheus sends to /metrics as Authorization: Bearer; without it only admins read them",
    )

    @field_validator("lake_url")
    @classmethod
    def _is_a_place(cls, url: str | None) -> str | None:
        if url is not None and not _PLACE.fullmatch(url):
            raise ValueError(f"{url} is neither s3://bucket/prefix nor a folder's whole path")
        return url

    @field_validator("proxy_addresses")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        for each in filter(None, map(str.strip, text.split(","))):
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                raise ValueError(f"{error}: write addresses or networks such as 10.0.0.7,10.1.0.0/16") from None
        return text

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        """The proxies that are believed; empty if none is named."""
        return tuple(ipaddress.ip_network(each.strip()) for each in self.proxy_addresses.split(",") if each.strip())

    @property
    def bronze_location(self) -> str:
        """The address of Bronze's object store."""
        return self.bronze_url or str(self.data_dir.absolute() / "bronze")

    @property
    def s3_options(self) -> dict[str, str]:
        """How the object store of Bronze and of the tables is reached, as `open_store` takes it; holds the secret."""
        secret = self.s3_secret_access_key
        given = {
            "endpoint": self.s3_endpoint,
            "region": self.s3_region,
            "access_key_id": self.s3_access_key_id,
            "secret_access_key": secret.get_secret_value() if secret else None,
        }
        return {name: value for name, value in given.items() if value}

    @property
    def secrets(self) -> list[str]:
        """What no log may show: the values that are secret, and the password in the database's address."""
        values = [getattr(self, name) for name in type(self).model_fields]
        found = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        password = urlsplit(self.database_url.get_secret_value()).password if self.database_url else None
        return [*found, *([password, unquote(password)] if password else [])]

    @property
    def lake_location(self) -> str:
        """The address of the Delta tables' root."""
        return self.lake_url or str(self.data_dir.absolute())


@dataclass(frozen=True)
class Names:
    """What wakes the functions: the events of Bronze's bucket, and queues whose names begin with the prefix."""

    bucket: str = "lakehouse-bronze"
    queue_prefix: str = "lakehouse"


def names(environ: Mapping[str, str] = os.environ) -> Names:
    """Return the names that handlers declare; what is wrong with a setting is told by `load_settings`, not here."""
    url = urlsplit(environ.get("LAKEHOUSE_BRONZE_URL", ""))
    bucket = url.netloc if url.scheme == "s3" and url.netloc else Names.bucket
    return Names(bucket, environ.get("LAKEHOUSE_QUEUE_PREFIX") or Names.queue_prefix)


def default_data_dir() -> Path:
    """Return where data lives when nothing says otherwise: root's lies where PostgreSQL's own user can reach it."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/lakehouse")
    return Path(platformdirs.user_data_dir("lakehouse", appauthor=False))


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; raise BadInput for a wrong value, or a misspelt ``LAKEHOUSE_`` variable."""
    known = {f"LAKEHOUSE_{name.upper()}" for name in Settings.model_fields}
    if unknown := sorted(name for name in environ if name.startswith("LAKEHOUSE_") and name not in known):
        raise BadInput(f"unknown setting {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    try:
        return Settings()
    except ValidationError as error:
        problems = (
            f"LAKEHOUSE_{str(item['loc'][0]).upper()}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise BadInput("; ".join(problems)) from None
