"""Launch template, image and roles: what an instance is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import spotrelay
from spotrelay.doctor.finding import Finding, State
from support.aws_account import Front
from support.images import IMAGE

Look = Callable[..., list[Finding]]
Only = Callable[..., Finding]
Ask = Callable[[str], Any]
DEPLOY = "spotrelay deploy --stack-name relay"


def test_a_launch_template_that_was_deleted(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    ask("ec2").delete_launch_template(LaunchTemplateId=outputs["LaunchTemplateId"])
    finding = only("launch template")

    assert State.PROBLEM == finding.state
    assert "somebody deleted it by hand" in finding.what
    assert finding.command.startswith("spotrelay destroy --stack-name relay && ")
    assert f"--bucket {outputs['BucketName']}" in finding.command


def test_instances_that_would_stop_instead_of_end(front: Front, outputs: dict[str, str], only: Only) -> None:
    """Each would leave a disk that is billed for ever."""
    shutdown = "<instanceInitiatedShutdownBehavior>{}<"
    front.replace("DescribeLaunchTemplateVersions", shutdown.format("terminate"), shutdown.format("stop"))

    assert (State.PROBLEM, DEPLOY) == ((finding := only("launch template")).state, finding.command)


def test_an_image_that_is_gone(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """Deregistered: every launch fails from now on, and nothing else says so."""
    ask("ec2").deregister_image(ImageId=IMAGE)
    finding = only("image")

    assert State.PROBLEM == finding.state
    assert finding.what.startswith(f"the image {IMAGE} is not there")
    assert f"{DEPLOY} --image ami-…" == finding.command
    assert (State.SKIPPED, "it needs the image") == ((other := only("agent")).state, other.what)


def test_an_image_that_ec2_leaves_out(front: Front, outputs: dict[str, str], only: Only) -> None:
    """An empty list is no answer that the others could stand on."""
    front.rewrite(
        "DescribeImages", lambda body: body[: body.index("<imagesSet>")] + "<imagesSet/></DescribeImagesResponse>"
    )

    assert State.PROBLEM == only("image").state


@pytest.mark.parametrize(
    ("old", "new", "state", "what"),
    [
        ("<imageState>available<", "<imageState>failed<", State.PROBLEM, "it is failed"),
        (
            "<imageState>",
            "<deprecationTime>2020-01-01T00:00:00.000Z</deprecationTime><imageState>",
            State.WARNING,
            "2020",
        ),
    ],
)
def test_an_image_that_will_not_do_for_long(
    old: str, new: str, state: State, what: str, front: Front, outputs: dict[str, str], only: Only
) -> None:
    front.replace("DescribeImages", old, new)
    finding = only("image")

    assert state == finding.state
    assert what in finding.what
    assert f"{DEPLOY} --image ami-…" == finding.command


def test_types_that_cannot_boot_the_image(front: Front, outputs: dict[str, str], only: Only) -> None:
    """An x86 image on a Graviton: EC2 tells it only to the launcher, pool by pool."""
    finding = only("architecture", types=("m5.large", "m6g.large", "c7g.large"))

    assert State.PROBLEM == finding.state
    assert "the image is for x86_64, and c7g.large, m6g.large cannot boot it" == finding.what
    assert finding.command.startswith(f"{DEPLOY} --types ")


def tag(ask: Ask, version: str) -> None:
    ask("ec2").create_tags(Resources=[IMAGE], Tags=[{"Key": "spotrelay:version", "Value": version}])


@pytest.mark.parametrize(
    ("version", "state", "command"),
    [
        (spotrelay.__version__, State.OK, ""),
        ("0.0.1", State.WARNING, f"{DEPLOY} --image ami-…"),
        ("10.0.0", State.WARNING, "pip install --upgrade 'spotrelay>=10.0.0'"),
    ],
)
def test_the_agents_version(
    version: str, state: State, command: str, front: Front, outputs: dict[str, str], only: Only, ask: Ask
) -> None:
    """The agent is baked in: a deployment of a newer stack does not renew it."""
    tag(ask, version)

    assert (state, command) == ((finding := only("agent")).state, finding.command)


def test_an_image_that_does_not_say_what_is_in_it(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """Perhaps it is somebody's favourite Ubuntu: every instance of it would end at once, for want of an agent."""
    ask("ec2").delete_tags(Resources=[IMAGE], Tags=[{"Key": "spotrelay:version"}])
    finding = only("agent")

    assert State.WARNING == finding.state
    assert finding.command.startswith(f"aws ec2 create-tags --resources {IMAGE} --tags Key=spotrelay:version,Value=")


def test_the_tags_of_a_shared_image_are_not_seen(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """AWS shows them to its owner alone. Otherwise a good image would be called one without an agent."""
    ask("ec2").delete_tags(Resources=[IMAGE], Tags=[{"Key": "spotrelay:version"}])
    front.replace("DescribeImages", "<imageOwnerId>123456789012<", "<imageOwnerId>210987654321<")
    finding = only("agent")

    assert State.UNKNOWN == finding.state
    assert "account 210987654321" in finding.what
    assert f"spotrelay-{spotrelay.__version__}" in finding.detail


def test_a_root_disk_smaller_than_the_image(front: Front, outputs: dict[str, str], only: Only) -> None:
    """EC2 refuses every launch then."""
    front.replace("DescribeImages", "<volumeSize>15<", "<volumeSize>80<")
    finding = only("root disk")

    assert (State.PROBLEM, f"{DEPLOY} --volume-gib 100") == (finding.state, finding.command)
    assert "the root disk has 50 GiB, the image needs 80" in finding.what


def test_a_root_disk_of_another_name(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """It would come beside the root, empty, and the run on the small one."""
    front.replace("DescribeImages", "/dev/sda1", "/dev/xvda")
    finding = only("root disk")

    assert (State.PROBLEM, f"{DEPLOY} --image {IMAGE}") == (finding.state, finding.command)


def test_service_roles_that_are_missing(front: Front, outputs: dict[str, str], look: Look, ask: Ask) -> None:
    """A new account has none until somebody with the right to make them launches spot instances by hand."""
    ask("iam").delete_role(RoleName="AWSServiceRoleForEC2Spot")
    [finding] = look("service role")

    assert State.PROBLEM == finding.state
    command = "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com --region us-east-1"
    assert command == finding.command


def test_an_instance_profile_without_its_role(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """Instances would boot, fail to claim their run, and end, again and again."""
    [profile] = ask("iam").list_instance_profiles()["InstanceProfiles"]
    name, role = profile["InstanceProfileName"], outputs["InstanceRoleArn"].rsplit("/", 1)[-1]
    ask("iam").remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role)
    finding = only("instance role")

    assert State.PROBLEM == finding.state
    expected = f"aws iam add-role-to-instance-profile --instance-profile-name {name} --role-name {role}"
    assert f"{expected} --region us-east-1" == finding.command


def test_an_instance_profile_that_was_deleted(front: Front, outputs: dict[str, str], only: Only) -> None:
    front.refuse("GetInstanceProfile", "NoSuchEntity", status=404)
    finding = only("instance role")

    assert State.PROBLEM == finding.state
    assert "somebody deleted it by hand" in finding.what
    assert f"--bucket {outputs['BucketName']}" in finding.command
