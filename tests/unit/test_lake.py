from lakehouse.engines.address import TableAddress
from lakehouse.engines.spark import s3a_settings
from lakehouse.market.candle import CANDLES, FACT_CANDLE
from lakehouse.silver.lake import Lake

MINIO = {"endpoint": "http://127.0.0.1:9000", "access_key_id": "writer", "secret_access_key": "hush"}


def test_tables_lie_by_schema_and_name_under_the_root() -> None:
    """The root may end with a slash or without one; Spark calls S3 by another scheme."""
    for root in ("s3://bucket/lake", "s3://bucket/lake/"):
        candles = Lake(root, MINIO).at(CANDLES)
        assert candles == TableAddress("s3://bucket/lake/silver/candles", MINIO)
        assert candles.spark_name == "delta.`s3a://bucket/lake/silver/candles`"
    assert Lake("/data").at(FACT_CANDLE).spark_name == "delta.`/data/gold/fact_candle`"


def test_the_secret_is_not_shown() -> None:
    """Whoever logs a lake, or an address in it, logs no secret."""
    lake = Lake("s3://bucket/lake", MINIO)
    assert "hush" not in repr(lake) + repr(lake.at(CANDLES)) + f"{lake}"


def test_spark_is_told_of_one_bucket_only() -> None:
    """A server of one's own is asked by path and without TLS; AWS as its own client would."""
    assert s3a_settings("s3://bucket/lake", MINIO) == {
        "fs.s3a.bucket.bucket.access.key": "writer",
        "fs.s3a.bucket.bucket.secret.key": "hush",
        "fs.s3a.bucket.bucket.endpoint.region": "us-east-1",
        "fs.s3a.bucket.bucket.endpoint": "http://127.0.0.1:9000",
        "fs.s3a.bucket.bucket.path.style.access": "true",
        "fs.s3a.bucket.bucket.connection.ssl.enabled": "false",
    }
    assert s3a_settings("s3://bucket", {"region": "eu-north-1"}) == {
        "fs.s3a.bucket.bucket.endpoint.region": "eu-north-1"
    }
