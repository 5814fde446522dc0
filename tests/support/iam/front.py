"""The endpoint that every client is given: who calls, what does that need, may he; then on to moto or our plane.

    front = Front(plane, moto)
    await front.start()
    keys = front.keys("arn:aws:iam::123456789012:role/agent", session="i-0123")
    ...AWS_ENDPOINT_URL=front.endpoint
    front.audit

SQS, EC2 (but for its images) and the price list are the control plane's once it is `carrying` the stack; all others,
and these before that, are moto's. A role's policies are read from moto's IAM when keys are given out, and again by
`refresh`. Callers that nobody gave keys to are refused: a client that fell back to somebody's environment must not pass
for a role.

Loopback stands for TLS (`aws:SecureTransport` is true).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from spotrelay.local.server import EC2_NAMESPACE, ControlPlane
from spotrelay.local.wire import AwsError, Models, decode_form, encode_xml, operation
from support.iam import denials
from support.iam.calls import Call, other_needs
from support.iam.conditions import Context, Unknown
from support.iam.ec2 import Account, ec2_needs, fleet_launch_needs, fleet_needs
from support.iam.policies import Caller, Need, Policy, Verdict, decide
from support.iam.roles import read_profile, read_role
from support.iam.s3 import bucket_of, of_missing, s3_needs
from support.iam.sqs import queue_of, sqs_needs

LARGEST = 1 << 30
PERSON = "arn:aws:iam::123456789012:user/person"
EVERYTHING = Policy("person", {"Statement": [{"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}]})
# Of EC2, what only moto has: a stack's update asks about its image again.
IMAGES = {"DescribeImages", "DescribeInstanceTypes"}
# Of one connection, not of the message; and what the server here sets by itself.
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "expect"}


@dataclass(frozen=True, slots=True)
class Keys:
    access_key: str
    secret_key: str
    session_token: str

    def environment(self) -> dict[str, str]:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        return dict(zip(names, (self.access_key, self.secret_key, self.session_token), strict=True))


@dataclass(slots=True)
class Principal:
    """`name`: the role's own, or "person". `context`: the global keys that tell who he is."""

    name: str
    caller: Caller
    policies: list[Policy]
    context: Context


@dataclass(frozen=True, slots=True)
class Entry:
    """One need of one call, as the audit log has it."""

    who: str
    session: str
    need: Need
    verdict: Verdict

    def __str__(self) -> str:
        said = "allowed" if self.verdict.allowed else "DENIED"
        return f"{said}: {self.who} {self.need.action} {self.need.resource} {dict(self.need.context)}"


@dataclass(slots=True)
class ResourcePolicies:
    """By the name of the bucket and of the queue."""

    buckets: dict[str, list[Policy]] = field(default_factory=dict)
    queues: dict[str, list[Policy]] = field(default_factory=dict)


class Front:
    def __init__(self, plane: ControlPlane, moto: str) -> None:
        self.endpoint = ""
        self.audit: list[Entry] = []
        self.problems: list[str] = []
        self.resource_policies = ResourcePolicies()
        self.carrying = False
        self._plane, self._moto = plane, moto
        self._principals: dict[str, Principal] = {}
        self._roles: dict[str, str] = {}
        self._account = Account(plane, self.role_of)
        self._models: Models | None = None
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self._models = Models()
        # As many connections as there are calls: a long poll must not hold up the rest.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        app = web.Application(client_max_size=LARGEST)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.endpoint = f"http://{host}:{port}"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        if self._models is not None:
            await self._models.close()

    # --- who there is

    def person(self) -> Keys:
        """Keys of somebody who may do everything, but for what a resource's own policy denies everybody."""
        return self._admit(Principal("person", Caller(PERSON), [EVERYTHING], {"aws:PrincipalArn": PERSON}))

    async def keys(self, role: str, *, session: str) -> Keys:
        """Of a session of this role (by name or ARN), with the policies that it has in moto now."""
        name = role.rpartition("/")[2]
        arn, identity, policies = await asyncio.to_thread(read_role, self._moto, name)
        assumed = f"arn:aws:sts::{self._plane.account}:assumed-role/{name}/{session}"
        context = {"aws:PrincipalArn": arn, "aws:userid": f"{identity}:{session}"}
        return self._admit(Principal(name, Caller(assumed, arn), policies, context))

    def _admit(self, principal: Principal) -> Keys:
        keys = Keys(f"ASIA{secrets.token_hex(8).upper()}", secrets.token_hex(20), secrets.token_hex(40))
        self._principals[keys.access_key] = principal
        return keys

    async def refresh(self) -> None:
        """The stack was updated: what its roles may now."""
        names = {principal.name for principal in self._principals.values()} - {"person"}
        found = {name: (await asyncio.to_thread(read_role, self._moto, name))[2] for name in names}
        for principal in self._principals.values():
            principal.policies = found.get(principal.name, principal.policies)

    async def learn_profile(self, arn: str) -> str:
        """The role behind an instance profile; to be known before somebody launches with it."""
        if arn not in self._roles:
            self._roles[arn] = await asyncio.to_thread(read_profile, self._moto, arn.rpartition("/")[2])
        return self._roles[arn]

    def role_of(self, profile: str) -> str:
        if profile not in self._roles:
            raise Unknown(f"the instance profile {profile}")
        return self._roles[profile]

    # --- one request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.method, request.rel_url.raw_path, request.rel_url.raw_query_string, headers, body)
        principal = self._principals.get(call.access_key)
        if principal is None:
            self.problems.append(f"nobody has the key {call.access_key!r}: {call.method} {call.path} {call.action}")
            return denials.unknown_key()
        try:
            refusal = await self._judge(call, principal)
            return refusal or await self._forward(request, call, principal)
        except Unknown as unknown:
            self.problems.append(f"{principal.name} {call.method} {call.path} {call.action}: {unknown}")
            return denials.denial(call.service, f"the front has no rule for {unknown}", head=call.method == "HEAD")

    async def _judge(self, call: Call, principal: Principal) -> web.Response | None:
        """The refusal; None for a call that may be made. Raises Unknown."""
        if call.service == "ec2":
            return await self._judge_ec2(call, principal)
        account = self._plane.account
        match call.service:
            case "s3":
                needs = s3_needs(call)
            case "sqs":
                needs = sqs_needs(call, account)
            case _:
                needs = other_needs(call, account)
        return self._refusal(needs, call, principal)

    async def _judge_ec2(self, call: Call, principal: Principal) -> web.Response | None:
        assert self._models is not None
        try:
            described = operation(await self._models.get("ec2"), call.action)
            params = decode_form(described, call.form)
        except AwsError:
            return None  # EC2 itself refuses what it cannot read
        if call.action != "CreateFleet":
            return self._refusal(ec2_needs(call.action, params, self._account), call, principal)
        if refusal := self._refusal(fleet_needs(params, self._account), call, principal):
            return refusal
        denied = [
            (named, override, text)
            for named, override, needs in fleet_launch_needs(params, self._account)
            if (text := self._denied(needs, call, principal))
        ]
        if not denied:
            return None
        answer = encode_xml(described, denials.denied_launches(denied), denials.REQUEST, EC2_NAMESPACE)
        return web.Response(body=answer, content_type="text/xml")

    def _refusal(self, needs: Iterable[Need], call: Call, principal: Principal) -> web.Response | None:
        text = self._denied(needs, call, principal)
        return denials.denial(call.service, text, head=call.method == "HEAD") if text else None

    def _denied(self, needs: Iterable[Need], call: Call, principal: Principal) -> str:
        """Why, for the first need that nobody grants; "" if all are granted. Every one is in the audit log."""
        texts = []
        for need in needs:
            verdict = self._decide(need, call, principal)
            session = principal.caller.arn.rpartition("/")[2]
            self.audit.append(Entry(principal.name, session, need, verdict))
            if not verdict.allowed:
                texts.append(denials.why(principal.caller.arn, need, verdict))
        return texts[0] if texts else ""

    def _decide(self, need: Need, call: Call, principal: Principal) -> Verdict:
        context = {
            **principal.context,
            "aws:PrincipalAccount": self._plane.account,
            "aws:RequestedRegion": call.region,
            "aws:SecureTransport": "true",
            **need.context,
        }
        policies = {"s3": self.resource_policies.buckets.get(bucket_of(call), ())} if call.service == "s3" else {}
        if call.service == "sqs":
            policies = {"sqs": self.resource_policies.queues.get(queue_of(call), ())}
        return decide(
            need,
            context,
            identity=principal.policies,
            resource=policies.get(call.service, ()),
            caller=principal.caller,
        )

    async def _forward(self, request: web.Request, call: Call, principal: Principal) -> web.StreamResponse:
        ours = self.carrying and call.service in ("sqs", "ec2", "pricing") and call.action not in IMAGES
        target = URL((self._plane.endpoint if ours else self._moto) + request.raw_path, encoded=True)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP | {"host"}}
        # EC2's and SQS's calls carry their own content type; a default one would be taken for a form.
        skip = ("Content-Type", "User-Agent", "Accept", "Accept-Encoding")
        assert self._session is not None
        sent = self._session.request(
            call.method, target, data=call.body or None, headers=headers, skip_auto_headers=skip, allow_redirects=False
        )
        async with sent as answer:
            body = await answer.read()
            if answer.status == 404 and call.service == "s3" and call.method in ("GET", "HEAD"):
                unseen = [n for n in of_missing(call) if not self._decide(n, call, principal).allowed]
                if unseen:
                    self.audit.append(Entry(principal.name, "", unseen[0], Verdict(False)))
                    return denials.denial("s3", "Access Denied", head=call.method == "HEAD")
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP]
            response = web.Response(status=answer.status, body=body, headers=dict(kept))
            if call.method == "HEAD" and "Content-Length" in answer.headers:
                response.headers["Content-Length"] = answer.headers["Content-Length"]
            return response
