import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chalice.app import SQSEventConfig

from infra.aws.deployment import CONFIG, NotDeployable, fill, one_stage, place_of, prepare, read_config
from infra.aws.own import event_sources
from infra.aws.policies import Place, function_names, policy
from infra.installing.environment import ROOT
from lakehouse.bronze.ledger import PREFIX
from lakehouse.bronze.upload_file import UPLOADS
from lakehouse.settings import Names

PLACE = Place("123456789012", "eu-central-1", "aws", Names("our-bronze", "ours"))
STORES = json.loads((ROOT / "infra" / "aws" / "stores.json").read_text(encoding="utf-8"))["Resources"]
ENVIRON = {
    "LAKEHOUSE_DATABASE_URL": "postgresql://lakehouse:secret@db.example/lakehouse",
    "LAKEHOUSE_BRONZE_URL": "s3://our-bronze",
    "LAKEHOUSE_QUEUE_PREFIX": "ours",
    "FUNCTIONS_SUBNETS": "subnet-1,subnet-2",
    "FUNCTIONS_SECURITY_GROUPS": "sg-1",
    "AWS_ACCOUNT_ID": PLACE.account,
    "AWS_REGION": PLACE.region,
}


def statements(function: str) -> list[dict[str, Any]]:
    found = policy(function, PLACE, in_network=True)["Statement"]
    assert isinstance(found, list)
    return found


def allowed(function: str) -> set[str]:
    return {action for each in statements(function) if each["Effect"] == "Allow" for action in each["Action"]}


@pytest.mark.parametrize("function", function_names())
def test_no_policy_allows_everything(function: str) -> None:
    """No star stands for an action, nor for a resource that has a name; only network interfaces have none yet."""
    for each in statements(function):
        assert not [action for action in each["Action"] if "*" in action]
        assert ("*" in each["Resource"]) == all(action.startswith("ec2:") for action in each["Action"])


@pytest.mark.parametrize("function", function_names())
def test_each_policy_names_its_own_function_only(function: str) -> None:
    """What a function writes into its log, no other can write."""
    names = {PLACE.function(name) for name in function_names()} - {PLACE.function(function)}
    told = json.dumps(statements(function))
    assert f'/aws/lambda/{PLACE.function(function)}:*"' in told
    assert [name for name in names if f"/{name}:" in told or f'function:{name}"' in told] == []


def test_only_what_a_queue_wakes_may_take_from_it() -> None:
    """And from that queue alone."""
    for function in function_names():
        queues = [kind(each) for each in event_sources() if isinstance(each, SQSEventConfig) and each.name == function]
        found = [
            each["Resource"]
            for each in statements(function)
            if "sqs:ReceiveMessage" in each["Action"] and not any(arn.endswith("-dead") for arn in each["Resource"])
        ]
        assert found == [[f"arn:aws:sqs:eu-central-1:123456789012:ours-{queue}"] for queue in queues]


def test_only_what_lands_or_looks_at_objects_reaches_the_bucket() -> None:
    """And the news of an object does not write."""
    reaching = {name for name in function_names() if any(action.startswith("s3:") for action in allowed(name))}
    assert reaching == {"ingest_step", "fetch", "landed", "uploaded", "api_handler"}
    assert "s3:PutObject" not in allowed("landed")


def test_the_bucket_is_listed_where_there_is_something_to_find() -> None:
    """What else lies in it, nobody but the worker learns."""
    (listing,) = (each for each in statements("ingest_step") if each["Action"] == ["s3:ListBucket"])
    assert listing["Condition"] == {"StringLike": {"s3:prefix": [f"{PREFIX}*", f"{UPLOADS}*"]}}
    assert {name for name in function_names() if "s3:ListBucket" in allowed(name)} == {"ingest_step"}


def test_the_code_of_a_function_may_not_touch_the_network() -> None:
    """What Lambda needs to put it there is denied to the function itself."""
    *_, granted, denied = statements("fetch")
    assert denied["Effect"] == "Deny"
    assert (denied["Action"], denied["Resource"]) == (granted["Action"], granted["Resource"])
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:ours-aws-fetch"
    assert denied["Condition"] == {"ArnEquals": {"lambda:SourceFunctionArn": [arn]}}


def test_every_function_has_limits_and_a_policy_of_its_own_in_every_stage() -> None:
    """A handler that is added is not deployed with another's rights or with Lambda's defaults."""
    for stage in read_config()["stages"].values():
        limits = stage["lambda_functions"]
        assert set(limits) == set(function_names())
        assert {each["iam_policy_file"] for each in limits.values()} == {f"policy-{name}.json" for name in limits}
        assert all({"lambda_memory_size", "lambda_timeout"} <= set(each) for each in limits.values())
        assert limits["fetch"]["reserved_concurrency"] == 2


def test_a_message_is_hidden_for_six_time_limits_and_then_kept() -> None:
    """Lambda retries within that time; what fails five times goes where a person finds it, for 14 days."""
    limits = read_config()["stages"]["aws"]["lambda_functions"]
    queues = {each["Properties"]["QueueName"]["Fn::Sub"]: each for each in STORES.values() if "Queue" in each["Type"]}
    for source in event_sources():
        if isinstance(source, SQSEventConfig):
            name = f"${{QueuePrefix}}-{kind(source)}"
            queue = queues[name]["Properties"]
            assert queue["VisibilityTimeout"] == 6 * limits[source.name]["lambda_timeout"]
            dead = STORES[queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]]["Properties"]
            assert dead["QueueName"] == {"Fn::Sub": f"{name}-dead"}
            assert dead["MessageRetentionPeriod"] == 14 * 86_400
            assert queue["RedrivePolicy"]["maxReceiveCount"] == 5


def test_the_committed_configuration_holds_no_secret() -> None:
    """Addresses and passwords are names of the environment there."""
    config = read_config()
    told = {**config["environment_variables"], **config["stages"]["localstack"]["environment_variables"]}
    assert {name for name, value in told.items() if value != f"${{{name}}}"} == {"LAKEHOUSE_SOURCE"}


def test_a_project_is_made_ready_for_a_stage(tmp_path: Path) -> None:
    """With its names filled in, a policy for each function, and a configuration that only its owner reads."""
    (tmp_path / "app.py").touch()
    prepare(tmp_path, "aws", ENVIRON, tmp_path / "deployed")
    folder = tmp_path / ".chalice"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["environment_variables"]["LAKEHOUSE_DATABASE_URL"] == ENVIRON["LAKEHOUSE_DATABASE_URL"]
    assert (list(config["stages"]), config["stages"]["aws"]["subnet_ids"]) == (["aws"], ["subnet-1", "subnet-2"])
    assert (folder / "config.json").stat().st_mode & 0o077 == 0
    assert json.loads((folder / "policy-fetch.json").read_text(encoding="utf-8"))["Statement"] == statements("fetch")
    assert (folder / "deployed").resolve() == (tmp_path / "deployed" / "ours").resolve()


def test_every_name_of_the_configuration_is_filled_in() -> None:
    """Whatever its letters: a function would take what is left for an address."""
    environ = {name: f"value of {name}" for name in re.findall(r"\$\{([^}]*)\}", CONFIG.read_text(encoding="utf-8"))}
    for stage in read_config()["stages"]:
        assert "$" not in json.dumps(fill(one_stage(read_config(), stage), environ))


def test_a_project_without_a_package_is_refused(tmp_path: Path) -> None:
    """Chalice would deploy an empty one."""
    with pytest.raises(NotDeployable, match=r"holds no package: run make package first$"):
        prepare(tmp_path, "aws", ENVIRON, tmp_path / "deployed")


@pytest.mark.parametrize("name", ENVIRON)
def test_a_name_that_is_not_set_is_told(name: str, tmp_path: Path) -> None:
    """Not found out by a function that starts without it."""
    (tmp_path / "app.py").touch()
    with pytest.raises(NotDeployable, match=rf"^{name} is not set: docs/aws.md says what it is$"):
        prepare(tmp_path, "aws", {**ENVIRON, name: ""}, tmp_path / "deployed")


@pytest.mark.parametrize("url", ["/var/bronze", "s3://our-bronze/below", "s3://our_bronze", "s3://"])
def test_a_bronze_that_no_handler_hears_of_is_refused(url: str) -> None:
    """Objects would land there and never be merged."""
    with pytest.raises(NotDeployable, match=rf"^LAKEHOUSE_BRONZE_URL is {url}: handlers hear of a whole bucket, so"):
        place_of("aws", {**ENVIRON, "LAKEHOUSE_BRONZE_URL": url})


@pytest.mark.parametrize("prefix", ["Ours", "our_lake", "1st", "o" * 32])
def test_a_name_that_no_queue_or_function_can_have_is_refused(prefix: str) -> None:
    """Chalice would find out half way."""
    with pytest.raises(NotDeployable, match=rf"^LAKEHOUSE_QUEUE_PREFIX is {prefix}: write up to 31 of a-z, 0-9 and"):
        place_of("aws", {**ENVIRON, "LAKEHOUSE_QUEUE_PREFIX": prefix})


def test_two_deployments_are_remembered_apart(tmp_path: Path) -> None:
    """The second one of a stage does not take the place of the first."""
    (tmp_path / "app.py").touch()
    for name in ("ours", "theirs"):
        prepare(tmp_path, "aws", {**ENVIRON, "LAKEHOUSE_QUEUE_PREFIX": name}, tmp_path / "deployed")
        (tmp_path / ".chalice" / "deployed" / "aws.json").write_text(name)
    assert (tmp_path / "deployed" / "ours" / "aws.json").read_text() == "ours"


DECLARED = """
from functions.app import app
print([getattr(each, "bucket", None) or getattr(each, "queue", None) for each in app.event_sources])
"""


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, {"lakehouse-ingest", "lakehouse-fetch", "lakehouse-bronze"}),
        ({"LAKEHOUSE_BRONZE_URL": "s3://our-bronze", "LAKEHOUSE_QUEUE_PREFIX": "ours", "LAKEHOUSE_PORT": "none"},
         {"ours-ingest", "ours-fetch", "our-bronze"}),
    ],
)  # fmt: skip
def test_handlers_are_named_after_the_settings(environ: dict[str, str], names: set[str]) -> None:
    """At their import, when a setting that is wrong can be told to nobody."""
    command = [sys.executable, "-c", DECLARED]
    ran = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(ast.literal_eval(ran.stdout)) - {None} == names


def kind(source: SQSEventConfig) -> str:
    """The queue's name behind the prefix."""
    return str(source.queue).rpartition("-")[2]
