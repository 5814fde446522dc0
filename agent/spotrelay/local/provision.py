"""What a local cloud runs on: a queue, a launch template, a function and whose keys everybody has.

A rehearsal needs no more of a stack than this, and no template language: `by_hand` makes it. What a real deployment
made elsewhere can be brought instead, as a `Provision` with other names, limits, code and keys; the cloud is the same.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spotrelay.local.imds_documents import Credentials
from spotrelay.local.instances import Instance
from spotrelay.local.lambda_environment import Settings
from spotrelay.local.server import ControlPlane

QUEUE, DEAD_LETTERS, TEMPLATE, STACK = "spotrelay", "spotrelay-dead", "spotrelay", "local"
IMAGE, PROFILE = "ami-0abcdef1234567890", "arn:aws:iam::123456789012:instance-profile/spotrelay-agent"
# The launcher's work takes tenths of a second here. AWS demands visibility >= timeout and advises six times that; a
# rehearsal does not want to wait for a crashed launcher that long.
FUNCTION_TIMEOUT_S, VISIBILITY_S = 10, 20
# Nobody checks these; something must be signed with.
ANYBODY = Credentials("ASIALOCALCLOUD000000", "local", "local")


async def _anybody(_: Instance) -> Credentials:
    return ANYBODY


@dataclass(frozen=True, slots=True)
class Provision:
    """`endpoint`: where agents, function and poller send every call, but for S3 if there is a `store_endpoint`.

    `keys` are the poller's: Lambda polls with the function's own role. `instance_keys`: what an instance's metadata
    service gives out. `template`: as a person names it who launches by hand.
    """

    endpoint: str
    queue: str
    dead_letters: str
    queue_url: str
    template: Mapping[str, str]
    function: Settings
    files: Sequence[tuple[str, Path]]
    store_endpoint: str | None = None
    batch: int = 10
    pollers: int = 1
    keys: Credentials = ANYBODY
    instance_keys: Callable[[Instance], Awaitable[Credentials]] = _anybody


def by_hand(
    plane: ControlPlane,
    *,
    store_url: str,
    store_endpoint: str | None,
    types: Sequence[str],
    files: Sequence[tuple[str, Path]],
) -> Provision:
    """What a stack would hold, made by the simulator's own hands. The control plane is listening."""
    queue_url = _queues(plane)
    ec2 = plane.ec2
    data = _launch_template(store_url, queue_url)
    ec2.templates.create({"LaunchTemplateName": TEMPLATE, "LaunchTemplateData": data})
    _rules(plane)
    environment = {
        "AWS_ACCESS_KEY_ID": ANYBODY.access_key,
        "AWS_SECRET_ACCESS_KEY": ANYBODY.secret_key,
        "AWS_ENDPOINT_URL": plane.endpoint,
        "SPOTRELAY_STORE": store_url,
        "SPOTRELAY_QUEUE_URL": queue_url,
        "SPOTRELAY_LAUNCH_TEMPLATE": f"{TEMPLATE}:1",
        "SPOTRELAY_STACK": STACK,
        "SPOTRELAY_ZONES": f"{plane.region}a,{plane.region}b,{plane.region}c",
        "SPOTRELAY_TYPES": ",".join(types),
        **({"AWS_ENDPOINT_URL_S3": store_endpoint} if store_endpoint else {}),
    }
    handler = "spotrelay.launcher.handler.handle"
    return Provision(
        endpoint=plane.endpoint,
        queue=QUEUE,
        dead_letters=DEAD_LETTERS,
        queue_url=queue_url,
        template={"LaunchTemplateName": TEMPLATE, "Version": "1"},
        function=Settings(handler, environment, timeout_s=FUNCTION_TIMEOUT_S, region=plane.region),
        files=files,
        store_endpoint=store_endpoint,
    )


def _queues(plane: ControlPlane) -> str:
    plane.sqs.create_queue({"QueueName": DEAD_LETTERS})
    arn = f"arn:aws:sqs:{plane.region}:{plane.account}:{DEAD_LETTERS}"
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    attributes = {"VisibilityTimeout": str(VISIBILITY_S), "RedrivePolicy": redrive}
    return str(plane.sqs.create_queue({"QueueName": QUEUE, "Attributes": attributes})["QueueUrl"])


def _launch_template(store_url: str, queue_url: str) -> dict[str, object]:
    user_data = f'[relay]\nstore = "{store_url}"\nqueue = "{queue_url}"\n'
    return {
        "ImageId": IMAGE,
        "IamInstanceProfile": {"Arn": PROFILE},
        "UserData": base64.b64encode(user_data.encode()).decode(),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "InstanceMetadataTags": "enabled",
        },
    }


def _rules(plane: ControlPlane) -> None:
    """As the stack's. Its schedule is not here: what a sweep would find is, in a rehearsal, a fault to be seen."""
    told = ["EC2 Spot Instance Interruption Warning", "EC2 Instance Rebalance Recommendation"]
    plane.events.route({"source": ["aws.ec2"], "detail-type": told}, QUEUE)
    states = {"state": ["terminated", "stopped"]}
    gone = {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"], "detail": states}
    plane.events.route(gone, QUEUE)
