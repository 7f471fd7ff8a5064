"""
Let API Gateway refuse in the form of the API: ``python -m infra.aws.refusals STAGE``, after each ``chalice deploy``.

What it refuses itself never reaches the handlers, and Chalice has no word for how.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from functions.problems import CONTENT_TYPE, KIND_BY_CODE
from infra.aws.deployment import NotDeployable, read_config
from infra.aws.package import PROJECT


@dataclass(frozen=True)
class Refusal:
    """An answer of the gateway's own; without a detail it keeps its own words, without a status its own."""

    code: str
    detail: str = ""

    @property
    def status(self) -> int | None:
        return KIND_BY_CODE[self.code].status

    @property
    def template(self) -> str:
        document = json.dumps(KIND_BY_CODE[self.code].document(self.detail))
        return document if self.detail else document.replace('"detail": ""', '"detail": $context.error.messageString')


_AGAIN = "try again in some seconds"
REFUSALS: Mapping[str, Refusal] = {
    # So it calls a path that no route has, and a method that a path does not take
    "MISSING_AUTHENTICATION_TOKEN": Refusal(
        "not_found", "there is no such path under /v1, or it does not take this method"
    ),
    "REQUEST_TOO_LARGE": Refusal("too_large", "the body is larger than 1 MiB"),
    "THROTTLED": Refusal("too_many_requests", f"too many requests at a time: {_AGAIN}"),
    "INTEGRATION_TIMEOUT": Refusal("too_slow", f"the request took longer than 29 s: ask for less, or {_AGAIN}"),
    "DEFAULT_4XX": Refusal("refused"),
    "DEFAULT_5XX": Refusal("internal", f"the platform failed at this request: {_AGAIN}"),
}


def main() -> int:
    config = read_config()
    if len(sys.argv) != 2 or sys.argv[1] not in config["stages"]:
        print(f"usage: python -m infra.aws.refusals {'|'.join(config['stages'])}", file=sys.stderr)
        return 2
    try:
        api_id = deployed_api(PROJECT, sys.argv[1])
        client = botocore.session.get_session().create_client("apigateway", region_name=os.environ.get("AWS_REGION"))
        put_refusals(client, api_id)
    except (NotDeployable, BotoCoreError, ClientError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"API Gateway refuses in the API's form now: {', '.join(REFUSALS)}")
    return 0


def deployed_api(project: Path, stage: str) -> str:
    """Return the id of the API that Chalice deployed from *project*; raise NotDeployable if it did not."""
    file = project / ".chalice" / "deployed" / f"{stage}.json"
    try:
        resources = json.loads(file.read_text(encoding="utf-8"))["resources"]
    except OSError:
        raise NotDeployable(f"nothing is deployed as {stage}: no {file}; run chalice deploy first") from None
    return next(str(each["rest_api_id"]) for each in resources if each["resource_type"] == "rest_api")


def put_refusals(client: Any, api_id: str) -> None:
    """Set the answers of the API, and deploy it anew, so that they count."""
    for kind, refusal in REFUSALS.items():
        status = {"statusCode": str(refusal.status)} if refusal.status else {}
        # The type of a template says for which Accept it is; this is what a request gets that accepts anything
        templates = {"application/json": refusal.template}
        headers = {"gatewayresponse.header.Content-Type": f"'{CONTENT_TYPE}'"}
        client.put_gateway_response(
            restApiId=api_id, responseType=kind, responseParameters=headers, responseTemplates=templates, **status
        )
    client.create_deployment(restApiId=api_id, stageName=read_config()["api_gateway_stage"])


if __name__ == "__main__":
    sys.exit(main())
