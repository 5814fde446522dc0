"""What a ClientToken promises, and what it does not.

1. Same token, same parameters: the same instances, as they are now. Nothing more is launched.
2. Same token, other parameters: refused. Everything counts as a parameter, also the launch template's version that
   `$Latest` meant at the time. A launch that failed for want of capacity burns its token in this sense too; a request
   that was throttled, or wrong, never began and leaves its token free.
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


Key = tuple[str, str, str]


@dataclass(slots=True)
class Use:
    """One request by a token: what it asked for, and what came of it so far. `key`: None without a token."""

    key: Key | None
    fingerprint: str
    instances: list[str] = field(default_factory=list)
    answer: dict[str, Any] | None = None


class Tokens:
    """Of one account in one region. Each action has its own."""

    def __init__(self) -> None:
        self._uses: dict[Key, Use] = {}

    def use(self, action: str, scope: str, params: Mapping[str, Any], resolved: str = "") -> Use:
        """As `find`, and written down at once."""
        use = self.find(action, scope, params, resolved)
        self.burn(use)
        return use

    def find(self, action: str, scope: str, params: Mapping[str, Any], resolved: str = "") -> Use:
        """The use of the request's token, new if it is; without a token each request is its own.

        `scope`: a zone, or "" for the region. `resolved`: what the request does not say and yet depends on. Raises
        AwsError.
        """
        fingerprint = f"{resolved} {_fingerprint(params)}"
        token = params.get("ClientToken")
        if not token:
            return Use(None, fingerprint)
        if len(token) > LONGEST_TOKEN or not token.isascii():
            message = f"Client token is not at most {LONGEST_TOKEN} ASCII characters: {token}"
            raise AwsError("InvalidParameterValue", message)
        key = (action, scope, token)
        use = self._uses.get(key) or Use(key, fingerprint)
        if use.fingerprint != fingerprint:
            raise AwsError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        return use

    def burn(self, use: Use) -> None:
        """From here on the token stands for this request."""
        if use.key is not None:
            self._uses[use.key] = use


def terminated() -> AwsError:
    return AwsError(
        "IdempotentInstanceTerminated",
        "The client token you have provided is associated with a terminated instance. "
        "Please use a different client token.",
    )


def _fingerprint(params: Mapping[str, Any]) -> str:
    compared = {name: value for name, value in params.items() if name not in ("ClientToken", "DryRun")}
    return json.dumps(compared, sort_keys=True, default=str)
