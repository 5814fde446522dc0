"""What the checks stand on: the account, the stack, the Lambda's settings, the launch template, the image.

Each is asked for when the first check needs it, and once. What is asked here raises as AWS answers; what that means to
a person is the business of the check whose subject it is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from spotrelay.doctor.known import Known, Missing
from spotrelay.stack import clients, standing
from spotrelay.stack.clients import Clients
from spotrelay.stack.meanings import Meaning, meaning
from spotrelay.stack.standing import Standing

# An answer takes 0.2 s from another continent. A service behind a firewall that swallows packets costs 2 × 2 s to
# connect, one that hangs 2 × 6 s; all checks run at once, so that is also what an examination takes at most per step
# of its longest chain. Two attempts: one lost packet is no finding.
PATIENCE = Config(
    connect_timeout=2, read_timeout=6, retries={"mode": "standard", "total_max_attempts": 2}, max_pool_connections=20
)

# What a stack of ours tells. One that lacks some of these is half-made; FunctionName comes last of all.
OUTPUTS = frozenset(
    {
        "BucketName",
        "QueueUrl",
        "DeadLetterQueueUrl",
        "LaunchTemplateId",
        "LaunchTemplateVersion",
        "FunctionName",
        "InstanceRoleArn",
        "LauncherLogGroup",
        "StackVersion",
    }
)
# A region that no account has to enable, by partition: there it shows whether credentials are good at all.
_HOME = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
# What a region says that does not know the account, however good its keys are.
UNKNOWN_HERE = frozenset({Meaning.UNKNOWN_KEY, Meaning.NOT_ENABLED})


class NoRegion(Missing):
    """Nobody said which region, or said something that is none."""


class RegionNotEnabled(Missing):
    """The credentials are good, and this region does not know the account."""


class NoStack(Missing):
    """There is none of that name in the region."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for. Empty: as the stack, or boto3's own chain, has it."""

    stack: str
    region: str = ""
    profile: str = ""
    types: tuple[str, ...] = ()
    on_demand: bool = False
    drift: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    account: str
    arn: str


class Ground:
    """`pause` is what passes time between two looks at something that CloudFormation is still working on."""

    def __init__(self, asked: Asked, pause: Callable[[float], None] = time.sleep) -> None:
        self.asked = asked
        self.pause = pause
        self.session = Known("credentials", self._ask_session)
        self.region = Known("a region", self._ask_region)
        self.client = Clients(self.session.get, self.region.get, PATIENCE)
        self.caller = Known("credentials", self._ask_caller)
        self.stack = Known("the stack", self._ask_stack)
        self.outputs = Known("the stack", self._ask_outputs)
        self.function = Known("the function", self._ask_function)
        self.template = Known("the launch template", self._ask_template)
        self.image = Known("the image", self._ask_image)
        self.kinds = Known("the instance types", self._ask_kinds)
        self.zones = Known("the zones", self._ask_zones)

    def aws(self, words: str, *, region: str = "") -> str:
        """A command of AWS's CLI that means this region (or that one) and these credentials, to copy."""
        return f"aws {words}{self._where(region or self.region.get())}"

    def spotrelay(self, command: str, *, stack: str = "", region: str = "") -> str:
        """A command of ours about this stack; or about another one, or in another region."""
        name = f" --stack-name {stack or self.asked.stack}"
        return f"spotrelay {command}{name}{self._where(region or self.asked.region)}"

    def deploy_first(self) -> str:
        """A first deployment names its image."""
        return f"{self.spotrelay('deploy')} --image ami-…"

    def anew(self) -> str:
        """For what was deleted behind CloudFormation's back: it believes in that, and an update would change nothing.
        The bucket outlives its stack, and the new one takes it over with all runs in it."""
        stack = self.stack.get()
        image, bucket = stack.parameters.get("ImageId", "ami-…"), stack.outputs.get("BucketName", "…")
        return f"{self.spotrelay('destroy')} && {self.spotrelay('deploy')} --image {image} --bucket {bucket}"

    def _where(self, region: str) -> str:
        return (f" --region {region}" if region else "") + (
            f" --profile {self.asked.profile}" if self.asked.profile else ""
        )

    def types(self) -> tuple[str, ...]:
        """The instance types that were asked about, or that runs get which name none. Raises Missing."""
        types = self.asked.types or words(self.environment().get("SPOTRELAY_TYPES", ""))
        if not types:
            raise Missing("instance types (--types)")
        return types

    def environment(self) -> dict[str, str]:
        """The Lambda's. Raises Missing."""
        return dict(self.function.get().get("Environment", {}).get("Variables", {}))

    def close(self) -> None:
        self.client.close()

    def _ask_session(self) -> boto3.Session:
        return clients.session(self.asked.region, self.asked.profile)

    def _ask_region(self) -> str:
        region = self.session.get().region_name
        if not region:
            raise NoRegion("a region")
        return region

    def _ask_caller(self) -> Caller:
        region = self.region.get()
        try:
            answer = self.client("sts").get_caller_identity()
        except botocore.exceptions.ClientError as error:
            home = self.home()
            if meaning(error) not in UNKNOWN_HERE or region == home:
                raise
            try:  # a region that the account has not enabled refuses good keys with the same words as bad ones
                self.client("sts", home).get_caller_identity()
            except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
                raise error from None
            raise RegionNotEnabled("an enabled region") from error
        except botocore.exceptions.InvalidRegionError as error:
            raise NoRegion("a region that exists") from error
        return Caller(answer["Account"], answer["Arn"])

    def home(self) -> str:
        return _HOME.get(self.session.get().get_partition_for_region(self.region.get()), "us-east-1")

    def _ask_stack(self) -> Standing:
        self.caller.get()
        found = standing.find(self.client("cloudformation"), self.asked.stack)
        if found is None:
            raise NoStack("the stack")
        return found

    def _ask_outputs(self) -> dict[str, str]:
        outputs = self.stack.get().outputs
        if not outputs.keys() >= OUTPUTS:
            raise Missing("a stack that is complete")
        return outputs

    def _ask_function(self) -> dict[str, Any]:
        name = self.outputs.get()["FunctionName"]
        return dict(self.client("lambda").get_function_configuration(FunctionName=name))

    def _ask_template(self) -> dict[str, Any]:
        """The launch template's data, of the version that the launcher uses."""
        outputs = self.outputs.get()
        answer = self.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=outputs["LaunchTemplateId"], Versions=[outputs["LaunchTemplateVersion"]]
        )
        return dict(answer["LaunchTemplateVersions"][0]["LaunchTemplateData"])

    def _ask_image(self) -> dict[str, Any]:
        [image] = self.client("ec2").describe_images(ImageIds=[self.template.get().get("ImageId", "")])["Images"]
        return dict(image)

    def _ask_kinds(self) -> dict[str, dict[str, Any]]:
        """What EC2 says of each type. By filter: asked by name, one unknown type makes all of them an error."""
        self.caller.get()
        pages = self.client("ec2").get_paginator("describe_instance_types")
        named = [{"Name": "instance-type", "Values": list(self.types())}]
        return {each["InstanceType"]: each for page in pages.paginate(Filters=named) for each in page["InstanceTypes"]}

    def _ask_zones(self) -> tuple[str, ...]:
        """Where the launcher looks: what it was told; before it is there, every ordinary zone of the region."""
        self.caller.get()
        with contextlib.suppress(Missing):
            if told := words(self.environment().get("SPOTRELAY_ZONES", "")):
                return told
        ordinary = [{"Name": "zone-type", "Values": ["availability-zone"]}]
        zones = self.client("ec2").describe_availability_zones(Filters=ordinary)["AvailabilityZones"]
        return tuple(sorted(zone["ZoneName"] for zone in zones))


def words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
