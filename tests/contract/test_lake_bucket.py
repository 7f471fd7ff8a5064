"""What a worker says of a lake that it cannot reach, before it starts Spark."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from lakehouse.jobs.worker import run
from lakehouse.settings import Settings
from lakehouse.storage.minio import MinioServer
from lakehouse.storage.s3 import StoreRefused
from tests.stores import make_bucket, options


def settings(minio: MinioServer, folder: Path, bucket: str, secret: str) -> Settings:
    given = {**options(minio), "secret_access_key": secret}
    return Settings(
        data_dir=folder,
        database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"),
        lake_url=f"s3://{bucket}/lake",
        s3_endpoint=given["endpoint"],
        s3_region=given["region"],
        s3_access_key_id=given["access_key_id"],
        s3_secret_access_key=SecretStr(secret),
    )


def test_a_bucket_that_is_not_there_is_told_in_one_line(minio: MinioServer, tmp_path: Path) -> None:
    """It names the settings to mend."""
    with pytest.raises(StoreRefused, match=r"s3://not-made/lake .*no such bucket; make it, or .* LAKEHOUSE_LAKE_URL$"):
        run(settings(minio, tmp_path, "not-made", minio.secret_access_key))


def test_a_wrong_secret_is_told_in_one_line_without_it(minio: MinioServer, tmp_path: Path) -> None:
    """Nobody learns it from a log."""
    with pytest.raises(StoreRefused, match=r"credentials are refused .*LAKEHOUSE_S3_SECRET_ACCESS_KEY") as refused:
        run(settings(minio, tmp_path, make_bucket(minio), "a-wrong-secret"))
    assert "a-wrong-secret" not in str(refused.value)
