"""A refusal, in the shape that each service's protocol has for it, and with the code that clients act on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web

from support.iam.policies import Need, Verdict

REQUEST = "00000000-0000-4000-8000-000000000000"
JSON = "application/x-amz-json-1.0"


def why(who: str, need: Need, verdict: Verdict) -> str:
    """In IAM's own words."""
    because = (
        "with an explicit deny in a policy"
        if verdict.explicit
        else f"because no identity-based policy allows the {need.action} action"
    )
    return f"User: {who} is not authorized to perform: {need.action} on resource: {need.resource} {because}"


def denial(service: str, text: str, *, head: bool = False) -> web.Response:
    if service == "s3":
        return _s3(text, head=head)
    if service == "ec2":
        code, text = "UnauthorizedOperation", f"You are not authorized to perform this operation. {text}"
        body = f"<Response><Errors><Error><Code>{code}</Code><Message>{escape(text)}</Message></Error></Errors>"
        body += f"<RequestID>{REQUEST}</RequestID></Response>"
        return web.Response(status=403, body=body.encode(), content_type="text/xml")
    if service in ("iam", "sts", "cloudformation", "sns"):
        body = f"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{escape(text)}</Message>"
        body += f"</Error><RequestId>{REQUEST}</RequestId></ErrorResponse>"
        return web.Response(status=403, body=body.encode(), content_type="text/xml")
    document = {"__type": "com.amazon.coral.service#AccessDeniedException", "Message": text, "message": text}
    headers = {"Content-Type": JSON, "x-amzn-RequestId": REQUEST}
    if service == "sqs":
        headers["x-amzn-query-error"] = "AccessDenied;Sender"
    return web.Response(status=400, body=json.dumps(document).encode(), headers=headers)


def _s3(text: str, *, head: bool) -> web.Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>{escape(text)}</Message>'
    body += f"<RequestId>{REQUEST}</RequestId></Error>"
    return web.Response(status=403, body=b"" if head else body.encode(), content_type="application/xml")


def unknown_key() -> web.Response:
    """A key that nobody was given: whoever uses it has not learned his role."""
    return denial("s3", "The AWS Access Key Id you provided does not exist in our records.")


def denied_launches(denied: list[tuple[Mapping[str, Any], Mapping[str, Any], str]]) -> dict[str, Any]:
    """The 200 of an `instant` fleet that may not launch: nothing but errors (reported by others, not seen by us)."""
    errors = [
        {
            "LaunchTemplateAndOverrides": {"LaunchTemplateSpecification": named, "Overrides": override},
            "Lifecycle": "spot",
            "ErrorCode": "UnauthorizedOperation",
            "ErrorMessage": f"You are not authorized to perform this operation. {text}",
        }
        for named, override, text in denied
    ]
    return {"FleetId": f"fleet-{REQUEST}", "Errors": errors, "Instances": []}
