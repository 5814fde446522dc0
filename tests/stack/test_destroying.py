"""The end of a stack: its launcher first, its instances saved, its data left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from spotrelay.core.errors import StackClash, StackDenied, StackFailed, StackInUse
from spotrelay.stack.account import Account
from spotrelay.stack.deploying import Deployed
from spotrelay.stack.destroying import Destruction, Left
from spotrelay.stack.standing import look
from support.aws_account import Front
from support.images import IMAGE

Deploy = Callable[..., Deployed]


def destroy(aws: Account, *, force: bool = False, said: list[Any] | None = None) -> Left | None:
    told = [] if said is None else said
    destruction = Destruction(aws, "spotrelay", phase=told.append, event=told.append)
    standing = destruction.look()
    assert standing is not None
    return destruction.run(standing, force=force)


def launch(aws: Account, **tags: str) -> str:
    answer = aws.ec2.run_instances(
        ImageId=IMAGE,
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    )
    return answer["Instances"][0]["InstanceId"]


def state(aws: Account, instance: str) -> str:
    found = aws.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    return found["State"]["Name"]


def test_the_data_stays(deploy: Deploy, aws: Account) -> None:
    """The stack goes, the bucket stays, and it is said which, how much is in it, and which runs were not finished."""
    bucket = deploy().standing.outputs["BucketName"]
    for key in ("runs/one/run.json", "open/one"):
        aws.s3.put_object(Bucket=bucket, Key=key, Body=b"12345")
    left = destroy(aws)

    assert left is not None
    assert look(aws, "spotrelay") is None
    assert (bucket, 3, ("one",), False) == (left.bucket, left.objects, left.unfinished, left.more)
    assert b"12345" == aws.s3.get_object(Bucket=bucket, Key="runs/one/run.json")["Body"].read()


def test_and_lives_on(deploy: Deploy, aws: Account) -> None:
    """Deployed again with that bucket, the runs are there; under the same name, at once."""
    bucket = deploy().standing.outputs["BucketName"]
    destroy(aws)

    assert f"s3://{bucket}" == deploy(bucket=bucket).standing.outputs["StoreUrl"]


def test_the_living_are_named(deploy: Deploy, aws: Account) -> None:
    """While instances of the stack are alive nothing is touched. Otherwise they lose the role that they save with."""
    outputs = deploy().standing.outputs
    ours, other = launch(aws, **{"spotrelay:stack": "spotrelay"}), launch(aws, **{"spotrelay:stack": "another"})
    with pytest.raises(StackInUse, match=ours) as caught:
        destroy(aws)
    source = aws.functions.list_event_source_mappings(FunctionName=outputs["FunctionName"])["EventSourceMappings"][0]

    assert other not in caught.value.what
    assert "--force" in caught.value.next_step
    assert "Enabled" == source["State"]
    assert look(aws, "spotrelay") is not None


def test_the_launcher_stops_before_the_instances(deploy: Deploy, aws: Account, front: Front) -> None:
    """By force: first the launcher, then the instances, then the stack. In any other order an instance that is ended
    asks for a successor and gets one, or loses its role before it has saved.
    """
    deploy()
    ours, other = launch(aws, **{"spotrelay:stack": "spotrelay"}), launch(aws, Name="somebody's")
    front.asked.clear()
    destroy(aws, force=True)
    steps = [each.split("/")[0] for each in front.asked if each.startswith(("PUT ", "Terminate", "DeleteStack"))]

    assert ["PUT ", "TerminateInstances", "DeleteStack"] == steps
    assert ("terminated", "running") == (state(aws, ours), state(aws, other))
    assert look(aws, "spotrelay") is None


def test_not_ours(aws: Account) -> None:
    """A stack of that name that is somebody else's is not deleted, whatever is forced."""
    theirs = '{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}'
    aws.cloudformation.create_stack(StackName="spotrelay", TemplateBody=theirs)
    with pytest.raises(StackClash):
        destroy(aws, force=True)

    assert look(aws, "spotrelay") is not None


def test_denied_half_way_and_again(deploy: Deploy, aws: Account, front: Front) -> None:
    """A destruction that was refused half-way names what is missing, and ends by a second try."""
    deploy()
    front.refuse("DeleteStack", "AccessDenied", "not authorized to perform: cloudformation:DeleteStack", 403)
    with pytest.raises(StackDenied, match="cloudformation:DeleteStack"):
        destroy(aws)
    front.relent()
    destroy(aws)

    assert look(aws, "spotrelay") is None


def test_half_made(deploy: Deploy, aws: Account, front: Front) -> None:
    """What a first deployment left half-way can be removed as well."""
    front.refuse("PUT /", "AccessDenied", "no", 403)
    with pytest.raises(StackDenied):
        deploy()
    front.relent()

    assert destroy(aws) is not None
    assert look(aws, "spotrelay") is None


def test_protected(deploy: Deploy, aws: Account, front: Front) -> None:
    """A stack that its owner protects is refused at once, with the command. Otherwise its launcher is stopped, its
    instances are ended, and only then CloudFormation says no.
    """
    deploy()
    protection = "<EnableTerminationProtection>{}<"
    front.replace("DescribeStacks", protection.format("false"), protection.format("true"))
    machine = launch(aws, **{"spotrelay:stack": "spotrelay"})
    with pytest.raises(StackFailed, match=r"update-termination-protection --no-enable.* --region us-east-1"):
        destroy(aws, force=True)

    assert "running" == state(aws, machine)
    assert not [each for each in front.asked if each.startswith("PUT /2015-03-31/event-source")]


def test_under_way_is_waited_for(deploy: Deploy, aws: Account, front: Front) -> None:
    """A deployment that runs is waited for, and its stack removed. CloudFormation deletes nothing that it updates."""
    deploy()
    looks = iter(["UPDATE_IN_PROGRESS"] * 3)
    front.rewrite("DescribeStacks", lambda body: body.replace("UPDATE_COMPLETE<", f"{next(looks, 'UPDATE_COMPLETE')}<"))
    said: list[Any] = []
    destroy(aws, said=said)

    assert "spotrelay is UPDATE_IN_PROGRESS: waiting for it" == said[0]
    assert next(looks, None) is None
    assert look(aws, "spotrelay") is None


def test_many_are_counted(deploy: Deploy, aws: Account, front: Front) -> None:
    """Of many instances a few are named, and while they end that is said once. Otherwise it is all that can be seen."""
    deploy()
    machines = [launch(aws, **{"spotrelay:stack": "spotrelay"}) for _ in range(7)]
    looks = iter(range(4))

    def dying(body: str) -> str:
        return body.replace("<name>terminated<", f"<name>{'shutting-down' if next(looks, None) else 'terminated'}<")

    front.rewrite("DescribeInstances", dying)
    said: list[Any] = []
    destroy(aws, force=True, said=said)
    named = ", ".join(sorted(machines)[:5])

    assert [
        f"ending 7 instances ({named}, …): each saves first",
        f"waiting for 7 instances ({named}, …) to be gone",
    ] == [each for each in said if "instances" in str(each)]
