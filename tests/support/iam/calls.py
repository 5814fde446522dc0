"""One request as the front sees it, and what any service but S3, SQS and EC2 needs for it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, parse_qsl

from support.iam.policies import Need

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d+/([^/]+)/([^/]+)/aws4_request")
# The services that name the action in a header: prefix of the target, and what IAM calls the service.
TARGETS = {
    "AmazonSQS": "sqs",
    "AWSPriceListService": "pricing",
    "AWSEvents": "events",
    "AmazonSSM": "ssm",
    "Logs_20140328": "logs",
    "ServiceQuotasV20190624": "servicequotas",
    "GraniteServiceVersion20100801": "cloudwatch",
}
SERVICES = {"monitoring": "cloudwatch"}  # where the signature's name is not IAM's


@dataclass(frozen=True, slots=True)
class Call:
    """`path` and `query` as they came, encoded; header names in small letters."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def access_key(self) -> str:
        return self._signed(1)

    @property
    def region(self) -> str:
        return self._signed(2)

    @property
    def service(self) -> str:
        """As the signature names it; "" without one."""
        return self._signed(3)

    def _signed(self, group: int) -> str:
        # In the header, or in the query of a URL that was signed to be handed on.
        said = self.headers.get("authorization") or f"Credential={self.parameters.get('X-Amz-Credential', '')}"
        match = _CREDENTIAL.search(said)
        return match[group] if match else ""

    @property
    def parameters(self) -> dict[str, str]:
        """Of the query string. A name without a value (`?uploads`) has an empty one."""
        return {name: values[0] for name, values in parse_qs(self.query, keep_blank_values=True).items()}

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True))

    @property
    def document(self) -> dict[str, object]:
        """A JSON protocol's body."""
        found = json.loads(self.body or b"{}")
        assert isinstance(found, dict)
        return found

    @property
    def action(self) -> str:
        """What the header, or the form, names; "" in protocols that name none."""
        target = self.headers.get("x-amz-target", "")
        return target.rpartition(".")[2] or self.form.get("Action", "")


def other_needs(call: Call, account: str) -> list[Need]:
    """Of every other service: the action, on the parameter or topic that it names; where roles of the stack do not
    call, or nothing can be named, on everything.

    REST services (Lambda, Scheduler) name no action; then it is the method and the path, which no policy grants but one
    that grants all.
    """
    prefix = call.headers.get("x-amz-target", "").partition(".")[0]
    service = TARGETS.get(prefix) or SERVICES.get(call.service, call.service)
    return [Need(f"{service}:{call.action or f'{call.method} {call.path}'}", _named(call, account))]


def _named(call: Call, account: str) -> str:
    if call.service == "ssm" and "Name" in call.document:
        name = str(call.document["Name"]).removeprefix("/")
        return f"arn:aws:ssm:{call.region}:{account}:parameter/{name}"
    return call.form.get("TopicArn", "*") if call.service == "sns" else "*"
