"""Deployments over the wire: from nothing, again, changed, and from every state in which one can find a stack.

The account is moto's. What it cannot come to by itself (a rollback, an interrupted update) is set, and what it does not
refuse (expired credentials, a missing permission) is refused by a front before it: the code sees an endpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from moto.awslambda.models import LambdaFunction
from moto.cloudformation.models import Stack

from spotrelay.core.errors import (
    StackClash,
    StackCredentials,
    StackDenied,
    StackError,
    StackFailed,
    StackRegion,
    StackUnreachable,
    UsageError,
)
from spotrelay.stack import code, template
from spotrelay.stack.account import Account
from spotrelay.stack.changes import Plan
from spotrelay.stack.deploying import Audience, Deployed, Deployment, Wishes
from spotrelay.stack.progress import Event
from spotrelay.stack.standing import look
from support.aws_account import Front, client
from support.images import ARM_IMAGE, IMAGE, REGION

Deploy = Callable[..., Deployed]


def plans(said: list[Any]) -> list[Plan]:
    return [each for each in said if isinstance(each, Plan)]


def test_from_nothing(deploy: Deploy, aws: Account) -> None:
    """One command makes the whole stack: the launcher with its code, fed from the queue, and a launch template that
    tells instances of both. Otherwise a person finds out by a run that never starts.
    """
    said: list[Any] = []
    outputs = deploy(said=said).standing.outputs
    function = aws.functions.get_function_configuration(FunctionName=outputs["FunctionName"])
    source = aws.functions.list_event_source_mappings(FunctionName=outputs["FunctionName"])["EventSourceMappings"][0]
    variables = function["Environment"]["Variables"]
    versions = aws.ec2.describe_launch_template_versions(LaunchTemplateId=outputs["LaunchTemplateId"])
    profile = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]["IamInstanceProfile"]["Arn"]

    assert 2 == len(plans(said))
    assert f"s3://{outputs['BucketName']}" == outputs["StoreUrl"] == variables["SPOTRELAY_STORE"]
    assert outputs["QueueUrl"] == variables["SPOTRELAY_QUEUE_URL"]
    assert f"{outputs['LaunchTemplateId']}:1" == variables["SPOTRELAY_LAUNCH_TEMPLATE"]
    assert "spotrelay" == variables["SPOTRELAY_STACK"]
    assert "us-east-1a" in variables["SPOTRELAY_ZONES"].split(",")
    assert len(variables["SPOTRELAY_TYPES"].split(",")) >= 10
    assert outputs["LauncherRoleArn"] == function["Role"]
    assert ["ReportBatchItemFailures"] == source["FunctionResponseTypes"]
    assert source["EventSourceArn"].endswith(outputs["QueueUrl"].rpartition("/")[2])
    assert "/" in profile
    code_there = aws.s3.get_object(Bucket=outputs["BucketName"], Key=code.key_of(code.packed()))["Body"].read()
    assert code.packed() == code_there


def test_rules_ring(deploy: Deploy, front: Front) -> None:
    """Warnings, ends and the schedule go to the requests, the schedule's in the launcher's own words."""
    outputs = deploy().standing.outputs
    events = client("events", front)
    rules = events.list_rules()["Rules"]
    targets = [events.list_targets_by_rule(Rule=rule["Name"])["Targets"][0] for rule in rules]
    events.close()

    assert 3 == len(rules)
    assert {outputs["QueueUrl"].rpartition("/")[2]} == {target["Arn"].rpartition(":")[2] for target in targets}
    assert [{"sweep": {}}] == [json.loads(target["Input"]) for target in targets if "Input" in target]
    assert ["rate(5 minutes)"] == [rule["ScheduleExpression"] for rule in rules if rule.get("ScheduleExpression")]


def test_again(deploy: Deploy, front: Front) -> None:
    """A second deployment of the same changes nothing, and says so. Otherwise nobody dares to run it."""
    before = deploy()
    front.asked.clear()
    said: list[Any] = []
    after = deploy(said=said)

    assert [None] == [plan.change_set for plan in plans(said)]
    assert () == after.changes
    assert before.standing.outputs == after.standing.outputs
    assert set() == {"ExecuteChangeSet", "PutObject"} & set(front.asked)
    assert not [each for each in front.asked if each.startswith("PUT")]


def test_update(deploy: Deploy, aws: Account) -> None:
    """What is given changes; what is not stays as it is. The function follows the launch template's new version."""
    deploy(email="me@example.com", volume_gib=80)
    deployed = deploy(image=None, volume_gib=120)
    outputs, parameters = deployed.standing.outputs, deployed.standing.parameters
    function = aws.functions.get_function_configuration(FunctionName=outputs["FunctionName"])

    assert ("120", "me@example.com", IMAGE) == tuple(
        parameters[name] for name in (template.VOLUME_GIB, template.EMAIL, template.IMAGE)
    )
    assert {"LaunchTemplate", "Launcher"} == {change.resource for change in deployed.changes}
    assert "2" == outputs["LaunchTemplateVersion"]
    assert outputs["LaunchTemplateId"] + ":2" == function["Environment"]["Variables"]["SPOTRELAY_LAUNCH_TEMPLATE"]


def test_another_image(deploy: Deploy, aws: Account) -> None:
    """The function is told of a new version of the launch template, and the one before is still there, allowed as it
    was. Otherwise a fleet that was decided before the update is refused under its token, and calls a person.
    """
    template_id = deploy().standing.outputs["LaunchTemplateId"]
    other = aws.ec2.register_image(Name="other", RootDeviceName="/dev/sda1")["ImageId"]
    deployed = deploy(image=other)
    versions = aws.ec2.describe_launch_template_versions(LaunchTemplateId=template_id)["LaunchTemplateVersions"]
    function = aws.functions.get_function_configuration(FunctionName=deployed.standing.outputs["FunctionName"])

    assert {"LaunchTemplate", "Launcher"} == {change.resource for change in deployed.changes}
    assert {1: IMAGE, 2: other} == {each["VersionNumber"]: each["LaunchTemplateData"]["ImageId"] for each in versions}
    assert f"{template_id}:2" == function["Environment"]["Variables"]["SPOTRELAY_LAUNCH_TEMPLATE"]


def test_new_code(deploy: Deploy, aws: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other sources reach the function. Otherwise a fix is released and never runs."""
    deploy()
    changed = code.packed() + b"\n"
    monkeypatch.setattr(code, "packed", lambda: changed)
    deployed = deploy()

    assert ["Launcher"] == [change.resource for change in deployed.changes]
    assert code.key_of(code.packed()) == deployed.standing.parameters[template.LAUNCHER_ZIP]


def test_two_stacks(deploy: Deploy) -> None:
    """A second stack stands beside the first. Otherwise a team has to share one."""
    first, second = deploy().standing.outputs, deploy(stack="second").standing.outputs

    assert set() == set(first.values()) & set(second.values()) - {first["StackVersion"], "1"}


def test_a_loss_is_asked_for(deploy: Deploy, front: Front) -> None:
    """What would be replaced is not, unless a person says so. Otherwise a queue is gone by an upgrade."""
    deploy()
    modify = "<Action>Modify</Action>"
    front.rewrite("DescribeChangeSet", lambda body: body.replace(modify, modify + "<Replacement>True</Replacement>"))
    refused = deploy(volume_gib=80, approve=False)

    assert not refused.approved
    assert "ExecuteChangeSet" not in front.asked[front.asked.index("DescribeChangeSet", -8) :]
    assert deploy(volume_gib=80).approved


def test_no_loss_without_a_question(deploy: Deploy) -> None:
    """A change in place is made without one. Otherwise --yes becomes a habit."""
    deploy()

    assert deploy(volume_gib=80, approve=False).approved


def test_rehearsal_changes_nothing(aws: Account, deploy: Deploy, front: Front) -> None:
    """--dry-run tells the plan and leaves all as it was, on a stack and without one."""
    silent = Audience(lambda _: None, lambda _: None, lambda _: None, lambda _: False)

    assert Deployment(aws, Wishes("spotrelay"), silent).rehearse() is None
    assert look(aws, "spotrelay") is None

    before = deploy().standing
    front.asked.clear()
    plan = Deployment(aws, Wishes("spotrelay", volume_gib=99), silent).rehearse()

    assert plan is not None
    assert {"LaunchTemplate", "Launcher"} == {change.resource for change in plan.changes}
    assert before == look(aws, "spotrelay")
    assert "ExecuteChangeSet" not in front.asked
    assert "DeleteChangeSet" in front.asked


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("ROLLBACK_COMPLETE", "removed, and made anew"),
        ("UPDATE_IN_PROGRESS", "waited for"),
        ("UPDATE_ROLLBACK_FAILED", "taken back first"),
    ],
)
def test_rehearsal_in_other_states(
    deploy: Deploy, aws: Account, in_moto: Callable[[], Stack], front: Front, status: str, said: str
) -> None:
    """What would come before an update is said, and is not done."""
    deploy()
    in_moto().status = status
    front.asked.clear()
    told: list[str] = []
    audience = Audience(told.append, lambda _: None, lambda _: None, lambda _: False)

    assert Deployment(aws, Wishes("spotrelay"), audience).rehearse() is None
    assert [said in each for each in told] == [True]
    assert {"GetCallerIdentity", "DescribeStacks"} == set(front.asked)


def test_rehearsal_finds_wrong_wishes(aws: Account) -> None:
    """What a first deployment would refuse, its rehearsal refuses. Otherwise it rehearses nothing."""
    silent = Audience(lambda _: None, lambda _: None, lambda _: None, lambda _: False)
    with pytest.raises(StackRegion):
        Deployment(aws, Wishes("spotrelay", image="ami-00000000"), silent).rehearse()
    with pytest.raises(StackFailed, match="no bucket nobodys"):
        Deployment(aws, Wishes("spotrelay", bucket="nobodys"), silent).rehearse()


def test_a_bucket_taken_over(deploy: Deploy, aws: Account) -> None:
    """A bucket that is there is used as it is, in one step, and its contents stay. So what `destroy` left lives on."""
    aws.s3.create_bucket(Bucket="left-over")
    aws.s3.put_object(Bucket="left-over", Key="runs/old/run.json", Body=b"{}")
    said: list[Any] = []
    deployed = deploy(bucket="left-over", said=said)

    assert 1 == len(plans(said))
    assert "s3://left-over" == deployed.standing.outputs["StoreUrl"]
    assert set() == {"Bucket", "BucketPolicy"} & {change.resource for change in deployed.changes}
    assert b"{}" == aws.s3.get_object(Bucket="left-over", Key="runs/old/run.json")["Body"].read()
    assert () == deploy(bucket="left-over").changes


def test_another_bucket_is_asked_for(deploy: Deploy, aws: Account) -> None:
    """Who gives a stack another bucket leaves the runs in the one before, which stays: that needs a word. Otherwise a
    whole team's runs wait for ever.
    """
    for bucket in ("first", "another"):
        aws.s3.create_bucket(Bucket=bucket)
    deploy(bucket="first")
    refused = deploy(bucket="another", approve=False)

    assert (False, "first") == (refused.approved, refused.standing.bucket)
    assert "another" == deploy(bucket="another").standing.bucket
    assert deploy(bucket="another", approve=False).approved


def test_a_bucket_of_another_region(deploy: Deploy, front: Front, aws: Account) -> None:
    """It is refused, with its region, before anything is made: Lambda would not fetch its code from there."""
    far = client("s3", front, "eu-west-1")
    far.create_bucket(Bucket="far-away", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    far.close()
    with pytest.raises(StackRegion, match=r"far-away is in eu-west-1.*--region eu-west-1"):
        deploy(bucket="far-away")

    assert look(aws, "spotrelay") is None


def test_a_closed_bucket(deploy: Deploy, front: Front) -> None:
    """Names of buckets are unique in the world: what answers 403 is perhaps not ours, and that is said."""
    front.refuse("HEAD /taken", "403", status=403)
    with pytest.raises(StackDenied, match="somebody else's"):
        deploy(bucket="taken")


def test_a_launcher_that_was_stopped(deploy: Deploy, aws: Account) -> None:
    """A destruction that ended half-way has stopped the launcher, which CloudFormation does not see. A deployment
    starts it again. Otherwise all is "up to date", and no run is resumed.
    """
    function = deploy().standing.outputs["FunctionName"]
    source = aws.functions.list_event_source_mappings(FunctionName=function)["EventSourceMappings"][0]["UUID"]
    aws.functions.update_event_source_mapping(UUID=source, Enabled=False)
    said: list[Any] = []
    deployed = deploy(said=said)

    assert () == deployed.changes
    assert "the launcher takes requests again" in said
    assert "Enabled" == aws.functions.get_event_source_mapping(UUID=source)["State"]


# States to find a stack in.


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "DELETE_FAILED"])
def test_half_made_is_made_anew(deploy: Deploy, in_moto: Callable[[], Stack], aws: Account, status: str) -> None:
    """A stack that never came to life is removed, and made. CloudFormation itself can only refuse it for ever."""
    before = deploy().standing
    in_moto().status = status
    after = deploy().standing

    assert before.id != after.id
    assert "UPDATE_COMPLETE" == after.status
    assert after.outputs["FunctionName"]


def test_shell_is_filled(deploy: Deploy, aws: Account) -> None:
    """A stack that was planned and never begun (REVIEW_IN_PROGRESS) is no obstacle, though it may bear no tag yet."""
    aws.cloudformation.create_change_set(
        StackName="spotrelay",
        ChangeSetName="lost",
        ChangeSetType="CREATE",
        TemplateBody=template.text(),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": "a.b"}
            for key in (template.VERSION, template.IMAGE, template.TYPES, template.ZONES)
        ],
    )

    assert "UPDATE_COMPLETE" == deploy().standing.status


def test_interrupted_between_the_steps(deploy: Deploy, front: Front) -> None:
    """A deployment that died before the launcher came goes on there. Otherwise the first Ctrl-C costs a new bucket."""
    front.refuse("PUT /", "SlowDown", status=503)
    with pytest.raises(StackUnreachable) as caught:
        deploy()
    front.relent()
    said: list[Any] = []
    deployed = deploy(said=said)

    assert "run the same command again" in str(caught.value)
    assert "Bucket" not in {change.resource for change in deployed.changes}
    assert "Launcher" in {change.resource for change in deployed.changes}


def test_under_way_is_waited_for(deploy: Deploy, front: Front) -> None:
    """Somebody's update that runs is waited for, and then ours goes on. CloudFormation would refuse a second one."""
    deploy()
    looks = iter(["UPDATE_IN_PROGRESS"] * 3)

    def busy(body: str) -> str:
        return body.replace("UPDATE_COMPLETE<", f"{next(looks, 'UPDATE_COMPLETE')}<")

    front.rewrite("DescribeStacks", busy)
    said: list[Any] = []
    deployed = deploy(said=said, volume_gib=80)

    assert [each for each in said if isinstance(each, str) and "waiting" in each]
    assert "80" == deployed.standing.parameters[template.VOLUME_GIB]


def test_stuck_is_taken_back(deploy: Deploy, in_moto: Callable[[], Stack], front: Front) -> None:
    """A failed update whose undoing failed is taken up again; where that fails too, the message says how to give the
    resource up. Nothing else can be done to such a stack.
    """
    deploy()
    in_moto().status = "UPDATE_ROLLBACK_FAILED"
    front.refuse("ContinueUpdateRollback", "ValidationError", "cannot")
    with pytest.raises(StackFailed):
        deploy()
    front.relent()
    statuses = iter(["UPDATE_ROLLBACK_FAILED"])
    in_moto().status = "UPDATE_COMPLETE"

    def once(body: str) -> str:
        return body.replace("UPDATE_COMPLETE<", f"{next(statuses, 'UPDATE_COMPLETE')}<")

    front.rewrite("DescribeStacks", once)
    front.say("ContinueUpdateRollback", "")

    assert "80" == deploy(volume_gib=80).standing.parameters[template.VOLUME_GIB]
    assert "ContinueUpdateRollback" in front.asked

    front.rewrite("DescribeStacks", lambda body: body.replace("UPDATE_COMPLETE<", "UPDATE_ROLLBACK_FAILED<"))
    with pytest.raises(StackFailed, match="--resources-to-skip"):
        deploy()


def test_failed_creation_says_the_cause_and_is_healed(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first failure is told, not what was cancelled for it, and the second try works."""

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError(
            "Resource handler returned message: User: arn:aws:iam::1:user/me is not authorized to perform: "
            "lambda:CreateFunction on resource: launcher (Service: Lambda, Status Code: 403)"
        )

    with monkeypatch.context() as broken:
        broken.setattr(LambdaFunction, "create_from_cloudformation_json", refuse)
        said: list[Any] = []
        with pytest.raises(StackDenied, match="lambda:CreateFunction") as caught:
            deploy(said=said)

    assert str(caught.value).startswith("Launcher: ")
    assert "have lambda:CreateFunction allowed" in caught.value.next_step
    assert [each.resource for each in said if isinstance(each, Event) and each.status.endswith("_FAILED")]
    assert "UPDATE_COMPLETE" == deploy().standing.status


# What AWS refuses.


@pytest.mark.parametrize(
    ("action", "code_", "message", "kind", "remedy"),
    [
        ("GetCallerIdentity", "ExpiredToken", "The security token has expired", StackCredentials, "sign in anew"),
        ("GetCallerIdentity", "InvalidClientTokenId", "invalid", StackCredentials, "aws sts get-caller-identity"),
        ("CreateChangeSet", "ExpiredToken", "expired", StackCredentials, "run the same command again"),
        (
            "CreateChangeSet",
            "AccessDenied",
            "User: arn:aws:iam::1:user/me is not authorized to perform: cloudformation:CreateChangeSet on resource: x",
            StackDenied,
            "have cloudformation:CreateChangeSet allowed",
        ),
        ("DescribeSubnets", "UnauthorizedOperation", "no", StackDenied, "have ec2:DescribeSubnets allowed"),
        ("DescribeImages", "OptInRequired", "not subscribed", StackRegion, "enable us-east-1"),
        ("DescribeImages", "InvalidAMIID.NotFound", "none", StackRegion, "aws ec2 copy-image"),
        ("DescribeStacks", "Throttling", "Rate exceeded", StackUnreachable, "run the same command again"),
        ("GetCallerIdentity", "SignatureDoesNotMatch", "Signature expired: it is now", StackCredentials, "set it"),
        ("CreateChangeSet", "ValidationError", "is in UPDATE_IN_PROGRESS state", StackFailed, "the same command again"),
    ],
)
def test_refusals_name_the_remedy(
    deploy: Deploy, front: Front, action: str, code_: str, message: str, kind: type[StackError], remedy: str
) -> None:
    """Each refusal is told by its kind, with what to do; and done, a second deployment works."""
    front.refuse(action, code_, message)
    with pytest.raises(kind) as caught:
        deploy()
    front.relent()

    assert remedy in caught.value.next_step
    assert "UPDATE_COMPLETE" == deploy().standing.status


def test_no_credentials(front: Front, monkeypatch: pytest.MonkeyPatch, deploy: Deploy) -> None:
    """Without credentials the message says where they could come from."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StackCredentials, match="--profile"):
        deploy()


def test_no_such_profile(front: Front) -> None:
    """A misspelt profile is that, not a stack trace of botocore's."""
    with pytest.raises(StackCredentials, match="list-profiles"):
        Account(profile="nobody")


def test_no_region(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a region nothing is begun: the stack would stand where nobody looks."""
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(StackRegion, match="--region"):
        Account()


def test_both_names_of_the_region_count(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_REGION counts, and before AWS_DEFAULT_REGION, the only one that boto3 knows. Otherwise the stack stands in
    another region than the one that AWS's own CLI looks at.
    """
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with Account() as account, Account(region="ap-south-1") as chosen:
        assert (REGION, "ap-south-1") == (account.region, chosen.region)
    monkeypatch.delenv("AWS_REGION")
    with Account() as account:
        assert "eu-west-1" == account.region


def test_misspelt_region(monkeypatch: pytest.MonkeyPatch, front: Front) -> None:
    """A region that is none has no endpoint. What looks like a network that is down is called by its name."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with Account(region="eu-west-11") as account, pytest.raises(StackRegion, match="did you mean eu-west-1"):
        account.number()
    with Account(region="eu-west-1") as account, pytest.raises(StackUnreachable, match="network"):
        account.number()


def test_name_is_taken(deploy: Deploy, aws: Account) -> None:
    """A stack of that name that is somebody else's is left alone. Otherwise we replace their resources by ours."""
    theirs = '{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}'
    aws.cloudformation.create_stack(StackName="spotrelay", TemplateBody=theirs)
    with pytest.raises(StackClash, match="--stack-name"):
        deploy()

    assert theirs == json.dumps(aws.cloudformation.get_template(StackName="spotrelay")["TemplateBody"])
    assert "UPDATE_COMPLETE" == deploy(stack="ours").standing.status


def test_no_default_vpc(deploy: Deploy, aws: Account) -> None:
    """Without a default VPC nothing is made, and the message says how one is. Every launch would fail."""
    for subnet in aws.ec2.describe_subnets()["Subnets"]:
        aws.ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    with pytest.raises(StackFailed, match="create-default-vpc"):
        deploy()

    assert look(aws, "spotrelay") is None


@pytest.mark.parametrize(
    ("wishes", "kind", "said"),
    [
        ({"image": None}, UsageError, "--image"),
        ({"image": "ami-00000000"}, StackRegion, REGION),
        ({"types": ["m5.large", "m99.huge"]}, UsageError, "m99.huge not offered"),
        ({"types": ["m7g.large"]}, UsageError, "m7g.large cannot run"),
        ({"zones": ["eu-west-1a"]}, UsageError, "us-east-1a"),
        ({"bucket": "nobodys"}, StackFailed, "there is no bucket nobodys"),
        ({"volume_gib": 10}, UsageError, "takes 15 GiB, and the root volume has 10.*--volume-gib 35"),
    ],
)
def test_wrong_wishes(deploy: Deploy, aws: Account, wishes: dict[str, Any], kind: type[Exception], said: str) -> None:
    """What cannot work is refused before anything is made. Otherwise the first run finds out."""
    with pytest.raises(kind, match=said):
        deploy(**wishes)

    assert look(aws, "spotrelay") is None


def test_types_follow_the_image(deploy: Deploy) -> None:
    """An image for ARM gets types for ARM by default."""
    types = deploy(image=ARM_IMAGE).standing.parameters[template.TYPES].split(",")

    assert "m7g.large" in types
    assert "m5.large" not in types


def test_service_roles(deploy: Deploy, front: Front) -> None:
    """EC2's own roles for spot and fleets are seen to, and who may not make them is told whom to ask. Without them
    every launch is refused.
    """
    front.refuse("CreateServiceLinkedRole", "AccessDenied", "no", 403)
    said: list[Any] = []
    deploy(said=said)

    assert ["spot.amazonaws.com"] == [
        each.split("--aws-service-name ")[1].rstrip("`")
        for each in said
        if isinstance(each, str) and "--aws-service" in each
    ]


@pytest.mark.parametrize(
    ("where", "topic", "webhook"),
    [
        ("me@example.com", "notifications", ""),
        ("arn:aws:sns:us-east-1:123456789012:there", "there", ""),
        ("https://hooks.example.com/s3cret", "", "https://hooks.example.com/s3cret"),
        ("", "", ""),
    ],
)
def test_where_a_person_is_told(deploy: Deploy, aws: Account, where: str, topic: str, webhook: str) -> None:
    """The function knows one way, the last that was asked for, and keeps it when other things change. Otherwise who
    moves from mail to chat gets both, or neither."""

    def told() -> tuple[str, str]:
        name = deployed.standing.outputs["FunctionName"]
        variables = aws.functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        return variables["SPOTRELAY_NOTIFY_TOPIC"], variables["SPOTRELAY_NOTIFY_WEBHOOK"]

    deploy(notify="before@example.com" if webhook else "https://before.example.com/x")
    deployed = deploy(notify=where)
    first = told()
    deployed = deploy(volume_gib=70)

    assert first == told()
    assert webhook == first[1]
    assert topic in first[0].lower()
    assert bool(topic) == bool(first[0])


def test_a_webhook_is_a_secret(deploy: Deploy) -> None:
    """What a deployment says of itself has nothing of it. Otherwise whoever reads a build's log may write into the
    channel. (CloudFormation shows stars, too: `test_template`.)"""
    said: list[Any] = []
    wishes = Wishes("spotrelay", notify="https://hooks.example.com/s3cret")
    deploy(notify=wishes.notify, said=said)

    assert said
    assert "s3cret" not in f"{wishes} {said}"
