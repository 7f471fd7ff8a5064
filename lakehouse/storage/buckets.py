"""The buckets of Bronze and of the tables, made on an object store of one's own: MinIO or LocalStack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

from lakehouse.storage.s3 import StoreRefused

# Where objects land that no process of ours put there
_TOLD_OF = ("iss/", "uploads/")
_ADMIN_S = 20
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
            if _is_there(client, name):
                continue
            client.create_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _THERE:
                raise StoreRefused(f"cannot make the bucket {name}: {error}") from error
        except BotoCoreError as error:
            raise StoreRefused(f"cannot make the bucket {name}: {error}; check LAKEHOUSE_S3_ENDPOINT") from error
        else:
            made.append(name)
    return made


def _is_there(client: Any, name: str) -> bool:
    """Whether there is a bucket that we may read: who may make none may be given those that were made."""
    try:
        client.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
            return False
        raise
    return True


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


def admit(user: Mapping[str, str], root: Mapping[str, str], urls: list[str]) -> None:
    """
    Let *user* read and write what is in the buckets of *urls*, and nothing else, of a MinIO.

    Args:
        user: How S3 is reached by it; there is such a user afterwards, with this secret.
        root: How S3 is reached by who may make users.

    Raises:
        StoreRefused: if the server does not answer, is no MinIO, or says no.
    """
    server = urlsplit(user["endpoint"])
    admin = MinioAdmin(
        endpoint=server.netloc,
        credentials=StaticProvider(root["access_key_id"], root["secret_access_key"]),
        region=root.get("region", "us-east-1"),
        secure=server.scheme == "https",
        http_client=urllib3.PoolManager(timeout=_ADMIN_S, retries=2),
    )
    policy = f"lakehouse-{user['access_key_id']}"  # another platform may have its buckets on the same server
    try:
        admin.policy_add(policy, policy=_policy(urls))
        admin.user_add(user["access_key_id"], user["secret_access_key"])
        admin.policy_set(policy, user=user["access_key_id"])
    except (MinioAdminException, urllib3.exceptions.HTTPError) as error:
        raise StoreRefused(
            f"cannot make a user of MinIO at {server.netloc}: {error}; check LAKEHOUSE_S3_ENDPOINT, "
            "LAKEHOUSE_MINIO_ROOT_USER and LAKEHOUSE_MINIO_ROOT_PASSWORD"
        ) from error


def _policy(urls: list[str]) -> dict[str, Any]:
    buckets = [f"arn:aws:s3:::{name}" for name in sorted({urlsplit(url).netloc for url in urls})]
    whole = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    each = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    allowed = [(whole, buckets), (each, [f"{bucket}/*" for bucket in buckets])]
    statements = [{"Effect": "Allow", "Action": actions, "Resource": places} for actions, places in allowed]
    return {"Version": "2012-10-17", "Statement": statements}


def _client(options: Mapping[str, str]) -> Any:
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=options.get("endpoint"),
        region_name=options.get("region", "us-east-1"),
        aws_access_key_id=options.get("access_key_id"),
        aws_secret_access_key=options.get("secret_access_key"),
    )
