"""What moto and our control plane both do right, held to one examination, so that our wire cannot drift unseen.

moto is an independent reading of the same API. Where it departs from EC2 and SQS (tokens, template merge, fleets,
receipt handles, and more) it is not asked; `tests/local` holds those promises for ours alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from spotrelay.local.server import ControlPlane
from support.cloud_plane import IMAGE, Client, base64_text, eventually, refusal, spot, status_of, tagged


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclass
class Clients:
    sqs: Client
    ec2: Client
    name: str

    async def queue(self, **attributes: str) -> str:
        return (await self.sqs.create_queue(QueueName=self.name, Attributes=attributes))["QueueUrl"]

    async def run(self, **params: Any) -> dict[str, Any]:
        asked = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, **params}
        return (await self.ec2.run_instances(**asked))["Instances"][0]

    async def find(self, **params: Any) -> list[dict[str, Any]]:
        answer = await self.ec2.describe_instances(**params)
        return [each for reservation in answer["Reservations"] for each in reservation["Instances"]]


@pytest.fixture(params=["moto", "ours"])
async def clients(request: pytest.FixtureRequest) -> AsyncIterator[Clients]:
    plane = ControlPlane() if request.param == "ours" else None
    if plane is not None:
        await plane.start()
    endpoint = plane.endpoint if plane is not None else request.getfixturevalue("moto")
    sqs, ec2 = [await asyncio.to_thread(Client, service, endpoint) for service in ("sqs", "ec2")]
    # moto lives for all tests, so names are each test's own.
    name = request.node.originalname.replace("_", "-")[:60]
    yield Clients(sqs, ec2, name)
    sqs.boto.close()
    ec2.boto.close()
    if plane is not None:
        await plane.close()


async def test_a_message_goes_through(clients: Clients):
    """Body, attributes and digests, which boto3 verifies."""
    url = await clients.queue()
    attributes = {"run": {"DataType": "String", "StringValue": "digits"}}
    await clients.sqs.send_message(QueueUrl=url, MessageBody="ring", MessageAttributes=attributes)
    answer = await clients.sqs.receive_message(
        QueueUrl=url, MessageAttributeNames=["All"], MessageSystemAttributeNames=["ApproximateReceiveCount"]
    )
    [message] = answer["Messages"]

    assert ("ring", attributes, {"ApproximateReceiveCount": "1"}) == (
        message["Body"],
        message["MessageAttributes"],
        message["Attributes"],
    )
    await clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert "Messages" not in await clients.sqs.receive_message(QueueUrl=url)


async def test_a_message_given_back_comes_again(clients: Clients):
    """By a visibility of zero; the receive count tells."""
    url = await clients.queue()
    await clients.sqs.send_message(QueueUrl=url, MessageBody="a")
    [first] = (await clients.sqs.receive_message(QueueUrl=url))["Messages"]
    await clients.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    [again] = (await clients.sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["All"]))["Messages"]

    assert (first["MessageId"], "2") == (again["MessageId"], again["Attributes"]["ApproximateReceiveCount"])


async def test_a_long_poll_wakes(clients: Clients):
    """When a message is sent, long before the wait is over."""
    url = await clients.queue()
    polling = asyncio.create_task(clients.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
    await clients.sqs.send_message(QueueUrl=url, MessageBody="a")
    async with asyncio.timeout(15):
        answer = await polling

    assert ["a"] == [message["Body"] for message in answer["Messages"]]


async def test_a_poison_message_becomes_a_dead_letter(clients: Clients):
    """On the receive after the last one allowed."""
    dead = (await clients.sqs.create_queue(QueueName="dead-" + clients.name))["QueueUrl"]
    arn = (await clients.sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"]))["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    url = await clients.queue(RedrivePolicy=policy, VisibilityTimeout="0")
    await clients.sqs.send_message(QueueUrl=url, MessageBody="poison")
    await clients.sqs.receive_message(QueueUrl=url)

    assert "Messages" not in await clients.sqs.receive_message(QueueUrl=url)
    [letter] = (await clients.sqs.receive_message(QueueUrl=dead))["Messages"]
    assert "poison" == letter["Body"]


async def test_batches_go_through(clients: Clients):
    """Sent, received and deleted ten at a time."""
    url = await clients.queue()
    entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(10)]
    sent = await clients.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    messages = (await clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
    receipts = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)]
    deleted = await clients.sqs.delete_message_batch(QueueUrl=url, Entries=receipts)

    assert (10, 10, 10) == (len(sent["Successful"]), len(messages), len(deleted["Successful"]))


async def test_sqs_refuses_with_the_same_codes(clients: Clients):
    """As boto3 reports them, out of the header for clients of old."""
    url = await clients.queue()
    entries = [{"Id": str(number), "MessageBody": "a"} for number in range(11)]

    assert "AWS.SimpleQueueService.NonExistentQueue" == await refusal(clients.sqs.get_queue_url(QueueName="none"))
    assert "AWS.SimpleQueueService.TooManyEntriesInBatchRequest" == await refusal(
        clients.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    )
    assert "ReceiptHandleIsInvalid" == await refusal(clients.sqs.delete_message(QueueUrl=url, ReceiptHandle="nonsense"))
    assert "InvalidParameterValue" == await refusal(clients.sqs.send_message(QueueUrl=url, MessageBody="a" * 1_048_577))


async def test_a_spot_instance_starts_and_ends(clients: Clients):
    """With its tags, market, place and user data's carrier; and it is terminated in the end."""
    instance = await clients.run(
        InstanceMarketOptions=spot(),
        Placement={"AvailabilityZone": "us-east-1b"},
        TagSpecifications=tagged(run=clients.name),
        IamInstanceProfile={},
    )
    [found] = await clients.find(Filters=[{"Name": "tag:run", "Values": [clients.name]}])

    assert (instance["InstanceId"], "spot", "us-east-1b", "m5.large") == (
        found["InstanceId"],
        found["InstanceLifecycle"],
        found["Placement"]["AvailabilityZone"],
        found["InstanceType"],
    )
    assert [{"Key": "run", "Value": clients.name}] == found["Tags"]
    answer = await clients.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    assert "shutting-down" == answer["TerminatingInstances"][0]["CurrentState"]["Name"]

    async def state() -> str:
        return (await clients.find(InstanceIds=[instance["InstanceId"]]))[0]["State"]["Name"]

    await eventually("terminated", state)


async def test_a_template_is_launched_by_name_and_version(clients: Clients):
    """Type and tags come from it."""
    data = {"ImageId": IMAGE, "InstanceType": "c5.large", "UserData": base64_text("spec")}
    made = await clients.ec2.create_launch_template(LaunchTemplateName=clients.name, LaunchTemplateData=data)
    version = await clients.ec2.create_launch_template_version(
        LaunchTemplateId=made["LaunchTemplate"]["LaunchTemplateId"],
        LaunchTemplateData={**data, "InstanceType": "r5.large"},
    )
    types = []
    for number in ("1", "2"):
        named = {"LaunchTemplateName": clients.name, "Version": number}
        answer = await clients.ec2.run_instances(LaunchTemplate=named, MinCount=1, MaxCount=1)
        types.append(answer["Instances"][0]["InstanceType"])

    assert (2, ["c5.large", "r5.large"]) == (version["LaunchTemplateVersion"]["VersionNumber"], types)


async def test_tags_are_put_on_a_running_instance(clients: Clients):
    """And found by, in pages as without them."""
    instance = await clients.run()
    await clients.ec2.create_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": "attempt", "Value": clients.name}])
    filters = [{"Name": "tag:attempt", "Values": [clients.name]}]

    assert [instance["InstanceId"]] == [each["InstanceId"] for each in await clients.find(Filters=filters)]
    assert [instance["InstanceId"]] == [
        each["InstanceId"] for each in await clients.find(Filters=filters, MaxResults=5)
    ]


async def test_filters_narrow_together_and_find_nothing_without_error(clients: Clients):
    """By id, tag and state; an id that nobody has is no error in a filter."""
    kept, ended = [await clients.run(TagSpecifications=tagged(run=clients.name)) for _ in range(2)]
    await clients.ec2.terminate_instances(InstanceIds=[ended["InstanceId"]])
    ids = {"Name": "instance-id", "Values": [kept["InstanceId"], ended["InstanceId"], "i-0123456789abcdef0"]}
    tag = {"Name": "tag:run", "Values": [clients.name, "nobody"]}
    alive = {"Name": "instance-state-name", "Values": ["pending", "running"]}

    async def found(*filters: dict[str, Any]) -> set[str]:
        return {each["InstanceId"] for each in await clients.find(Filters=list(filters))}

    assert {kept["InstanceId"], ended["InstanceId"]} == await found(ids) == await found(ids, tag)
    assert {kept["InstanceId"]} == await found(ids, alive) == await found(tag, alive)
    assert set() == await found({"Name": "instance-id", "Values": ["i-0123456789abcdef0"]})
    assert set() == await found(tag, {"Name": "instance-type", "Values": ["r5.large"]})


async def test_pages_of_instances_are_disjoint(clients: Clients):
    """And together they are everything."""
    answer = await clients.ec2.run_instances(
        ImageId=IMAGE, InstanceType="m5.large", MinCount=12, MaxCount=12, TagSpecifications=tagged(run=clients.name)
    )
    filters = [{"Name": "tag:run", "Values": [clients.name]}]
    seen, token = [], {}
    while True:
        page = await clients.ec2.describe_instances(Filters=filters, MaxResults=5, **token)
        seen += [each["InstanceId"] for reservation in page["Reservations"] for each in reservation["Instances"]]
        if not page.get("NextToken"):
            break
        token = {"NextToken": page["NextToken"]}

    assert {each["InstanceId"] for each in answer["Instances"]} == set(seen)
    assert 12 == len(seen)


async def test_a_running_instance_passes_its_checks(clients: Clients):
    """Found by id among the running ones; one that has ended is not shown."""
    kept, ended = [await clients.run() for _ in range(2)]
    both = [kept["InstanceId"], ended["InstanceId"]]
    await clients.ec2.terminate_instances(InstanceIds=[ended["InstanceId"]])

    async def statuses() -> list[tuple[str, str]]:
        shown = (await clients.ec2.describe_instance_status(InstanceIds=both))["InstanceStatuses"]
        return [(each["InstanceId"], each["InstanceState"]["Name"]) for each in shown]

    await eventually([(kept["InstanceId"], "running")], statuses)


async def test_ec2_refuses_with_the_same_codes(clients: Clients):
    """And the same status, by which SDKs decide whether to try again."""
    unknown = "i-0123456789abcdef0"

    assert ("InvalidInstanceID.NotFound", 400) == await status_of(clients.find(InstanceIds=[unknown]))
    assert ("InvalidInstanceID.NotFound", 400) == await status_of(
        clients.ec2.terminate_instances(InstanceIds=[unknown])
    )
    assert ("InvalidSubnetID.NotFound", 400) == await status_of(clients.run(SubnetId="subnet-0123456789abcdef0"))
    assert ("DryRunOperation", 412) == await status_of(clients.run(DryRun=True))


async def test_the_region_has_zones_and_a_default_subnet_in_each(clients: Clients):
    """Which is what a spec without subnets relies upon."""
    zones = (await clients.ec2.describe_availability_zones())["AvailabilityZones"]
    subnets = (await clients.ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}]))["Subnets"]

    assert {f"us-east-1{letter}" for letter in "abcdef"} == {zone["ZoneName"] for zone in zones}
    assert {zone["ZoneName"] for zone in zones} == {subnet["AvailabilityZone"] for subnet in subnets}
