"""What a ClientToken promises, and what it does not.

1. Same token, same parameters: the same instances, as they are now. Nothing more is launched.
2. Same token, other parameters: refused. Everything counts as a parameter, also the launch template's version that
   `$Latest` meant at the time. A launch that failed for want of capacity burns its token in this sense too.
3. RunInstances with a zone or a subnet keeps its tokens *by zone*: the same token in two zones launches twice.
4. An instance behind the token that has terminated: refused (since January 2025; before that, and by some reports
   still, the dead instance is the answer). Both must be survived, so both can be chosen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spotrelay.local.wire import AwsError

LONGEST_TOKEN = 64


@dataclass(slots=True)
class Use:
    """One request by a token: what it asked for, and what came of it so far."""

    fingerprint: str
    instances: list[str] = field(default_factory=list)
    answer: dict[str, Any] | None = None


class Tokens:
    """Of one account in one region. Each action has its own."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, str, str], Use] = {}

    def use(self, action: str, scope: str, params: Mapping[str, Any], resolved: str = "") -> Use:
        """The use of the request's token, new if it is; without a token each request is its own.

        `scope`: a zone, or "" for the region. `resolved`: what the request does not say and yet depends on. Raises
        AwsError.
        """
        fingerprint = f"{resolved} {_fingerprint(params)}"
        token = params.get("ClientToken")
        if not token:
            return Use(fingerprint)
        if len(token) > LONGEST_TOKEN or not token.isascii():
            message = f"Client token is not at most {LONGEST_TOKEN} ASCII characters: {token}"
            raise AwsError("InvalidParameterValue", message)
        use = self._uses.setdefault((action, scope, token), Use(fingerprint))
        if use.fingerprint != fingerprint:
            raise AwsError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        return use


def terminated() -> AwsError:
    return AwsError(
        "IdempotentInstanceTerminated",
        "The client token you have provided is associated with a terminated instance. "
        "Please use a different client token.",
    )


def _fingerprint(params: Mapping[str, Any]) -> str:
    compared = {name: value for name, value in params.items() if name not in ("ClientToken", "DryRun")}
    return json.dumps(compared, sort_keys=True, default=str)
