"""An AWS account on loopback: moto's server, behind a front that refuses, rewrites, answers itself or tells the wrong
time, as a test asks.

The code under test is not touched: it speaks to an endpoint, by AWS_ENDPOINT_URL, as it does to AWS, and everything is
parsed by botocore. What moto does not know (quotas) the front answers itself.
"""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from threading import Event, Thread
from time import time
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import boto3
import pytest
from moto.moto_api._internal import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import make_server

from support.change_sets import truthful_change_sets
from support.images import REGION, make_images, none_of_amazons

KEYS = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "secret"}
# What a person's shell may hold that would lead a command elsewhere.
ELSEWHERE = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION")
# One session for all clients: a service's model is parsed once.
# And one moto: each of its services is a web application, made at its first request.
MOTO = DomainDispatcherApplication(create_backend_app)
SESSION = boto3.Session(**KEYS, region_name=REGION)
_SIGNED = re.compile(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/")

Said = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True)
class Held:
    """A request that is waited for, and then waits itself."""

    action: str
    words: bytes
    come: Event = field(default_factory=Event)
    go_on: Event = field(default_factory=Event)


@dataclass
class Front:
    """Actions are named as AWS names them; in REST protocols by method and the beginning of the path."""

    endpoint: str = ""
    ahead_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    _answers: dict[tuple[str, str], Callable[[dict[str, Any]], Said]] = field(default_factory=dict)
    _rewrites: dict[str, Callable[[str], str]] = field(default_factory=dict)
    _quotas: dict[str, dict[str, Any]] = field(default_factory=dict)
    _held: list[Held] = field(default_factory=list)

    def refuse(
        self, action: str, code: str, message: str = "no", status: int = 400, *, region: str = "", **headers: str
    ) -> None:
        """`region`: only there."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers[action, region] = lambda environ: _refusal(_service(environ), code, message, status, told)

    def deny(self, action: str) -> None:
        self.refuse(action, "AccessDenied", "You may not.", 403)

    def say(self, action: str, answer: dict[str, Any] | str) -> None:
        """A document in protocols that speak JSON, else the result's XML."""

        def told(_: dict[str, Any]) -> Said:
            if isinstance(answer, dict):
                return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()
            body = f"<{action}Response><{action}Result>{answer}</{action}Result></{action}Response>"
            return 200, {"Content-Type": "text/xml"}, body.encode()

        self._answers[action, ""] = told

    def hold(self, action: str, *, words: str = "") -> Event:
        """It is taken, and not answered until `relent`; with `words`, where its body has them. The event: one came."""
        held = Held(action, words.encode())
        self._held.append(held)
        return held.come

    def relent(self) -> None:
        """moto answers everything again."""
        self._answers.clear()
        for each in self._held:
            each.go_on.set()
        self._held.clear()

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

    def serve(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action = _action(environ, body)
        self.asked.append(action)
        if (answer := self._answer(action, environ, body)) is not None:
            status, headers, said = answer
            start(f"{status} said", list(headers.items()))
            return [said]
        change = next((change for name, change in self._rewrites.items() if action.startswith(name)), None)
        if change is None:
            return MOTO(environ, start)  # type: ignore[no-any-return]
        begun: list[Any] = []
        said = change(b"".join(MOTO(environ, lambda *told: begun.append(told))).decode()).encode()
        start(begun[0][0], [(name, value) for name, value in begun[0][1] if name.lower() != "content-length"])
        return [said]

    def _answer(self, action: str, environ: dict[str, Any], body: bytes) -> Said | None:
        for held in self._held:
            if action.startswith(held.action) and held.words in body:
                held.come.set()
                held.go_on.wait()
                return _refusal(_service(environ), "SlowDown", "too late", 503, {})
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


def _refusal(service: str, code: str, message: str, status: int, headers: dict[str, str]) -> Said:
    """In the shape of the service's protocol."""
    error = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    match service:
        case "ec2":
            body = f"<Response><Errors><Error>{error}</Error></Errors></Response>"
        case "sts" | "iam" | "cloudformation" | "sns":
            body = f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>"
        case "s3":
            body = f"<Error>{error}</Error>"
        case _:
            told = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": code, **headers}
            return status, told, json.dumps({"__type": code, "message": message}).encode()
    return status, {"Content-Type": "text/xml", **headers}, body.encode()


def client(service: str, front: Front, region: str = REGION) -> Any:
    """Straight to the account, as the person who arranges it."""
    return SESSION.client(service, endpoint_url=front.endpoint, region_name=region)  # type: ignore[call-overload]


def environment(front: Front) -> dict[str, str]:
    """For whoever is to see this account, and nothing of the person's own."""
    return {
        "AWS_ENDPOINT_URL": front.endpoint,
        "AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def account() -> Iterator[Front]:
    """With two images and nothing else. One at a time in a process: moto's state is the process's own."""
    for chatty in ("werkzeug", "moto"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    front = Front()

    class Handler(MotoRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time()) + front.ahead_s, usegmt=True)

    server = make_server("127.0.0.1", 0, front.serve, threaded=True, request_handler=Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    front.endpoint = f"http://127.0.0.1:{server.server_port}"
    with none_of_amazons(), truthful_change_sets(), warnings.catch_warnings():
        # Types that moto leaves out: tests/stack/test_template.py holds them to the template.
        warnings.filterwarnings("ignore", "Tried to parse AWS::", UserWarning)
        moto_api_backend.reset()
        thread.start()
        try:
            make_images()
            yield front
        finally:
            front.relent()
            server.shutdown()
            thread.join()
            server.server_close()
            moto_api_backend.reset()


@contextmanager
def own_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    """As this process sees it: its own, whatever the person's shell holds."""
    with account() as front:
        for name in ELSEWHERE:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment(front).items():
            monkeypatch.setenv(name, value)
        yield front
