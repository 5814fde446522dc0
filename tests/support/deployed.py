"""The stack as `spotrelay deploy` makes it, and a local cloud that runs on it.

    async with deployed(folder) as relay:
        story = await relay.cloud.begin("holds")
        ...
        relay.front.audit

1. The package's own code deploys into moto: template, change sets, the launcher's zip in the bucket.
2. What moto made of the template is carried over to where it can work: queues, redrive, launch template and rules into
   our control plane; the function's code, environment and event source into the local cloud. Names and ids stay.
3. Everybody calls through the front, with the keys of his role: instances by their metadata service, function and
   poller by the launcher's role, EventBridge by the queue's own policy. S3 and IAM stay moto's.

What moto drops without a word (the policies of bucket and queues) is resolved by moto's own parser, from the template.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import boto3
from moto.cloudformation.models import cloudformation_backends
from moto.cloudformation.parsing import clean_json

from spotrelay.local.imds_documents import Credentials
from spotrelay.local.instances import Instance
from spotrelay.local.lambda_runtime import Settings
from spotrelay.local.launch_templates import Version
from spotrelay.local.provision import Provision
from spotrelay.local.server import ControlPlane
from spotrelay.stack import changes, destroying, progress
from spotrelay.stack.account import Account
from spotrelay.stack.deploying import Audience, Deployment, Wishes
from spotrelay.stack.destroying import Destruction, Left
from spotrelay.stack.standing import Standing, look
from support.iam.front import Front, Keys
from support.iam.policies import Caller, Need, Policy, decide
from support.images import IMAGE
from support.moto_server import moto_server
from support.story import Stage, stage

T = TypeVar("T")

STACK, REGION, ACCOUNT = "relay", "us-east-1", "123456789012"
# Those that the control plane has.
TYPES, ZONES = ["m5.large", "m6i.large", "c6i.large"], ["us-east-1a", "us-east-1b", "us-east-1c"]
EVENTS = Caller("events.amazonaws.com", service="events.amazonaws.com")
# What SQS shows of a queue and what can be set are not the same.
SETTABLE = {
    "DelaySeconds",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
}


class Relay:
    """The stack, deployed. `cloud` runs on it; `front` knows what everybody did. `function_environment`: what Lambda
    has beside the stack's variables."""

    def __init__(self, folder: Path, moto: str, plane: ControlPlane, front: Front) -> None:
        self.front, self.plane = front, plane
        self.outputs: Mapping[str, str] = {}
        self.moto = moto
        self.function_environment: dict[str, str] = {}
        self._folder = folder
        self._cloud: Stage | None = None
        self._routed: set[str] = set()
        self._adopted: set[str] = set()

    @property
    def cloud(self) -> Stage:
        assert self._cloud is not None, "it is not running yet"
        return self._cloud

    @property
    def agent(self) -> str:
        """The instances' role, by name."""
        return self.outputs["InstanceRoleArn"].rpartition("/")[2]

    @property
    def launcher(self) -> str:
        return self.outputs["LauncherRoleArn"].rpartition("/")[2]

    def runs_on(self, cloud: Stage) -> None:
        self._cloud = cloud

    # --- as a person

    async def deploy(self, **wishes: Any) -> Standing:
        """`wishes`: beside the stack's name. With a cloud that runs, the update reaches it at once."""
        audience = Audience(lambda _: None, lambda _: None, lambda _: None, lambda _: True)

        def make() -> Standing:
            with Account(region=REGION) as account:
                return Deployment(account, Wishes(STACK, **wishes), audience).run().standing

        await asyncio.to_thread(make)
        return await self.learn()

    async def learn(self) -> Standing:
        """What stands now, whoever deployed it. With a cloud that runs, the update reaches it at once."""

        def see() -> Standing:
            with Account(region=REGION) as account:
                standing = look(account, STACK)
                assert standing is not None, f"there is no stack {STACK}"
                return standing

        standing = await asyncio.to_thread(see)
        self.outputs = standing.outputs
        if self._cloud is not None:
            await self.front.refresh()
            await self._cloud.update(await self.carry())
        return standing

    async def destroy(self) -> Left | None:
        """Refused, by StackInUse, as long as an instance lives."""

        def end() -> Left | None:
            with Account(region=REGION) as account:
                destruction = Destruction(account, STACK, phase=lambda _: None, event=lambda _: None)
                standing = destruction.look()
                assert standing is not None
                return destruction.run(standing, force=False)

        return await asyncio.to_thread(end)

    # --- over to the control plane

    async def carry(self) -> Provision:
        """What stands in moto now, where it can work."""
        self.front.carrying = True
        self._policies()
        await self._queues()
        version = await self._template()
        await self._rules()
        provision = await self._function()
        return replace(provision, template={"LaunchTemplateId": version.template_id, "Version": str(version.number)})

    def resolved(self, resource: str) -> dict[str, Any]:
        """The properties of a resource, with every reference in its place."""
        backend = cloudformation_backends[ACCOUNT][REGION]
        [found] = [each for each in backend.stacks.values() if each.name == STACK]
        properties = found.template_dict["Resources"][resource]["Properties"]
        return dict(clean_json(properties, found.resource_map))

    def _policies(self) -> None:
        given, bucket = self.front.resource_policies, self.resolved("BucketPolicy")
        given.buckets[bucket["Bucket"]] = [Policy("BucketPolicy", bucket["PolicyDocument"])]
        for name in ("RequestsPolicy", "DeadLettersPolicy"):
            found = self.resolved(name)
            for url in found["Queues"]:
                given.queues[name_of(url)] = [Policy(name, found["PolicyDocument"])]

    async def _queues(self) -> None:
        for output in ("DeadLetterQueueUrl", "QueueUrl"):  # a redrive policy names one that is there
            url = self.outputs[output]
            ask = lambda sqs, url=url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])  # noqa: E731
            shown = (await self._asked("sqs", ask))["Attributes"]
            attributes = {key: value for key, value in shown.items() if key in SETTABLE}
            self.plane.sqs.create_queue({"QueueName": name_of(url), "Attributes": attributes})

    async def _template(self) -> Version:
        """The version that the stack names now."""
        identity, number = self.outputs["LaunchTemplateId"], self.outputs["LaunchTemplateVersion"]
        wanted = {"LaunchTemplateId": identity, "Versions": [number]}
        answer = await self._asked("ec2", lambda ec2: ec2.describe_launch_template_versions(**wanted))
        [shown] = answer["LaunchTemplateVersions"]
        data = shown["LaunchTemplateData"]
        version = Version(identity, shown["LaunchTemplateName"], int(number), data, self.plane.clock.now())
        if number not in self._adopted:
            self._adopted.add(number)
            self.plane.ec2.templates.adopt(version)
        await self.front.learn_profile(data["IamInstanceProfile"]["Arn"])
        return version

    async def _rules(self) -> None:
        """Each may ring by the queue's own policy, as EventBridge has no role for queues."""
        for rule in (await self._asked("events", lambda events: events.list_rules()))["Rules"]:
            name, arn = rule["Name"], rule["Arn"]
            ask = lambda events, name=name: events.list_targets_by_rule(Rule=name)  # noqa: E731
            [target] = (await self._asked("events", ask))["Targets"]
            queue = name_of(target["Arn"])
            need = Need("sqs:SendMessage", target["Arn"], {"aws:SourceArn": arn, "aws:SecureTransport": "true"})
            verdict = decide(need, need.context, resource=self.front.resource_policies.queues[queue], caller=EVENTS)
            assert verdict.allowed, f"{name} may not send to {queue}"
            if name not in self._routed:
                self._routed.add(name)
                self._route(rule, target, queue)

    def _route(self, rule: Mapping[str, Any], target: Mapping[str, Any], queue: str) -> None:
        if "EventPattern" in rule:
            self.plane.events.route(json.loads(rule["EventPattern"]), queue)
        else:
            self.plane.events.schedule(seconds(rule["ScheduleExpression"]), queue, json.loads(target["Input"]))

    async def _function(self) -> Provision:
        name, role = self.outputs["FunctionName"], self.outputs["LauncherRoleArn"]
        found = await self._asked("lambda", lambda functions: functions.get_function_configuration(FunctionName=name))
        source = await self._source(name)
        keys = await self.front.keys(role, session=name)
        assert found["Role"] == role
        settings = Settings(
            found["Handler"],
            {
                **found["Environment"]["Variables"],
                **keys.environment(),
                "AWS_ENDPOINT_URL": self.front.endpoint,
                **self.function_environment,
            },
            timeout_s=found["Timeout"],
            concurrency=source["ScalingConfig"]["MaximumConcurrency"],
            name=name,
            region=REGION,
            memory_mb=found["MemorySize"],
        )
        return Provision(
            endpoint=self.front.endpoint,
            queue=name_of(self.outputs["QueueUrl"]),
            dead_letters=name_of(self.outputs["DeadLetterQueueUrl"]),
            queue_url=self.outputs["QueueUrl"],
            template={},
            function=settings,
            files=await self._code(),
            batch=source["BatchSize"],
            pollers=source["ScalingConfig"]["MaximumConcurrency"],
            keys=credentials(keys),
            instance_keys=self._instance_keys,
        )

    async def _source(self, function: str) -> Mapping[str, Any]:
        """The event source, switched off in moto: there it would call the function itself, at each message sent."""
        ask = lambda functions: functions.list_event_source_mappings(FunctionName=function)  # noqa: E731
        [source] = (await self._asked("lambda", ask))["EventSourceMappings"]
        assert source["EventSourceArn"].endswith(f":{name_of(self.outputs['QueueUrl'])}")
        assert ["ReportBatchItemFailures"] == source["FunctionResponseTypes"], "what the local poller goes by"
        off = {"UUID": source["UUID"], "Enabled": False}
        await self._asked("lambda", lambda functions: functions.update_event_source_mapping(**off))
        return dict(source)

    async def _code(self) -> list[tuple[str, Path]]:
        """The zip's files, out of the bucket."""
        place = self.resolved("Launcher")["Code"]
        wanted = {"Bucket": place["S3Bucket"], "Key": place["S3Key"]}
        zipped = await self._asked("s3", lambda s3: s3.get_object(**wanted)["Body"].read())
        folder = self._folder / "code" / place["S3Key"].rpartition("/")[2]
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            archive.extractall(folder)
            return [(name, folder / name) for name in archive.namelist()]

    async def _instance_keys(self, instance: Instance) -> Credentials:
        """Of the role in the profile that it was launched with; a session of its own, as EC2 has it."""
        return credentials(await self.front.keys(self.front.role_of(instance.profile_arn), session=instance.id))

    async def _asked(self, service: Any, ask: Callable[[Any], T]) -> T:
        """moto itself, past the front: this is nobody's call."""

        def call() -> T:
            session = boto3.Session("carrier", "carrier", region_name=REGION)
            client = session.client(service, endpoint_url=self.moto)
            try:
                return ask(client)
            finally:
                client.close()

        return await asyncio.to_thread(call)


def name_of(queue: str) -> str:
    """Of its URL or ARN."""
    return queue.replace(":", "/").rpartition("/")[2]


def seconds(rate: str) -> float:
    """Of `rate(5 minutes)`."""
    number, unit = rate.removeprefix("rate(").removesuffix(")").split()
    return float(number) * {"minute": 60, "hour": 3600, "day": 86400}[unit.removesuffix("s")]


def credentials(keys: Keys) -> Credentials:
    return Credentials(keys.access_key, keys.secret_key, keys.session_token)


@contextmanager
def person(front: Front) -> Iterator[None]:
    """Who calls from this process is the person, and nothing of whoever runs the tests is seen."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    own = {
        **front.person().environment(),
        "AWS_ENDPOINT_URL": front.endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with patch.dict(os.environ, {**kept, **own}, clear=True):
        yield


@contextmanager
def without_waits() -> Iterator[None]:
    """moto has done everything when it answers; on AWS the same takes minutes, and is asked for every few seconds."""
    with (
        patch.object(changes, "POLL_S", 0.01),
        patch.object(progress, "EVERY_S", 0.01),
        patch.object(destroying, "POLL_S", 0.05),
    ):
        yield


@asynccontextmanager
async def account(folder: Path) -> AsyncIterator[Relay]:
    """With images in it, and no stack yet."""
    plane = ControlPlane()
    with moto_server() as moto, without_waits():
        front = Front(plane, moto)
        await front.start()
        try:
            with person(front):
                yield Relay(folder, moto, plane, front)
        finally:
            await front.close()


@asynccontextmanager
async def stack(folder: Path) -> AsyncIterator[Relay]:
    """Deployed; no cloud runs on it yet."""
    async with account(folder) as relay:
        await relay.deploy(image=IMAGE, types=TYPES, zones=ZONES)
        yield relay


@asynccontextmanager
async def running(relay: Relay, folder: Path) -> AsyncIterator[None]:
    """What was deployed begins to work."""
    options = {"plane": relay.plane, "provision": await relay.carry(), "store_url": relay.outputs["StoreUrl"]}
    async with stage(folder, **options) as cloud:
        # A machine's command sees the environment that the image was baked with: none of the person's keys.
        clean = {name: value for name, value in cloud.baked.environment.items() if not name.startswith("AWS_")}
        cloud.baked = replace(cloud.baked, environment=clean)
        relay.runs_on(cloud)
        yield


@asynccontextmanager
async def deployed(folder: Path) -> AsyncIterator[Relay]:
    """And running."""
    async with stack(folder) as relay, running(relay, folder):
        yield relay
