"""Enforcement over the wire: unmodified boto3 as a role, moto and the control plane behind, refusals as AWS has them.

The role here is a small one of the test's own. What the stack's roles may is in test_least_privilege.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from spotrelay.local.server import ControlPlane
from support.cloud_plane import IMAGE, base64_text, fleet, tagged
from support.iam.front import Front, Keys
from support.iam.policies import Policy
from support.moto_server import moto_server

ACCOUNT = "123456789012"
EC2 = f"arn:aws:ec2:us-east-1:{ACCOUNT}:"
PROFILE = f"arn:aws:iam::{ACCOUNT}:instance-profile/agent"
LAUNCHED = ("instance/*", "volume/*", "network-interface/*", "subnet/*", "security-group/*")


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as endpoint:
        yield endpoint


class Desk:
    """A front, and clients of it by role."""

    def __init__(self, front: Front, plane: ControlPlane, moto: str, stack: ExitStack) -> None:
        self.front, self.plane, self._moto, self._stack = front, plane, moto, stack

    def client(self, service: str, keys: Keys, endpoint: str = "") -> Any:
        session = boto3.Session(keys.access_key, keys.secret_key, keys.session_token, region_name="us-east-1")
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        made = session.client(service, endpoint_url=endpoint or self.front.endpoint, config=config)
        self._stack.callback(made.close)
        return made

    async def role(self, *statements: dict[str, Any]) -> Keys:
        """A role with this one policy, and keys of a session of it."""
        iam = self.client("iam", self.front.person())
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})

        def make() -> None:
            for existing in iam.list_roles()["Roles"]:
                if existing["RoleName"] == "agent":
                    iam.put_role_policy(RoleName="agent", PolicyName="own", PolicyDocument=document)
                    return
            iam.create_role(RoleName="agent", AssumeRolePolicyDocument="{}")
            iam.create_instance_profile(InstanceProfileName="agent")
            iam.add_role_to_instance_profile(InstanceProfileName="agent", RoleName="agent")
            iam.put_role_policy(RoleName="agent", PolicyName="own", PolicyDocument=document)

        await asyncio.to_thread(make)
        await self.front.learn_profile(PROFILE)
        return await self.front.keys("agent", session="i-0123456789abcdef0")

    async def bucket(self, name: str) -> str:
        await asyncio.to_thread(self.client("s3", self.front.person()).create_bucket, Bucket=name)
        return name


@pytest.fixture
async def desk(moto: str) -> AsyncIterator[Desk]:
    plane = ControlPlane()
    await plane.start()
    front = Front(plane, moto)
    await front.start()
    front.carrying = True
    with ExitStack() as stack:
        yield Desk(front, plane, moto, stack)
    await front.close()
    await plane.close()


def allow(action: str | list[str], *resources: str, **condition: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": action, "Resource": list(resources) or "*"}
    return {**statement, "Condition": condition} if condition else statement


async def said(method: Any, **params: Any) -> tuple[str, int]:
    """The error's code and the HTTP status, as boto3 has them; ("", 200) for a yes."""
    try:
        answer = await asyncio.to_thread(method, **params)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "", answer["ResponseMetadata"]["HTTPStatusCode"] and 200


def read(s3: Any, asked: dict[str, str]) -> bytes:
    return bytes(s3.get_object(**asked)["Body"].read())


async def test_objects_below_the_prefix_and_no_others(desk: Desk) -> None:
    """Read and written there, refused elsewhere, with S3's own code; and deleted nowhere."""
    bucket = await desk.bucket("prefixes")
    keys = await desk.role(allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/runs/*"))
    s3 = desk.client("s3", keys)
    asked = {"Bucket": bucket, "Key": "runs/a"}

    assert ("", 200) == await said(s3.put_object, Body=b"1" * 100_000, **asked)
    assert b"1" * 100_000 == await asyncio.to_thread(read, s3, asked)
    assert 100_000 == (await asyncio.to_thread(s3.head_object, **asked))["ContentLength"]
    assert ("AccessDenied", 403) == await said(s3.put_object, Bucket=bucket, Key="launches/a", Body=b"")
    assert ("AccessDenied", 403) == await said(s3.get_object, Bucket="other", Key="runs/a")
    assert ("403", 403) == await said(s3.head_object, Bucket=bucket, Key="launches/a")
    assert ("AccessDenied", 403) == await said(s3.delete_object, **asked)
    assert ("AccessDenied", 403) == await said(
        s3.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": "runs/a"}]}
    )
    copy = {"Bucket": bucket, "Key": "launches/a"}
    assert ("AccessDenied", 403) == await said(s3.copy_object, Bucket=bucket, Key="runs/b", CopySource=copy)
    assert [] == desk.front.problems


async def test_conditional_writes_pass_unharmed(desk: Desk) -> None:
    """The second to create is told so. Otherwise nothing that rests on create-only objects could be tested here."""
    bucket = await desk.bucket("creating")
    s3 = desk.client("s3", await desk.role(allow("s3:PutObject", f"arn:aws:s3:::{bucket}/*")))
    asked = {"Bucket": bucket, "Key": "claim", "IfNoneMatch": "*"}

    assert ("", 200) == await said(s3.put_object, Body=b"1", **asked)
    assert ("PreconditionFailed", 412) == await said(s3.put_object, Body=b"2", **asked)


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (None, ("AccessDenied", 403)),
        ({"StringLike": {"s3:prefix": "runs/*"}}, ("AccessDenied", 403)),
        ({"StringLikeIfExists": {"s3:prefix": "runs/*"}}, ("NoSuchKey", 404)),
        ({}, ("NoSuchKey", 404)),
    ],
)
async def test_a_missing_object_is_told_to_who_may_list(
    desk: Desk, listing: dict[str, Any] | None, expected: tuple[str, int]
) -> None:
    """404 for who may know what there is, 403 for others. Otherwise "no claim yet" becomes an error on AWS alone."""
    bucket = await desk.bucket("missing")
    statements = [allow("s3:GetObject", f"arn:aws:s3:::{bucket}/runs/*")]
    if listing is not None:
        statements.append(allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", **listing))
    s3 = desk.client("s3", await desk.role(*statements))

    assert expected == await said(s3.get_object, Bucket=bucket, Key="runs/none")


async def test_listing_within_the_prefix(desk: Desk) -> None:
    """`s3:prefix` is what the request asks for."""
    bucket = await desk.bucket("listing")
    condition = {"StringLike": {"s3:prefix": "runs/*"}}
    s3 = desk.client("s3", await desk.role(allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", **condition)))

    assert ("", 200) == await said(s3.list_objects_v2, Bucket=bucket, Prefix="runs/a/")
    assert ("AccessDenied", 403) == await said(s3.list_objects_v2, Bucket=bucket, Prefix="launches/")
    assert ("AccessDenied", 403) == await said(s3.list_objects_v2, Bucket=bucket)
    assert ("AccessDenied", 403) == await said(s3.list_buckets)


async def test_multipart_uploads_are_puts_but_for_giving_up(desk: Desk) -> None:
    """Begin, part and end are PutObject; abort is a right of its own. Otherwise large files fail on AWS alone."""
    bucket = await desk.bucket("parts")
    s3 = desk.client("s3", await desk.role(allow("s3:PutObject", f"arn:aws:s3:::{bucket}/*")))
    asked = {"Bucket": bucket, "Key": "large"}

    def upload() -> str:
        upload: str = s3.create_multipart_upload(**asked)["UploadId"]
        part = s3.upload_part(**asked, UploadId=upload, PartNumber=1, Body=b"1")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(**asked, UploadId=upload, MultipartUpload=parts)
        return str(s3.create_multipart_upload(**asked)["UploadId"])

    upload_id = await asyncio.to_thread(upload)
    assert ("AccessDenied", 403) == await said(s3.abort_multipart_upload, **asked, UploadId=upload_id)
    assert ("AccessDenied", 403) == await said(s3.list_parts, **asked, UploadId=upload_id)


async def test_a_buckets_own_policy_denies_the_person_too(desk: Desk) -> None:
    """An explicit deny hits who may do everything. Loopback counts as TLS."""
    bucket = await desk.bucket("denying")
    plain = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}
    tls = {**plain, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    s3 = desk.client("s3", desk.front.person())
    desk.front.resource_policies.buckets[bucket] = [Policy("bucket", {"Statement": [tls]})]
    before = await said(s3.list_objects_v2, Bucket=bucket)
    desk.front.resource_policies.buckets[bucket] = [Policy("bucket", {"Statement": [plain]})]

    assert (("", 200), ("AccessDenied", 403)) == (before, await said(s3.list_objects_v2, Bucket=bucket))


async def test_queues(desk: Desk) -> None:
    """One queue, one action; a batch is the same right; the refusal is SQS's."""
    sqs_of_person = desk.client("sqs", desk.front.person())
    urls = [
        (await asyncio.to_thread(sqs_of_person.create_queue, QueueName=name))["QueueUrl"] for name in ("own", "other")
    ]
    sqs = desk.client("sqs", await desk.role(allow("sqs:SendMessage", f"arn:aws:sqs:us-east-1:{ACCOUNT}:own")))
    entries = [{"Id": "1", "MessageBody": "ring"}]

    assert ("", 200) == await said(sqs.send_message, QueueUrl=urls[0], MessageBody="ring")
    assert ("", 200) == await said(sqs.send_message_batch, QueueUrl=urls[0], Entries=entries)
    assert ("AccessDenied", 400) == await said(sqs.send_message, QueueUrl=urls[1], MessageBody="ring")
    assert ("AccessDenied", 400) == await said(sqs.receive_message, QueueUrl=urls[0])
    assert ("AccessDenied", 400) == await said(sqs.get_queue_attributes, QueueUrl=urls[0], AttributeNames=["All"])


async def test_nobodys_keys_are_refused(desk: Desk) -> None:
    """And noted. Otherwise a client that found somebody's environment passes for its role."""
    s3 = desk.client("s3", Keys("AKIANOBODY", "secret", "token"))

    assert 403 == (await said(s3.list_buckets))[1]
    assert 1 == len(desk.front.problems)


async def test_what_it_has_no_rule_for_is_a_problem(desk: Desk) -> None:
    """Neither forwarded nor denied, and noted. Otherwise a new call is allowed unread."""
    ec2 = desk.client("ec2", await desk.role(allow("*")))

    assert 403 == (await said(ec2.create_vpc, CidrBlock="10.0.0.0/16"))[1]
    assert 1 == len(desk.front.problems)


# --- EC2

TAGS = {"StringEquals": {"aws:RequestTag/stack": "mine"}}


def launching(template: str, /, **changes: dict[str, Any] | None) -> list[dict[str, Any]]:
    """What a fleet from this template needs, by name; `changes` puts others in their place, or none."""
    only = {"ArnEquals": {"ec2:LaunchTemplate": f"{EC2}launch-template/{template}"}}
    actions = {"ec2:CreateAction": ["RunInstances", "CreateFleet"]}
    passed = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    made = {"StringEquals": {**TAGS["StringEquals"], **actions}}
    statements: dict[str, dict[str, Any] | None] = {
        "fleet": allow("ec2:CreateFleet", f"{EC2}fleet/*", f"{EC2}instance/*", f"{EC2}launch-template/{template}"),
        "run": allow("ec2:RunInstances", *(EC2 + each for each in LAUNCHED), "arn:aws:ec2:us-east-1::image/*", **only),
        "template": allow("ec2:RunInstances", f"{EC2}launch-template/{template}"),
        "spot": allow("ec2:RunInstances", f"{EC2}spot-instances-request/*"),
        "tags": allow("ec2:CreateTags", f"{EC2}instance/*", f"{EC2}volume/*", **made),
        "role": allow("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/agent", **passed),
        **changes,
    }
    return [each for each in statements.values() if each is not None]


def template_of(desk: Desk, name: str = "relay") -> str:
    data = {
        "ImageId": IMAGE,
        "IamInstanceProfile": {"Arn": PROFILE},
        "TagSpecifications": tagged("volume", stack="mine"),
    }
    made = desk.plane.ec2.templates.create({"LaunchTemplateName": name, "LaunchTemplateData": data})
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


async def launch(desk: Desk, template: str, statements: list[dict[str, Any]], **params: Any) -> list[str]:
    """The codes of what a fleet is refused for; empty when an instance came."""
    ec2 = desk.client("ec2", await desk.role(*statements))
    wanted = fleet(template, ("m5.large", "a"), TagSpecifications=tagged(stack="mine"), **params)
    try:
        answer = await asyncio.to_thread(ec2.create_fleet, **wanted)
    except ClientError as error:
        return [error.response["Error"]["Code"]]
    assert bool(answer["Instances"]) != bool(answer["Errors"])
    return [error["ErrorCode"] for error in answer["Errors"]]


async def test_a_fleet_launches_with_every_right_it_needs(desk: Desk) -> None:
    """Nothing of the list is too little."""
    template = template_of(desk)

    assert [] == await launch(desk, template, launching(template))
    assert 1 == len(desk.plane.ec2.instances)
    assert [] == desk.front.problems


@pytest.mark.parametrize("missing", ["fleet", "run", "template", "spot", "tags", "role"])
async def test_a_fleet_needs_each_of_them(desk: Desk, missing: str) -> None:
    """Nor too much: without any one of them nothing starts. Otherwise PassRole is missing on AWS alone."""
    template = template_of(desk)

    assert ["UnauthorizedOperation"] == await launch(desk, template, launching(template, **{missing: None}))
    assert 0 == len(desk.plane.ec2.instances)


async def test_a_fleet_of_another_template(desk: Desk) -> None:
    """The role launches its own template, not one with another role in it."""
    own, other = template_of(desk), template_of(desk, "other")

    assert ["UnauthorizedOperation"] == await launch(desk, other, launching(own))


async def test_a_fleet_without_the_tag(desk: Desk) -> None:
    """An instance that carries no tag of ours could not be found again, and is not launched."""
    template = template_of(desk)
    tagged_only = allow("ec2:CreateFleet", f"{EC2}instance/*", **TAGS)
    rest = allow("ec2:CreateFleet", f"{EC2}fleet/*", f"{EC2}launch-template/*")
    statements = [*launching(template, fleet=tagged_only), rest]

    assert [] == await launch(desk, template, statements)
    wanted = fleet(template, ("m5.large", "a"))
    ec2 = desk.client("ec2", await desk.role(*statements))
    assert ("UnauthorizedOperation", 403) == await said(ec2.create_fleet, **wanted)


async def test_naming_an_image_beside_the_template(desk: Desk) -> None:
    """`ec2:IsLaunchTemplateResource` tells what the request says itself. Otherwise any image runs with our role."""
    template = template_of(desk)
    whole = {"ArnEquals": {"ec2:LaunchTemplate": f"{EC2}launch-template/{template}"}}
    whole |= {"Bool": {"ec2:IsLaunchTemplateResource": "true"}}
    statements = [*launching(template, run=None), allow("ec2:RunInstances", "*", **whole)]
    ec2 = desk.client("ec2", await desk.role(*statements))
    order = {"LaunchTemplate": {"LaunchTemplateId": template}, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}

    assert ("", 200) == await said(ec2.run_instances, **order)
    assert ("UnauthorizedOperation", 403) == await said(ec2.run_instances, ImageId="ami-0bad00000000bad00", **order)
    alone = {**order, "ImageId": IMAGE, "UserData": base64_text("x")}
    del alone["LaunchTemplate"]
    assert ("UnauthorizedOperation", 403) == await said(ec2.run_instances, **alone)


async def test_terminating_by_tag(desk: Desk) -> None:
    """Ours by its tag, and nobody else's, also in one call."""
    person = desk.client("ec2", desk.front.person())
    ids = []
    for tags in ({"stack": "mine"}, {"stack": "other"}, {}):
        order = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
        order |= {"TagSpecifications": tagged(**tags)} if tags else {}
        answer = await asyncio.to_thread(person.run_instances, **order)
        ids.append(answer["Instances"][0]["InstanceId"])
    condition = {"StringEquals": {"aws:ResourceTag/stack": "mine"}}
    ec2 = desk.client("ec2", await desk.role(allow("ec2:TerminateInstances", f"{EC2}instance/*", **condition)))

    assert ("UnauthorizedOperation", 403) == await said(ec2.terminate_instances, InstanceIds=ids)
    assert ("UnauthorizedOperation", 403) == await said(ec2.terminate_instances, InstanceIds=ids[1:2])
    assert ("UnauthorizedOperation", 403) == await said(ec2.terminate_instances, InstanceIds=ids[2:])
    assert ("", 200) == await said(ec2.terminate_instances, InstanceIds=ids[:1])
    wanted = {"Resources": ids[1:2], "Tags": [{"Key": "stack", "Value": "mine"}]}
    assert ("UnauthorizedOperation", 403) == await said(ec2.create_tags, **wanted)
