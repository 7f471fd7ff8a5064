"""
Deploy the functions on a LocalStack that is empty, as docs/aws.md deploys them on AWS.

``python -m infra.aws.localstack_deploy PROJECT``, with the folder that `make package` fills, is what the service
`functions` of docker-compose.yml runs at each start: LocalStack forgets all when it stops.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from infra.aws.deployment import NotDeployable, prepare
from infra.aws.refusals import deployed_api, put_refusals
from infra.installing.environment import ROOT
from lakehouse.market.errors import LakehouseError
from lakehouse.settings import Names, load_settings, names
from lakehouse.storage.buckets import make_buckets
from lakehouse.storage.stamp import claim
from lakehouse.storage.store import open_store

STAGE, ACCOUNT, REGION = "localstack", "000000000000", "us-east-1"


def main() -> int:
    """Make the stores and deploy; 1 with one line on standard error when that cannot be."""
    if len(sys.argv) != 2:
        print("usage: python -m infra.aws.localstack_deploy PROJECT", file=sys.stderr)
        return 2
    try:
        settings = load_settings()
        environ = aws_environment(os.environ)
        make_stack(client("cloudformation", environ), names())
        make_buckets([settings.lake_location], settings.s3_options)
        for url, name in ((settings.bronze_location, "BRONZE"), (settings.lake_location, "LAKE")):
            stamp = {"source": settings.source, "seed": 1}
            claim(open_store(url, settings.s3_options), stamp, f"LAKEHOUSE_{name}_URL")
        # The image is read-only, and Chalice writes into its project
        with tempfile.TemporaryDirectory() as scratch:
            project = Path(scratch) / "chalice"
            shutil.copytree(sys.argv[1], project, ignore=shutil.ignore_patterns(".chalice"))
            api_id = deploy(project, environ, Path(scratch) / "deployed")
    except (LakehouseError, NotDeployable, BotoCoreError, ClientError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"the API is at http://{api_id}.execute-api.localhost.localstack.cloud:4566/api/v1")
    return 0


def aws_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* with what tells the programs of AWS where LocalStack is, from the platform's own settings."""
    return {
        **environ,
        "AWS_ENDPOINT_URL": environ["LAKEHOUSE_S3_ENDPOINT"],
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_ACCOUNT_ID": ACCOUNT,
        "AWS_ACCESS_KEY_ID": environ["LAKEHOUSE_S3_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": environ["LAKEHOUSE_S3_SECRET_ACCESS_KEY"],
    }


def client(service: str, environ: Mapping[str, str]) -> Any:
    """Return botocore's client of one of LocalStack's services."""
    return botocore.session.get_session().create_client(
        service,
        endpoint_url=environ["AWS_ENDPOINT_URL"],
        region_name=environ["AWS_REGION"],
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
    )


def make_stack(cloudformation: Any, wanted: Names) -> None:
    """Make Bronze's bucket and the queues."""
    parameters = {"BucketName": wanted.bucket, "QueuePrefix": wanted.queue_prefix}
    cloudformation.create_stack(
        StackName=wanted.queue_prefix,
        TemplateBody=(ROOT / "infra" / "aws" / "stores.json").read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=wanted.queue_prefix, WaiterConfig={"Delay": 1})


def deploy(project: Path, environ: Mapping[str, str], remembered: Path) -> str:
    """
    Deploy *project*, which `package.stage` filled, over stores that are there; return the id of the API.

    Raises:
        NotDeployable: if Chalice says no, with what it said.
    """
    prepare(project, STAGE, environ, remembered)
    chalice = str(Path(sys.executable).with_name("chalice"))
    command = [chalice, "--project-dir", str(project), "deploy", "--stage", STAGE]
    ran = subprocess.run(command, env={**environ, "HOME": str(project.parent)}, capture_output=True, text=True)
    if ran.returncode != 0:
        raise NotDeployable(f"chalice deploy failed: {ran.stdout}{ran.stderr}")
    api_id = deployed_api(project, STAGE)
    put_refusals(client("apigateway", environ), api_id)
    return api_id


if __name__ == "__main__":
    sys.exit(main())
