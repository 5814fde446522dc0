"""The template says what it must, held to its text: an emulator leaves most of it out.

Bucket policy, queue policies, alarms and metric filters are dropped by the emulator without a word, and so are the
bucket's lifecycle, encryption and access block, and the function's log group.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from moto.cloudformation.models import Stack

from spotrelay.core import keys
from spotrelay.stack import template

TEXT = template.text()
FILE = Path(template.__file__).with_name("template.yaml")


@pytest.fixture(scope="module")
def parsed() -> dict[str, Any]:
    return Stack.parse_template(TEXT)


@pytest.fixture(scope="module")
def resources(parsed: dict[str, Any]) -> dict[str, Any]:
    return parsed["Resources"]


def properties(resources: dict[str, Any], name: str) -> dict[str, Any]:
    return resources[name]["Properties"]


def statements(resources: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """By Sid; what a condition adds included."""
    listed = properties(resources, name)["PolicyDocument"]["Statement"]
    plain = [each["Fn::If"][1] if "Fn::If" in each else each for each in listed]
    return {each["Sid"]: each for each in plain}


def test_size() -> None:
    """The template fits into the call. Otherwise a first deployment needs a bucket before it can make one."""
    assert len(TEXT.encode()) < template.LARGEST


def test_parameters(parsed: dict[str, Any]) -> None:
    """The code knows the parameters that there are. Otherwise one is lost in each update."""
    assert set(template.PARAMETERS) == set(parsed["Parameters"])


@pytest.mark.slow
def test_lint() -> None:
    """cfn-lint finds nothing, not even a remark, in regions of three ages. Otherwise a deployment fails half-way."""
    lint = [str(Path(sys.executable).with_name("cfn-lint")), "-r", "us-east-1", "eu-west-1", "ap-south-1"]
    done = subprocess.run(
        [*lint, "--non-zero-exit-code", "informational", "-t", str(FILE)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stdout), done.stderr


def test_each_permission_has_its_reason() -> None:
    """Above each statement of a role stands why. Otherwise nobody dares to take one away."""
    lines = TEXT[: TEXT.index("  LauncherLog:")].splitlines()
    bare = [
        line.strip()
        for before, line in zip(
            lines[lines.index("  InstanceRole:") :], lines[lines.index("  InstanceRole:") + 1 :], strict=False
        )
        if line.strip().startswith("- Sid:") and not before.strip().startswith("#")
    ]

    assert [] == bare


def test_nothing_has_a_fixed_name(resources: dict[str, Any]) -> None:
    """No resource is named by us. Otherwise a second stack, or a second try, finds the name taken."""
    naming = re.compile(
        r"(Queue|Bucket|Function|Role|Group|Topic|Alarm|InstanceProfile|LaunchTemplate|LogGroup)Name|Name"
    )
    of_types = {"AWS::Logs::MetricFilter"}  # its LogGroupName is a reference

    assert [] == [
        f"{name}.{key}"
        for name, each in resources.items()
        if each["Type"] not in of_types
        for key in each["Properties"]
        if naming.fullmatch(key) and isinstance(each["Properties"][key], str)
    ]


def test_bucket_is_closed_and_stays(resources: dict[str, Any]) -> None:
    """Encrypted, closed to the public, TLS only, and kept. Otherwise a person's results are read, or gone."""
    bucket = properties(resources, "Bucket")
    closed = {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
    encryption = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert "AES256" == encryption[0]["ServerSideEncryptionByDefault"]["SSEAlgorithm"]
    assert dict.fromkeys(closed, True) == bucket["PublicAccessBlockConfiguration"]
    assert [{"ObjectOwnership": "BucketOwnerEnforced"}] == bucket["OwnershipControls"]["Rules"]
    assert {"aws:SecureTransport": "false"} == statements(resources, "BucketPolicy")["TlsOnly"]["Condition"]["Bool"]
    for name in ("Bucket", "BucketPolicy"):
        assert ("RetainExceptOnCreate", "Retain") == (
            resources[name]["DeletionPolicy"],
            resources[name]["UpdateReplacePolicy"],
        )


def test_no_rule_deletes_a_run(resources: dict[str, Any]) -> None:
    """Lifecycle rules abort dead uploads and expire bookkeeping, never a run's own. A pack of a run's first day may be
    what today's snapshot stands on.
    """
    rules = properties(resources, "Bucket")["LifecycleConfiguration"]["Rules"]
    expiring = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}

    assert {"launches/": 400, "fleets/": 400, "pools/": 7} == expiring
    assert [2] == [
        rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for rule in rules if "Prefix" not in rule
    ]
    assert all(rule["Status"] == "Enabled" for rule in rules)


def test_prefixes_are_those_of_the_keys(resources: dict[str, Any]) -> None:
    """Rules and roles speak of prefixes that objects have. Otherwise a rename leaves a role without its bucket."""
    real = {
        name.split("/")[0]
        for name in (
            keys.run("r"), keys.open_run("r"), keys.launches("r", 1), keys.fleet("f"), keys.assignment("i"),
            keys.pool_notes("n", 1), keys.price("r", "t"), keys.launcher_code("d"),
        )
    }  # fmt: skip
    named = set(re.findall(r"\$\{Store\}/(\w+)/\*", TEXT)) | set(re.findall(r"Prefix: (\w+)/", TEXT))

    assert set() == named - real
    assert "launcher" not in named


def test_queues(resources: dict[str, Any]) -> None:
    """Requests wait as long as AWS lets them, are seen again six timeouts later, and are set aside after five failures.
    Otherwise they are forgotten, doubled, or go round for ever.
    """
    requests, timeout = properties(resources, "Requests"), properties(resources, "Launcher")["Timeout"]

    assert 6 * timeout == requests["VisibilityTimeout"]
    assert 14 * 24 * 3600 == requests["MessageRetentionPeriod"]
    assert 5 == requests["RedrivePolicy"]["maxReceiveCount"]
    for name in ("Requests", "DeadLetters"):
        assert properties(resources, name)["SqsManagedSseEnabled"] is True
        policy = f"{name}Policy"
        assert {"aws:SecureTransport": "false"} == statements(resources, policy)["TlsOnly"]["Condition"]["Bool"]
        assert [{"Ref": name}] == properties(resources, policy)["Queues"]


def test_only_our_rules_ring(resources: dict[str, Any]) -> None:
    """EventBridge may send for the three rules of this stack. Otherwise anybody's rule in any account rings."""
    allowed = statements(resources, "RequestsPolicy")["RulesOfThisStack"]
    rules = [name for name, each in resources.items() if each["Type"] == "AWS::Events::Rule"]

    assert {"Service": "events.amazonaws.com"} == allowed["Principal"]
    assert {"ArnEquals": {"aws:SourceArn": [{"Fn::GetAtt": [name, "Arn"]} for name in rules]}} == allowed["Condition"]
    assert ["Warnings", "Gone", "Sweep"] == rules


def test_function(resources: dict[str, Any]) -> None:
    """It reports failed messages one by one, is bounded, and its log ends. Otherwise one bad message brings back nine
    good ones, a storm runs into EC2's throttle, and the log bills for ever.
    """
    source, function = properties(resources, "LauncherSource"), properties(resources, "Launcher")
    variables = function["Environment"]["Variables"]
    wanted = ("STORE", "QUEUE_URL", "LAUNCH_TEMPLATE", "STACK", "ZONES", "TYPES", "NOTIFY_TOPIC", "NOTIFY_WEBHOOK")

    assert (10, ["ReportBatchItemFailures"]) == (source["BatchSize"], source["FunctionResponseTypes"])
    assert 10 == source["ScalingConfig"]["MaximumConcurrency"]
    assert "MaximumBatchingWindowInSeconds" not in source
    assert "spotrelay.launcher.handler.handle" == function["Handler"]
    assert {"LogGroup": {"Ref": "LauncherLog"}} == function["LoggingConfig"]
    assert 30 == properties(resources, "LauncherLog")["RetentionInDays"]
    assert {f"SPOTRELAY_{name}" for name in wanted} == set(variables)


def test_instances_keep_to_themselves(resources: dict[str, Any]) -> None:
    """IMDSv2 by one hop, nobody comes in, and at the end the volume goes too. Otherwise a container takes the role, or
    a disk bills for ever.
    """
    data = properties(resources, "LaunchTemplate")["LaunchTemplateData"]
    volume = data["BlockDeviceMappings"][0]["Ebs"]

    assert {
        "HttpEndpoint": "enabled",
        "HttpTokens": "required",
        "HttpPutResponseHopLimit": 1,
        "InstanceMetadataTags": "enabled",
    } == data["MetadataOptions"]
    assert "terminate" == data["InstanceInitiatedShutdownBehavior"]
    assert (True, True, "gp3") == (volume["Encrypted"], volume["DeleteOnTermination"], volume["VolumeType"])
    assert "InstanceMarketOptions" not in data
    assert "SecurityGroupIngress" not in properties(resources, "SecurityGroup")
    assert ["volume"] == [each["ResourceType"] for each in data["TagSpecifications"]]


def test_alarms(resources: dict[str, Any]) -> None:
    """Each thing that a person must know of rings once, and reaches the mail if there is one."""
    alarms = {n: each["Properties"] for n, each in resources.items() if each["Type"] == "AWS::CloudWatch::Alarm"}
    filters = {
        each["Properties"]["FilterPattern"] for each in resources.values() if each["Type"] == "AWS::Logs::MetricFilter"
    }
    metrics = {
        transformation["MetricName"]
        for each in resources.values()
        if each["Type"] == "AWS::Logs::MetricFilter"
        for transformation in each["Properties"]["MetricTransformations"]
    }

    assert {
        "DeadLettersAlarm": "ApproximateNumberOfMessagesVisible",
        "OldestRequestAlarm": "ApproximateAgeOfOldestMessage",
        "LauncherErrorsAlarm": "Errors",
        "NeedsPersonAlarm": "NeedsPerson",
        "OrphanTerminatedAlarm": "OrphanTerminated",
    } == {name: alarm["MetricName"] for name, alarm in alarms.items()}
    assert {'{ $.event = "needs.person" }', '{ $.event = "orphan.terminated" }'} == filters
    assert {"NeedsPerson", "OrphanTerminated"} == metrics
    assert all(
        {"Fn::If": ["HasEmail", [{"Ref": "Alarms"}], {"Ref": "AWS::NoValue"}]} == a["AlarmActions"]
        for a in alarms.values()
    )
    assert all("notBreaching" == alarm["TreatMissingData"] for alarm in alarms.values())


def test_the_webhook_is_not_shown(parsed: dict[str, Any]) -> None:
    """Its address is all that one needs to write there."""
    shown = {name for name, each in parsed["Parameters"].items() if not each.get("NoEcho")}

    assert {template.NOTIFY_WEBHOOK} == set(parsed["Parameters"]) - shown
    assert "NotifyWebhook" not in str(parsed["Outputs"])
