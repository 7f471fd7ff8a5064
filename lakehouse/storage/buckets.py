"""The buckets of Bronze and of the tables, made on an object store of one's own: MinIO or LocalStack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from lakehouse.storage.s3 import StoreRefused

# Where objects land that no process of ours put there
_TOLD_OF = ("iss/", "uploads/")
_THERE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def make_buckets(urls: list[str], options: Mapping[str, str]) -> list[str]:
    """
    Make the buckets of *urls* (``s3://bucket/prefix``) that are missing; return the names of those made.

    Args:
        options: How S3 is reached, as `storage.s3.open_bucket` takes them.

    Raises:
        StoreRefused: if the server does not answer, or says no.
    """
    client, made = _client(options), []
    for name in sorted({urlsplit(url).netloc for url in urls}):
        try:
            client.create_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _THERE:
                raise StoreRefused(f"cannot make the bucket {name}: {error}") from error
        except BotoCoreError as error:
            raise StoreRefused(f"cannot make the bucket {name}: {error}; check LAKEHOUSE_S3_ENDPOINT") from error
        else:
            made.append(name)
    return made


def send_events(url: str, target: str, options: Mapping[str, str]) -> None:
    """
    Have the news of objects under *url* sent to *target*, which the server knows by this ARN.

    Raises:
        StoreRefused: if the server does not answer, or does not know the target.
    """
    parts = urlsplit(url)
    folder = parts.path.strip("/")
    told = [
        {
            "QueueArn": target,
            "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": f"{folder}/{prefix}".lstrip("/")}]}},
        }
        for prefix in _TOLD_OF
    ]
    try:
        _client(options).put_bucket_notification_configuration(
            Bucket=parts.netloc, NotificationConfiguration={"QueueConfigurations": told}
        )
    except (ClientError, BotoCoreError) as error:
        raise StoreRefused(f"cannot have {parts.netloc} tell {target} of objects: {error}") from error


def _client(options: Mapping[str, str]) -> Any:
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=options.get("endpoint"),
        region_name=options.get("region", "us-east-1"),
        aws_access_key_id=options.get("access_key_id"),
        aws_secret_access_key=options.get("secret_access_key"),
    )
