"""The object stores that stores of ours are tested on, each as an empty place of its own."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import botocore.session

from infra.localstack.server import LocalStackServer
from lakehouse.storage.minio import MinioServer
from lakehouse.storage.store import Store, open_store

S3Server = MinioServer | LocalStackServer


def options(server: S3Server) -> dict[str, str]:
    """Return what `open_store` needs to know of a server."""
    return {
        "endpoint": server.endpoint,
        "region": server.region,
        "access_key_id": server.access_key_id,
        "secret_access_key": server.secret_access_key,
    }


def make_bucket(server: S3Server) -> str:
    """Make a bucket and return its name."""
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    s3_client(server).create_bucket(Bucket=bucket)
    return bucket


def send_events(server: MinioServer, bucket: str, folder: str = "") -> None:
    """Have the news of what is created in a bucket, where we look, sent to the server's webhook."""
    told = [
        {
            "QueueArn": server.events_arn,
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": f"{folder}{prefix}"}]}},
        }
        for prefix in ("iss/", "uploads/")
    ]
    s3_client(server).put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": told}
    )


def s3_client(server: S3Server) -> Any:
    """Return botocore's client of a server."""
    return client_of(server, "s3")


def client_of(server: S3Server, service: str) -> Any:
    """Return botocore's client of one of a server's services."""
    return botocore.session.get_session().create_client(
        service,
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
    )


def empty_store(server: S3Server | None, folder: Path) -> Store:
    """Return an empty store: part of a bucket, or a folder without a server."""
    if server is None:
        return open_store(str(folder / "store"))
    return open_store(f"s3://{make_bucket(server)}/bronze", options(server))
