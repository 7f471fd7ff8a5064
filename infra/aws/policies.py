"""What each function may do, by name: nothing that its handler does not use, and nothing that another's does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalice.app import SQSEventConfig

from infra.aws.own import event_sources
from lakehouse.jobs.waking import QUEUES
from lakehouse.settings import Names

Statement = dict[str, Any]

# Chalice's name for the function behind all routes
API = "api_handler"
# Both land what they read, keep under rejected/ what nobody understands, and look what is there when an answer of the
# store was lost; planning reads reference tables again. tests/integration/test_functions_package.py holds it to that.
_LAND = {"s3:GetObject": ("iss", "rejected"), "s3:PutObject": ("iss", "rejected")}
OBJECTS: Mapping[str, Mapping[str, Sequence[str]]] = {
    # It also runs the reconciliation, which imports uploads that nobody heard of
    "ingest_step": {**_LAND, "s3:GetObject": ("iss", "rejected", "uploads")},
    "fetch": _LAND,
    # News of an object that the ledger does not know is not believed: the object is read
    "landed": {"s3:GetObject": ("iss",)},
    # A file becomes an object; what was lost of the store's answer is looked up
    "uploaded": {"s3:GetObject": ("iss", "uploads"), "s3:PutObject": ("iss",)},
    API: {"s3:GetObject": ("iss", "uploads"), "s3:PutObject": ("iss", "uploads")},
}
# Looks through the bucket for what was not heard of
LISTS: Mapping[str, Sequence[str]] = {"ingest_step": ("iss", "uploads")}
# What queues work wakes who does it; the API also takes back what was given up
WAKE = frozenset({API, "ingest_step", "fetch", "tick"})
REDRIVE = frozenset({API})
# Lambda asks for these in the function's name, to put it into the network; there is no interface yet to be named.
_INTERFACES = (
    *("ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces"),
    *("ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses", "ec2:DescribeSubnets"),
)


@dataclass(frozen=True)
class Place:
    """Where the functions are deployed: an account's number, a region, Chalice's stage; and what it is named after."""

    account: str
    region: str
    stage: str
    names: Names

    def function(self, name: str) -> str:
        """The name that the function has on AWS: Chalice gives the API's the stage's alone."""
        stage = f"{self.names.queue_prefix}-{self.stage}"
        return stage if name == API else f"{stage}-{name}"

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def function_names() -> list[str]:
    """Return the names that Chalice gives the functions, within a stage."""
    return [API, *(source.name for source in event_sources())]


def policy(function: str, place: Place, *, in_network: bool) -> dict[str, Any]:
    """Return the policy of the role of *function*; *in_network* adds what Lambda needs to put it into a VPC."""
    statements = [_logs(function, place), *_queues(function, place), *_objects(function, place)]
    if in_network:
        statements += _network(function, place)
    return {"Version": "2012-10-17", "Statement": statements}


def _logs(function: str, place: Place) -> Statement:
    group = place.arn("logs", f"log-group:/aws/lambda/{place.function(function)}:*")
    return _allow(["logs:CreateLogStream", "logs:PutLogEvents"], [group])


def _queues(function: str, place: Place) -> Iterator[Statement]:
    queues = [each for each in event_sources() if isinstance(each, SQSEventConfig) and each.name == function]
    if queues:
        actions = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
        yield _allow(actions, [place.arn("sqs", _queue(str(each.queue), place)) for each in queues])
    named = [place.arn("sqs", f"{place.names.queue_prefix}-{name}") for name in QUEUES]
    if function in WAKE:
        yield _allow(["sqs:GetQueueUrl", "sqs:SendMessage"], named)
    if function in REDRIVE:
        actions = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"]
        yield _allow(actions, [f"{arn}-dead" for arn in named])


def _queue(declared: str, place: Place) -> str:
    """Return the queue's name in *place*: the handlers were imported here, with the prefix that is set here."""
    return f"{place.names.queue_prefix}-{declared.rpartition('-')[2]}"


def _objects(function: str, place: Place) -> Iterator[Statement]:
    for action, folders in OBJECTS.get(function, {}).items():
        yield _allow([action], [f"arn:aws:s3:::{place.names.bucket}/{folder}/*" for folder in folders])
    if function in LISTS:
        prefixes = {"StringLike": {"s3:prefix": [f"{folder}/*" for folder in LISTS[function]]}}
        yield {**_allow(["s3:ListBucket"], [f"arn:aws:s3:::{place.names.bucket}"]), "Condition": prefixes}


def _network(function: str, place: Place) -> Iterator[Statement]:
    yield _allow(_INTERFACES, ["*"])
    arn = place.arn("lambda", f"function:{place.function(function)}")
    # The code of the function is not Lambda itself, and has no business with interfaces
    yield {
        "Effect": "Deny",
        "Action": list(_INTERFACES),
        "Resource": ["*"],
        "Condition": {"ArnEquals": {"lambda:SourceFunctionArn": [arn]}},
    }


def _allow(actions: Sequence[str], resources: Sequence[str]) -> Statement:
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
