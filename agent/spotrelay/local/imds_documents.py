"""What one instance's metadata service has to say: its documents, by path, as EC2 writes them.

A tree is built from the instance's present state at each request, because almost everything in it can change under a
running agent: tags arrive after the boot, credentials rotate, notices come and go. A folder is not stored; it is what
the paths below it imply. JSON is spaced as EC2 spaces it and served as text/plain: a client that believes the content
type, or one that searches the text, must fail here and not in the cloud.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from time import gmtime, strftime
from typing import Any

ACCOUNT = "123456789012"
IMAGE = "ami-0abcdef1234567890"
# "us-west-2-lax-1a" is a zone of us-west-2: the region is not the zone less its last letter.
REGION = re.compile(r"[a-z]+(?:-[a-z]+)+-\d+")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of the instance's role. `lifetime_s`: each answer expires that much later; botocore stretches keys that
    have less than 20 minutes left, so rotation shows only with 30 or more."""

    access_key: str = "ASIASIMULATED0000000"
    secret_key: str = "simulated-secret-key"
    session_token: str = "simulated-session-token"
    lifetime_s: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class ScheduledEvent:
    """Maintenance as `events/maintenance/scheduled` lists it. Times are unix seconds, states are EC2's words."""

    event_id: str
    code: str
    not_before: float
    not_after: float | None = None
    state: str = "active"


@dataclass(slots=True)
class InstanceDocuments:
    """One instance, as its metadata service describes it. Every field may be changed while it runs; `tags` may be the
    caller's own dictionary. `role` None: no instance profile. `user_data` empty: none."""

    instance_id: str
    instance_type: str = "m6i.large"
    zone: str = "us-east-1a"
    life_cycle: str = "spot"
    user_data: bytes = b""
    tags: Mapping[str, str] = field(default_factory=dict)
    role: str | None = "spotrelay-agent"
    credentials: Credentials = field(default_factory=Credentials)
    launched: float = 0.0
    interruption: tuple[str, float] | None = None  # action, unix time
    rebalance: float | None = None
    events: list[ScheduledEvent] = field(default_factory=list)

    @property
    def region(self) -> str:
        match = REGION.match(self.zone)
        return match[0] if match else self.zone


def read(instance: InstanceDocuments, path: str, now: float) -> str | None:
    """The document at `path` below `/latest/`, a folder's listing, or None when there is neither."""
    tree = _tree(instance, now)
    path = path.rstrip("/")
    if path in tree:
        return tree[path]
    below = f"{path}/" if path else ""
    names = {_first_part(known.removeprefix(below)) for known in tree if known.startswith(below)}
    return "\n".join(sorted(names)) if names else None


def _first_part(path: str) -> str:
    head, slash, _ = path.partition("/")
    return head + slash


def _tree(instance: InstanceDocuments, now: float) -> dict[str, str]:
    meta = {
        "ami-id": IMAGE,
        "instance-action": "none",
        "instance-id": instance.instance_id,
        "instance-life-cycle": instance.life_cycle,
        "instance-type": instance.instance_type,
        "local-ipv4": "10.0.0.10",
        "placement/availability-zone": instance.zone,
        "placement/region": instance.region,
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
        "events/maintenance/history": "[]",
        "events/maintenance/scheduled": _json([_maintenance(event) for event in instance.events]),
        **{f"tags/instance/{key}": value for key, value in instance.tags.items()},
        **_profile(instance, now),
        **_announcements(instance),
    }
    return {
        **{f"meta-data/{path}": text for path, text in meta.items()},
        "dynamic/instance-identity/document": _json(_identity(instance)),
    }


def _announcements(instance: InstanceDocuments) -> dict[str, str]:
    documents = {}
    if instance.interruption is not None:
        action, at = instance.interruption
        documents["spot/instance-action"] = json.dumps({"action": action, "time": _iso(at)})
        if action == "terminate":  # the older document knows nothing of stop and hibernate
            documents["spot/termination-time"] = _iso(at)
    if instance.rebalance is not None:
        documents["events/recommendations/rebalance"] = json.dumps({"noticeTime": _iso(instance.rebalance)})
    return documents


def _maintenance(event: ScheduledEvent) -> dict[str, str]:
    prefix = "" if event.state == "active" else f"[{event.state.capitalize()}] "
    document = {
        "NotBefore": _rfc_date(event.not_before),
        "Code": event.code,
        "Description": f"{prefix}scheduled {event.code.split('-', 1)[-1]}",
        "EventId": event.event_id,
        "State": event.state,
    }
    if event.not_after is not None:
        document["NotAfter"] = _rfc_date(event.not_after)
    return document


def _profile(instance: InstanceDocuments, now: float) -> dict[str, str]:
    if instance.role is None:
        return {}
    keys = instance.credentials
    info = {
        "Code": "Success",
        "LastUpdated": _iso(instance.launched),
        "InstanceProfileArn": f"arn:aws:iam::{ACCOUNT}:instance-profile/{instance.role}",
        "InstanceProfileId": "AIPASIMULATED0000000",
    }
    credentials = {
        "Code": "Success",
        "LastUpdated": _iso(now),
        "Type": "AWS-HMAC",
        "AccessKeyId": keys.access_key,
        "SecretAccessKey": keys.secret_key,
        "Token": keys.session_token,
        "Expiration": _iso(now + keys.lifetime_s),
    }
    return {"iam/info": _json(info), f"iam/security-credentials/{instance.role}": _json(credentials)}


def _identity(instance: InstanceDocuments) -> dict[str, str | None]:
    return {
        "accountId": ACCOUNT,
        "architecture": "x86_64",
        "availabilityZone": instance.zone,
        "billingProducts": None,
        "devpayProductCodes": None,
        "marketplaceProductCodes": None,
        "imageId": IMAGE,
        "instanceId": instance.instance_id,
        "instanceType": instance.instance_type,
        "kernelId": None,
        "pendingTime": _iso(instance.launched),
        "privateIp": "10.0.0.10",
        "ramdiskId": None,
        "region": instance.region,
        "version": "2017-09-30",
    }


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, separators=(",", " : "))


def _iso(at: float) -> str:
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(at))


def _rfc_date(at: float) -> str:
    """As in "21 Jan 2019 09:00:43 GMT": an e-mail's date without the weekday."""
    return formatdate(at, usegmt=True).partition(", ")[2]
