"""What the stack's two roles may do is what a run needs, seen from both sides and over the wire.

1. A whole run, with everything that befalls one: every call of it is allowed, and the statements that none of its calls
   needed are named here, each with its reason.
2. Calls that must not be made: each is refused, for the action that it is.
3. What IAM cannot tell apart is said as well: a test holds it, so that nobody believes the contrary.

The policies are those that CloudFormation made of the template; that the judge is right is test_policy_evaluation.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from spotrelay.core import keys as names
from spotrelay.core import records
from spotrelay.local.pools import Market
from support.cloud_plane import base64_text, fleet, tagged
from support.deployed import IMAGE, REGION, STACK, Relay, deployed, name_of, stack
from support.iam.front import Entry, Keys
from support.iam.policies import Policy
from support.iam.roles import read_role
from support.iam.wildcards import action_matches, matches
from support.story import NOTICE_S, until

pytestmark = pytest.mark.slow

ELSEWHERE = "somebody-elses-bucket"
ADMIN = "arn:aws:iam::123456789012:instance-profile/admin"
SESSION = "i-0123456789abcdef0"
OURS = {"spotrelay:stack": STACK, "spotrelay:fleet": "f"}

# Statement and action that a whole run does not come to need.
UNUSED_ACTIONS = {
    ("agent/Runs", "s3:AbortMultipartUpload"): "when an artifact fails half-way",
    ("agent/Housekeeping", "s3:DeleteObject"): "when a run is older than half an hour",
    ("agent/Secrets", "ssm:GetParameter"): "when a run names secrets",
    ("launcher/Requests", "sqs:GetQueueAttributes"): "Lambda asks for the queue's depth when it scales the poller",
    ("launcher/Log", "logs:CreateLogStream"): "Lambda itself writes what the function prints",
    ("launcher/Log", "logs:PutLogEvents"): "Lambda itself writes what the function prints",
}
# Statement and resource, likewise. `…` stands for the bucket or the account.
UNUSED_RESOURCES = {
    ("agent/Housekeeping", "…/runs/*/packs/*"): "when a run is older than half an hour",
    ("agent/Housekeeping", "…/runs/*/snapshots/*"): "when a run is older than half an hour",
    ("agent/Secrets", "…:parameter/*"): "when a run names secrets",
    ("launcher/Records", "…/open/*"): "when the sweep has closed a run that was being written at that moment",
    (
        "launcher/Fleets",
        "…:volume/*",
    ): "IAM's reference has CreateFleet ask for these too; which launches do is not said",
    ("launcher/Fleets", "…:subnet/*"): "as volumes",
    ("launcher/Fleets", "…:image/*"): "as volumes",
    ("launcher/Log", "…:log-group:*"): "Lambda itself writes what the function prints",
}


# ------------------------------------------------------------------------------------------------------- a whole run


@dataclass(frozen=True)
class Played:
    """What there was to see when it was over."""

    audit: list[Entry]
    problems: list[str]
    instances: set[str]
    owners: set[str]
    roles: dict[str, list[Policy]]
    left: list[str]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One for all tests that look at it: it takes a minute."""
    return asyncio.run(play(tmp_path_factory.mktemp("whole-run")))


async def play(folder: Path) -> Played:
    """A run with a notice, a sudden death and a wait for capacity; one on demand; one that came as user data; a machine
    that nobody wants, and the sweep that ends it."""
    async with deployed(folder) as relay:
        cloud = relay.cloud
        story = cloud.plan("holds-twice")
        await cloud.store.create(names.open_run(story.run), b"")
        await story.begin()
        cloud.interrupt(await story.ready(1), in_s=NOTICE_S)
        second = await story.ready(2)
        await sweep(relay)
        dear = await cloud.begin("holds", instance={"market": "on-demand"})
        dear_machine = await dear.ready(1)
        carried = cloud.plan(job_outside=True)
        cloud.boot(cloud.user_data(carried.spec))
        relay.plane.ec2.pools.drain(market=Market.SPOT)
        cloud.vanish(second)
        await until(lambda: rang_itself(relay), what="the launcher waits for capacity")
        for pool in relay.plane.ec2.weather.all_pools():
            relay.plane.ec2.weather.open(pool)
        cloud.vanish(dear_machine)
        stories = (story, dear, carried)
        for each in stories:
            await each.ends("succeeded")
        orphan = await unwanted(relay)
        await sweep(relay)
        await until(cloud.computers[orphan].off.is_set, what="the orphan is off")
        await until(lambda: closed(relay), what="the run is closed")
        await cloud.quiet()
        return Played(
            list(relay.front.audit),
            list(relay.front.problems),
            set(cloud.computers),
            {claim.instance for each in stories for claim in await each.claims()},
            {name: read_role(relay.moto, name)[2] for name in (relay.agent, relay.launcher)},
            await cloud.store.list(""),
        )


async def sweep(relay: Relay) -> None:
    """The schedule's five minutes are over."""
    relay.plane.sqs.queue(relay.cloud.provision.queue).send('{"sweep": {}}')
    await relay.cloud.quiet()


def rang_itself(relay: Relay) -> bool:
    needs = [entry.need.action for entry in relay.front.audit if entry.who == relay.launcher]
    return "sqs:SendMessage" in needs


async def unwanted(relay: Relay) -> str:
    """A machine of the stack's, launched for a fleet an hour ago, that no run was assigned to."""
    cloud, its = relay.cloud, "f-0123456789abcdef0123"
    await cloud.store.create(names.fleet(its), records.encode(records.Fleet("token", 0.0, {}, [])))
    tags = {"spotrelay:stack": STACK, "spotrelay:fleet": its}
    order = {"LaunchTemplate": dict(cloud.provision.template), "InstanceType": "m5.large"}
    order |= {"MinCount": 1, "MaxCount": 1, "TagSpecifications": tagged(**tags)}
    [made] = relay.plane.ec2.call("RunInstances", order)["Instances"]
    relay.plane.ec2.instances.known(made["InstanceId"]).launched_at -= 3600
    return str(made["InstanceId"])


async def closed(relay: Relay) -> bool:
    return not await relay.cloud.store.list(names.open_runs())


def test_every_call_of_a_whole_run_is_allowed(played: Played) -> None:
    """By the roles as they are deployed. Otherwise the first machine in the cloud finds out what was forgotten."""
    assert [] == [str(entry) for entry in played.audit if not entry.verdict.allowed]
    assert [] == played.problems


def test_everybody_calls_with_the_keys_of_his_role(played: Played) -> None:
    """Each instance in a session of its own, the launcher in its function's. Otherwise "allowed" means the person."""
    [agent, launcher] = played.roles
    sessions = {entry.session for entry in played.audit if entry.who == agent}

    assert played.owners <= sessions <= played.instances
    assert 6 == len(played.owners)
    assert {agent, launcher, "person"} == {entry.who for entry in played.audit}


def test_nothing_is_granted_without_use_or_reason(played: Played) -> None:
    """Each action and each resource of each statement was needed, or stands above. Otherwise rights pile up that nobody
    dares to take away."""
    actions, resources = set(), set()
    for who, policies in played.roles.items():
        for name, document in statements(policies):
            used = [entry.need for entry in played.audit if entry.who == who and name in entry.verdict.by]
            for action in listed(document["Action"]):
                if not any(action_matches(action, need.action) for need in used):
                    actions.add((name, action))
            for resource in listed(document["Resource"]):
                if not any(matches(resource, need.resource, {}) for need in used):
                    resources.add((name, shortened(resource)))

    assert set(UNUSED_ACTIONS) == actions
    assert set(UNUSED_RESOURCES) == resources


def statements(policies: list[Policy]) -> Iterator[tuple[str, dict[str, Any]]]:
    for policy in policies:
        for statement in policy.statements():
            yield statement.name, dict(statement.document)


def listed(value: Any) -> list[str]:
    return list(value) if isinstance(value, list) else [value]


def shortened(arn: str) -> str:
    """Without what differs from stack to stack."""
    service, rest = arn.split(":")[2], arn.split(":", 5)[5]
    if service == "s3":
        return "…/" + rest.partition("/")[2]
    if service == "logs":
        return "…:log-group:*"
    return f"…:{rest.partition('/')[0]}/*"


# ----------------------------------------------------------------------------------------------- what must not be done


class Bench:
    """The stack, and clients by role. `instances`: ours, one of another stack, one of nobody."""

    def __init__(self, relay: Relay, exits: ExitStack) -> None:
        self.relay, self._exits = relay, exits
        self.bucket, self.template = relay.outputs["BucketName"], relay.outputs["LaunchTemplateId"]
        self.queue, self.dead = relay.outputs["QueueUrl"], relay.outputs["DeadLetterQueueUrl"]
        self.ours = self.others = self.nobodys = self.other_queue = self.other_template = ""

    def clients(self, keys: Keys) -> Callable[[str], Any]:
        made: dict[str, Any] = {}

        def client(service: str) -> Any:
            if service not in made:
                session = boto3.Session(keys.access_key, keys.secret_key, keys.session_token, region_name=REGION)
                config = Config(retries={"total_max_attempts": 1})
                made[service] = session.client(service, endpoint_url=self.relay.front.endpoint, config=config)  # type: ignore[call-overload]
                self._exits.callback(made[service].close)
            return made[service]

        return client

    def furnish(self) -> None:
        """What others have in the same account."""
        person = self.clients(self.relay.front.person())
        person("s3").create_bucket(Bucket=ELSEWHERE)
        person("s3").put_object(Bucket=ELSEWHERE, Key="runs/a/run.json", Body=b"")
        for key in ("runs/a/run.json", "runs/b/run.json", "open/a", "launches/a/1-1.json"):
            person("s3").put_object(Bucket=self.bucket, Key=key, Body=b"")
        self.other_queue = person("sqs").create_queue(QueueName="somebody-elses")["QueueUrl"]
        self.ours, self.others, self.nobodys = [self._instance(person, **tags) for tags in (OURS, {"a": "b"}, {})]
        ec2 = self.relay.plane.ec2
        data = {**ec2.templates.resolve({"LaunchTemplateId": self.template}).data}
        other = ec2.templates.create({"LaunchTemplateName": "another", "LaunchTemplateData": data})
        self.other_template = other["LaunchTemplate"]["LaunchTemplateId"]
        iam = person("iam")
        iam.create_role(RoleName="admin", AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName="admin")
        iam.add_role_to_instance_profile(InstanceProfileName="admin", RoleName="admin")

    def _instance(self, person: Callable[[str], Any], **tags: str) -> str:
        order = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
        order |= {"TagSpecifications": tagged(**tags)} if tags else {}
        return str(person("ec2").run_instances(**order)["Instances"][0]["InstanceId"])

    def launch(self, **changes: Any) -> dict[str, Any]:
        """RunInstances as the stack's own launches are; `None` takes something away."""
        order: dict[str, Any] = {
            "LaunchTemplate": {"LaunchTemplateId": self.template, "Version": "1"},
            "InstanceType": "m5.large",
            "MinCount": 1,
            "MaxCount": 1,
            "TagSpecifications": tagged(**OURS),
            **changes,
        }
        return {key: value for key, value in order.items() if value is not None}

    def fleet(self, template: str, **tags: str) -> dict[str, Any]:
        """CreateFleet as the launcher makes it."""
        wanted = fleet(template, ("m5.large", "a"), TagSpecifications=tagged(**tags) if tags else [])
        wanted["LaunchTemplateConfigs"][0]["LaunchTemplateSpecification"]["Version"] = "1"
        return wanted


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    async with stack(folder) as relay:
        await relay.carry()
        await relay.plane.start()
        try:
            with ExitStack() as exits:
                made = Bench(relay, exits)
                await asyncio.to_thread(made.furnish)
                await relay.front.learn_profile(ADMIN)
                yield made
        finally:
            await relay.plane.close()


Calls = dict[str, tuple[str, Callable[[], Any]]]


def of_both(bench: Bench, client: Callable[[str], Any]) -> Calls:
    """What neither role may: (action refused, call) by what it would do."""
    s3, sqs, ec2, iam = client("s3"), client("sqs"), client("ec2"), client("iam")
    bucket, function = bench.bucket, bench.relay.outputs["FunctionName"]
    code = bench.relay.resolved("Launcher")["Code"]["S3Key"]
    policy = {"RoleName": bench.relay.agent, "PolicyName": "more", "PolicyDocument": "{}"}
    live = {"Resources": [bench.ours], "Tags": [{"Key": "spotrelay:run", "Value": "b"}]}
    grab = {"Resources": [bench.others], "Tags": [{"Key": "spotrelay:stack", "Value": STACK}]}
    version = {"LaunchTemplateId": bench.template, "LaunchTemplateData": {"ImageId": IMAGE}}
    return {
        "replace the launcher's code": ("s3:PutObject", lambda: s3.put_object(Bucket=bucket, Key=code, Body=b"")),
        "read the launcher's code": ("s3:GetObject", lambda: s3.get_object(Bucket=bucket, Key=code)),
        "write beside all prefixes": ("s3:PutObject", lambda: s3.put_object(Bucket=bucket, Key="x", Body=b"")),
        "delete a run's objects": ("s3:DeleteObject", lambda: s3.delete_object(Bucket=bucket, Key="runs/a/run.json")),
        "delete several": (
            "s3:DeleteObject",
            lambda: s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "runs/a/run.json"}]}),
        ),
        "delete the bucket": ("s3:DeleteBucket", lambda: s3.delete_bucket(Bucket=bucket)),
        "open the bucket": ("s3:PutBucketPolicy", lambda: s3.put_bucket_policy(Bucket=bucket, Policy="{}")),
        "list the launcher's code": (
            "s3:ListBucket",
            lambda: s3.list_objects_v2(Bucket=bucket, Prefix="launcher/"),
        ),
        "read another bucket": ("s3:GetObject", lambda: s3.get_object(Bucket=ELSEWHERE, Key="runs/a/run.json")),
        "write another bucket": (
            "s3:PutObject",
            lambda: s3.put_object(Bucket=ELSEWHERE, Key="runs/a/run.json", Body=b""),
        ),
        "list another bucket": ("s3:ListBucket", lambda: s3.list_objects_v2(Bucket=ELSEWHERE, Prefix="runs/")),
        "list buckets": ("s3:ListAllMyBuckets", s3.list_buckets),
        "copy out of another bucket": (
            "s3:GetObject",
            lambda: s3.copy_object(
                Bucket=bucket, Key="runs/a/x", CopySource={"Bucket": ELSEWHERE, "Key": "runs/a/run.json"}
            ),
        ),
        "send to another queue": (
            "sqs:SendMessage",
            lambda: sqs.send_message(QueueUrl=bench.other_queue, MessageBody="x"),
        ),
        "send to the dead letters": ("sqs:SendMessage", lambda: sqs.send_message(QueueUrl=bench.dead, MessageBody="x")),
        "read the dead letters": ("sqs:ReceiveMessage", lambda: sqs.receive_message(QueueUrl=bench.dead)),
        "read another queue": ("sqs:ReceiveMessage", lambda: sqs.receive_message(QueueUrl=bench.other_queue)),
        "empty the queue": ("sqs:PurgeQueue", lambda: sqs.purge_queue(QueueUrl=bench.queue)),
        "delete the queue": ("sqs:DeleteQueue", lambda: sqs.delete_queue(QueueUrl=bench.queue)),
        "launch without the template": (
            "ec2:RunInstances",
            lambda: ec2.run_instances(**bench.launch(LaunchTemplate=None, ImageId=IMAGE)),
        ),
        "launch from another template": (
            "ec2:RunInstances",
            lambda: ec2.run_instances(**bench.launch(LaunchTemplate={"LaunchTemplateId": bench.other_template})),
        ),
        "launch a fleet from another template": (
            "ec2:CreateFleet",
            lambda: ec2.create_fleet(**bench.fleet(bench.other_template, **OURS)),
        ),
        "terminate another stack's": (
            "ec2:TerminateInstances",
            lambda: ec2.terminate_instances(InstanceIds=[bench.others]),
        ),
        "terminate an untagged one": (
            "ec2:TerminateInstances",
            lambda: ec2.terminate_instances(InstanceIds=[bench.nobodys]),
        ),
        "terminate ours and another": (
            "ec2:TerminateInstances",
            lambda: ec2.terminate_instances(InstanceIds=[bench.ours, bench.nobodys]),
        ),
        "stop an instance": ("ec2:StopInstances", lambda: ec2.stop_instances(InstanceIds=[bench.ours])),
        "tag a living instance": ("ec2:CreateTags", lambda: ec2.create_tags(**live)),
        "make another's instance ours by a tag": ("ec2:CreateTags", lambda: ec2.create_tags(**grab)),
        "change the launch template": (
            "ec2:CreateLaunchTemplateVersion",
            lambda: ec2.create_launch_template_version(**version),
        ),
        "widen a role": ("iam:PutRolePolicy", lambda: iam.put_role_policy(**policy)),
        "become the other role": (
            "sts:AssumeRole",
            lambda: client("sts").assume_role(RoleArn="arn:aws:iam::123456789012:role/admin", RoleSessionName="grab"),
        ),
        "replace the function": (
            "lambda:PUT",
            lambda: client("lambda").update_function_code(FunctionName=function, ZipFile=b""),
        ),
        "delete the stack": (
            "cloudformation:DeleteStack",
            lambda: client("cloudformation").delete_stack(StackName=STACK),
        ),
        "stop the sweep": ("events:ListRules", lambda: client("events").list_rules()),
        "write to whoever hears a topic": (
            "sns:Publish",
            lambda: client("sns").publish(TopicArn=f"arn:aws:sns:{REGION}:123456789012:told", Message="x"),
        ),
        "read a secret that is not for runs": (
            "ssm:GetParameter",
            lambda: client("ssm").get_parameter(Name="/spotrelays/password", WithDecryption=True),
        ),
    }


def of_agent(bench: Bench, client: Callable[[str], Any]) -> Calls:
    """What an instance may not, though the launcher may."""
    s3, sqs, ec2, bucket = client("s3"), client("sqs"), client("ec2"), bench.bucket

    def put(key: str) -> tuple[str, Callable[[], Any]]:
        return "s3:PutObject", lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"")

    return {
        "take part in a launch": put("launches/a/2-1.json"),
        "decide a fleet": put("fleets/f.json"),
        "give a pool a bad name": put("pools/evicted/1/m5.large@us-east-1a"),
        "set a price": put("prices/us-east-1/m5.large.json"),
        "read launches": ("s3:GetObject", lambda: s3.get_object(Bucket=bucket, Key="launches/a/1-1.json")),
        "list launches": ("s3:ListBucket", lambda: s3.list_objects_v2(Bucket=bucket, Prefix="launches/")),
        "forget a hand-over": (
            "s3:DeleteObject",
            lambda: s3.delete_object(Bucket=bucket, Key="runs/a/attempts/00001/handover.json"),
        ),
        "close a run": ("s3:DeleteObject", lambda: s3.delete_object(Bucket=bucket, Key="open/a")),
        "read the queue": ("sqs:ReceiveMessage", lambda: sqs.receive_message(QueueUrl=bench.queue)),
        "take from the queue": (
            "sqs:DeleteMessage",
            lambda: sqs.delete_message(QueueUrl=bench.queue, ReceiptHandle="x"),
        ),
        "launch": ("ec2:RunInstances", lambda: ec2.run_instances(**bench.launch())),
        "launch a fleet": ("ec2:CreateFleet", lambda: ec2.create_fleet(**bench.fleet(bench.template, **OURS))),
        "terminate an instance": ("ec2:TerminateInstances", lambda: ec2.terminate_instances(InstanceIds=[bench.ours])),
        "look at instances": ("ec2:DescribeInstances", ec2.describe_instances),
    }


def of_launcher(bench: Bench, client: Callable[[str], Any]) -> Calls:
    """What the launcher may not, though it may launch."""
    s3, ec2, bucket = client("s3"), client("ec2"), bench.bucket
    foreign = {**OURS, "spotrelay:stack": "another"}
    return {
        "delete a snapshot": (
            "s3:DeleteObject",
            lambda: s3.delete_object(Bucket=bucket, Key="runs/a/snapshots/00001-0000000.json.zst"),
        ),
        "delete launches": ("s3:DeleteObject", lambda: s3.delete_object(Bucket=bucket, Key="launches/a/1-1.json")),
        "launch without a tag": (
            "ec2:RunInstances",
            lambda: ec2.run_instances(**bench.launch(TagSpecifications=None)),
        ),
        "launch with another stack's tag": (
            "ec2:RunInstances",
            lambda: ec2.run_instances(**bench.launch(TagSpecifications=tagged(**foreign))),
        ),
        "launch another image": (
            "ec2:RunInstances",
            lambda: ec2.run_instances(**bench.launch(ImageId="ami-0bad00000000bad00")),
        ),
        "launch behind another security group": (
            "ec2:RunInstances",
            lambda: ec2.run_instances(**bench.launch(SecurityGroupIds=["sg-0bad00000000bad00"])),
        ),
        "pass another role": (
            "iam:PassRole",
            lambda: ec2.run_instances(**bench.launch(IamInstanceProfile={"Arn": ADMIN})),
        ),
        "launch a fleet without a tag": (
            "ec2:RunInstances",
            lambda: ec2.create_fleet(**bench.fleet(bench.template)),
        ),
        "launch a fleet with another stack's tag": (
            "ec2:CreateTags",
            lambda: ec2.create_fleet(**bench.fleet(bench.template, **foreign)),
        ),
    }


async def attempts(bench: Bench, calls: Calls) -> list[str]:
    """Those that were not refused, or not for the action that they are. Empty is right."""
    front, wrong = bench.relay.front, []
    for what, (action, call) in calls.items():
        before = len(front.audit)
        answer = await asyncio.to_thread(refusal, call)
        denied = {entry.need.action for entry in front.audit[before:] if not entry.verdict.allowed}
        if not answer or not any(each.startswith(action) for each in denied):
            wrong.append(f"{what}: {answer or 'done'}, denied {sorted(denied)}")
    return wrong + front.problems


def refusal(call: Callable[[], Any]) -> str:
    """The code it was refused with; of a fleet, that of its errors."""
    try:
        answer = call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    errors = answer.get("Errors", []) if not answer.get("Instances") else []
    return " ".join(error["ErrorCode"] for error in errors)


async def test_what_an_instance_must_not_do(tmp_path: Path) -> None:
    """Who breaks into a run's command has its instance's role: with it he can harm runs, and nothing else in the
    account. Otherwise one poisoned package owns the launcher."""
    async with bench(tmp_path) as made:
        client = made.clients(await made.relay.front.keys(made.relay.agent, session=SESSION))

        assert [] == await attempts(made, {**of_both(made, client), **of_agent(made, client)})
        # What housekeeping deletes is allowed, and as it does it: many names in one request.
        names = [{"Key": f"runs/a/{kind}/x"} for kind in ("packs", "snapshots")]
        s3 = client("s3")
        assert "" == await asyncio.to_thread(
            refusal, lambda: s3.delete_objects(Bucket=made.bucket, Delete={"Objects": names})
        )


async def test_what_the_launcher_must_not_do(tmp_path: Path) -> None:
    """It launches its own template with its own tag, and ends its own. Otherwise a bug in it is the account's."""
    async with bench(tmp_path) as made:
        client = made.clients(await made.relay.front.keys(made.relay.launcher, session="launcher"))

        assert [] == await attempts(made, {**of_both(made, client), **of_launcher(made, client)})
        # What differs from these by one thing is allowed: they are not refused for being malformed.
        ec2 = client("ec2")
        assert "" == await asyncio.to_thread(refusal, lambda: ec2.create_fleet(**made.fleet(made.template, **OURS)))
        assert "" == await asyncio.to_thread(refusal, lambda: ec2.run_instances(**made.launch()))
        assert "" == await asyncio.to_thread(refusal, lambda: ec2.terminate_instances(InstanceIds=[made.ours]))


# --------------------------------------------------------------------------------------------- what is not told apart


async def test_runs_of_one_stack_are_not_kept_from_each_other(tmp_path: Path) -> None:
    """All instances share one role, and which run an instance gets is decided after its launch: so each can read and
    write every run of its stack, and ring for it. Who has runs that must not see each other gives each a stack of its
    own: bucket, queue and roles are the stack's. (Otherwise somebody believes that this is a wall.)"""
    async with bench(tmp_path) as made:
        client = made.clients(await made.relay.front.keys(made.relay.agent, session=SESSION))
        s3, sqs, bucket = client("s3"), client("sqs"), made.bucket

        def into_another_run() -> None:
            s3.get_object(Bucket=bucket, Key="runs/b/run.json")
            s3.put_object(Bucket=bucket, Key="runs/b/cancel", Body=b"")
            s3.list_objects_v2(Bucket=bucket, Prefix="runs/b/")
            sqs.send_message(QueueUrl=made.queue, MessageBody="{}")

        await asyncio.to_thread(into_another_run)

        assert [] == [str(entry) for entry in made.relay.front.audit if not entry.verdict.allowed]


async def test_the_launchers_role_can_say_other_user_data(tmp_path: Path) -> None:
    """EC2 has no condition for user data or instance type, so whoever has the launcher's role can run what he likes on
    instances of its template, with the instances' role: what that role may is the bound. (Otherwise somebody believes
    that naming the template fixes what runs.)"""
    async with bench(tmp_path) as made:
        client = made.clients(await made.relay.front.keys(made.relay.launcher, session="launcher"))
        order = made.launch(UserData=base64_text("#!/bin/sh"), InstanceType="m6i.large")

        assert "" == await asyncio.to_thread(refusal, lambda: client("ec2").run_instances(**order))


async def test_both_stacks_policies_refuse_plain_http(tmp_path: Path) -> None:
    """Bucket and queues deny whatever does not come by TLS, to everybody. Otherwise a mistyped endpoint leaks runs."""
    async with stack(tmp_path) as relay:
        await relay.carry()
        given = relay.front.resource_policies
        found = [*given.buckets[relay.outputs["BucketName"]]]
        for url in (relay.outputs["QueueUrl"], relay.outputs["DeadLetterQueueUrl"]):
            found += given.queues[name_of(url)]
        plain = {"Bool": {"aws:SecureTransport": "false"}}

        assert 3 == len(found)
        for policy in found:
            denials = [document for _, document in statements([policy]) if document["Effect"] == "Deny"]
            assert [("*", plain)] == [(each["Principal"], each["Condition"]) for each in denials]
