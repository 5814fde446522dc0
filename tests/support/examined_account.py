"""An AWS account for examinations: moto, behind a front that refuses, rewrites or tells the wrong time as a test asks.

What moto does not know (quotas, drift) the front answers itself. Everything comes over HTTP, parsed by botocore.
"""

from __future__ import annotations

import io
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from threading import Thread
from time import time
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_api._internal import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import make_server

import spotrelay
from spotrelay.stack import template

ACCOUNT, REGION, STACK = DEFAULT_ACCOUNT_ID, "us-east-1", "relay"
ALARM = f"{STACK}-DeadLettersAlarm-1ABC"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
TYPES = ("m5.large", "m6i.large")
KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "secret"}
# One session for all clients: a service's model is parsed once.
# And one moto: each of its services is a web application, made at its first request.
MOTO = DomainDispatcherApplication(create_backend_app)
SESSION = boto3.Session(**KEYS, region_name=REGION)
_SIGNED = re.compile(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/")

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes]]


@dataclass
class Front:
    """Actions are named as AWS names them; in REST protocols by method and the beginning of the path."""

    endpoint: str = ""
    ahead_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    _answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    _rewrites: dict[str, Callable[[str], str]] = field(default_factory=dict)
    _quotas: dict[str, dict[str, Any]] = field(default_factory=dict)

    def refuse(
        self, action: str, code: str, message: str = "no", *, status: int = 400, region: str = "", **headers: str
    ) -> None:
        """`region`: only there."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers[action, region] = lambda environ: _refusal(_service(environ), code, message, status, told)

    def deny(self, action: str) -> None:
        self.refuse(action, "AccessDenied", "You may not.", status=403)

    def say(self, action: str, answer: dict[str, Any] | str) -> None:
        """A document in protocols that speak JSON, else the result's XML."""

        def told(_: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
            if isinstance(answer, dict):
                return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()
            body = f"<{action}Response><{action}Result>{answer}</{action}Result></{action}Response>"
            return 200, {"Content-Type": "text/xml"}, body.encode()

        self._answers[action, ""] = told

    def quota(self, code: str, name: str, vcpus: float) -> None:
        """The account's own value."""
        self._quotas[code] = {"QuotaCode": code, "QuotaName": name, "Value": vcpus}

    def rewrite(self, action: str, change: Callable[[str], str]) -> None:
        self._rewrites[action] = change

    def replace(self, action: str, old: str, new: str) -> None:
        def change(body: str) -> str:
            assert old in body, f"{old!r} is not in {body}"
            return body.replace(old, new)

        self.rewrite(action, change)

    def serve(self, moto: Any, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action = _action(environ, body)
        self.asked.append(action)
        if (answer := self._answer(action, environ, body)) is not None:
            status, headers, said = answer
            start(f"{status} said", list(headers.items()))
            return [said]
        begun: list[Any] = []
        said = b"".join(moto(environ, lambda *told: begun.append(told)))
        change = next((change for name, change in self._rewrites.items() if action.startswith(name)), None)
        said = change(said.decode()).encode() if change else said
        start(begun[0][0], [(name, value) for name, value in begun[0][1] if name.lower() != "content-length"])
        return [said]

    def _answer(self, action: str, environ: dict[str, Any], body: bytes) -> tuple[int, dict[str, str], bytes] | None:
        for (name, region), answer in self._answers.items():
            if action.startswith(name) and region in ("", _signed(environ, 1)):
                return answer(environ)
        if action == "GetServiceQuota":
            quota = self._quotas.get(json.loads(body)["QuotaCode"])
            if quota is None:
                return _refusal("servicequotas", "NoSuchResourceException", "no such quota", 400, {})
            return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps({"Quota": quota}).encode()
        if action == "ListRequestedServiceQuotaChangeHistoryByQuota":
            return 200, {"Content-Type": "application/x-amz-json-1.1"}, b'{"RequestedQuotas": []}'
        return None


def _signed(environ: dict[str, Any], group: int) -> str:
    match = _SIGNED.search(environ.get("HTTP_AUTHORIZATION", ""))
    return match[group] if match else ""


def _service(environ: dict[str, Any]) -> str:
    return _signed(environ, 2)


def _action(environ: dict[str, Any], body: bytes) -> str:
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        return str(target).rpartition(".")[2]
    if "form-urlencoded" in environ.get("CONTENT_TYPE", ""):
        return parse_qs(body.decode()).get("Action", [""])[0]
    query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
    return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{query}"


def _refusal(service: str, code: str, message: str, status: int, headers: dict[str, str]) -> Any:
    """In the shape of the service's protocol."""
    error = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    match service:
        case "ec2":
            body = f"<Response><Errors><Error>{error}</Error></Errors></Response>"
        case "sts" | "iam" | "cloudformation":
            body = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"
        case "s3":
            body = f"<Error>{error}</Error>"
        case _:
            told = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": code, **headers}
            return status, told, json.dumps({"__type": code, "message": message}).encode()
    return status, {"Content-Type": "text/xml", **headers}, body.encode()


def client(service: str, front: Front) -> Any:
    """Straight to the account, as the person who arranges it."""
    return SESSION.client(service, endpoint_url=front.endpoint)  # type: ignore[call-overload]


def environment(front: Front) -> dict[str, str]:
    """For whoever is to see this account, and nothing of the person's own."""
    return {
        "AWS_ENDPOINT_URL": front.endpoint,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def account() -> Iterator[Front]:
    """An empty one. One at a time in a process: moto's state is the process's own."""
    _reset()
    front = Front()

    class Handler(MotoRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time()) + front.ahead_s, usegmt=True)

    server = make_server(
        "127.0.0.1",
        0,
        lambda environ, start: front.serve(MOTO, environ, start),
        threaded=True,
        request_handler=Handler,
    )
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    front.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield front
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        _reset()


def _reset() -> None:
    """Without the 1,300 images of Amazon's that moto would make anew each time: a fifth of a second."""
    with patch.dict(os.environ, MOTO_EC2_LOAD_DEFAULT_AMIS="false"):
        moto_api_backend.reset()


def deploy(front: Front) -> dict[str, str]:
    """The stack from its own template, in two steps as `spotrelay deploy` does it, and what moto leaves out of it, so
    that the account is in order. Its outputs."""
    cloudformation, ec2, s3, iam, cloudwatch = clients = [
        client(name, front) for name in ("cloudformation", "ec2", "s3", "iam", "cloudwatch")
    ]
    image = _image(ec2)
    parameters = {
        template.VERSION: spotrelay.__version__,
        template.IMAGE: image,
        template.ROOT_DEVICE: "/dev/sda1",
        template.TYPES: ",".join(TYPES),
        template.ZONES: ",".join(ZONES),
    }
    _apply(cloudformation, cloudformation.create_stack, parameters)
    outputs = _outputs(cloudformation)
    s3.put_object(Bucket=outputs["BucketName"], Key="launcher/code.zip", Body=_zip())
    _apply(cloudformation, cloudformation.update_stack, {**parameters, template.LAUNCHER_ZIP: "launcher/code.zip"})
    outputs = _outputs(cloudformation)
    _close_bucket(s3, outputs["BucketName"])
    # By name: moto gives service-linked roles names of its own.
    for role in ("AWSServiceRoleForEC2Spot", "AWSServiceRoleForEC2Fleet"):
        iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
    _make_alarm(cloudwatch, front)
    front.quota("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 64)
    for each in clients:
        each.close()
    front.asked.clear()
    return outputs


def _apply(cloudformation: Any, change: Callable[..., Any], parameters: dict[str, str]) -> None:
    with warnings.catch_warnings():
        # moto, in this process, warns of each type that it leaves out.
        warnings.filterwarnings("ignore", message="Tried to parse AWS::")
        change(
            StackName=STACK,
            TemplateBody=template.text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Tags=[{"Key": "spotrelay:stack", "Value": STACK}],
            Capabilities=["CAPABILITY_IAM"],
        )
        # What an update adds, moto makes when somebody asks what there is.
        cloudformation.list_stack_resources(StackName=STACK)


def _outputs(cloudformation: Any) -> dict[str, str]:
    [stack] = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def _image(ec2: Any) -> str:
    """One of this account's own."""
    made = ec2.register_image(Name=f"spotrelay-{spotrelay.__version__}", RootDeviceName="/dev/sda1")["ImageId"]
    ec2.create_tags(Resources=[made], Tags=[{"Key": "spotrelay:version", "Value": spotrelay.__version__}])
    return str(made)


def _zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("spotrelay/__init__.py", "")
    return packed.getvalue()


def _make_alarm(cloudwatch: Any, front: Front) -> None:
    """CloudFormation's list gets it as well."""
    cloudwatch.put_metric_alarm(
        AlarmName=ALARM,
        AlarmDescription="A message failed five times. Look at the launcher's log, then at the dead-letter queue.",
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Statistic="Maximum",
        Period=300,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
    )
    told = {
        "LogicalResourceId": "DeadLettersAlarm",
        "ResourceType": "AWS::CloudWatch::Alarm",
        "PhysicalResourceId": ALARM,
        "ResourceStatus": "CREATE_COMPLETE",
    }
    member = "".join(f"<{key}>{value}</{key}>" for key, value in told.items())
    front.say("ListStackResources", f"<StackResourceSummaries><member>{member}</member></StackResourceSummaries>")


def _close_bucket(s3: Any, bucket: str) -> None:
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True))
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
