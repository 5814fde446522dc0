"""Policies, and the verdict on one need: an explicit deny beats every allow, and what nobody allows is denied.

Policies of identities (a role's) and of resources (a bucket's, a queue's) are asked together: within one account either
may allow, and either may deny. A statement that counted is named in the verdict, so that a test can tell which of all
that is granted was ever used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.iam.conditions import Context, Unknown, hold
from support.iam.wildcards import action_matches, matches

KEYS = {"Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition"}


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs to be allowed: one action on one resource (its ARN). `context`: without the global keys."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the statements of resource policies name him. Of a role's session both ARNs are his."""

    arn: str
    role: str = ""
    service: str = ""

    def is_meant_by(self, principal: Any) -> bool:
        if principal == "*":
            return True
        if not isinstance(principal, Mapping) or principal.keys() - {"AWS", "Service"}:
            raise Unknown(f"the principal {principal!r}")
        named = _as_list(principal.get("AWS", []))
        return "*" in named or bool({self.arn, self.role} & set(named) - {""}) or self._serves(principal)

    def _serves(self, principal: Mapping[str, Any]) -> bool:
        return bool(self.service) and self.service in _as_list(principal.get("Service", []))


@dataclass(frozen=True, slots=True)
class Statement:
    """One, with a name to find it again: its Sid, or its number in the policy."""

    name: str
    document: Mapping[str, Any]

    def matches(self, need: Need, context: Context) -> bool:
        return (
            self._is_action(need.action)
            and self._is_resource(need.resource, context)
            and hold(self.document.get("Condition", {}), context)
        )

    def _is_action(self, action: str) -> bool:
        key = "Action" if "Action" in self.document else "NotAction"
        found = any(action_matches(pattern, action) for pattern in _as_list(self.document[key]))
        return found == (key == "Action")

    def _is_resource(self, resource: str, context: Context) -> bool:
        key = "Resource" if "Resource" in self.document else "NotResource"
        found = any(matches(pattern, resource, context) for pattern in _as_list(self.document[key]))
        return found == (key == "Resource")

    @property
    def denies(self) -> bool:
        return bool(self.document["Effect"] == "Deny")


@dataclass(frozen=True, slots=True)
class Policy:
    """A document, with whose it is and what it is called there. Raises Unknown for what is no policy known here."""

    name: str
    document: Mapping[str, Any]

    def __post_init__(self) -> None:
        for statement in self.statements():
            if unknown := statement.document.keys() - KEYS:
                raise Unknown(f"{statement.name}: {', '.join(sorted(unknown))}")
            if statement.document.get("Effect") not in ("Allow", "Deny"):
                raise Unknown(f"{statement.name}: Effect {statement.document.get('Effect')!r}")

    def statements(self) -> Iterator[Statement]:
        for number, document in enumerate(_as_list(self.document["Statement"])):
            yield Statement(f"{self.name}/{document.get('Sid', number)}", document)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`by`: the statements that allowed it, or that denied it; of nobody when nothing was said."""

    allowed: bool
    by: tuple[str, ...] = ()

    @property
    def explicit(self) -> bool:
        return not self.allowed and bool(self.by)


def decide(
    need: Need,
    context: Context,
    *,
    identity: Iterable[Policy] = (),
    resource: Iterable[Policy] = (),
    caller: Caller | None = None,
) -> Verdict:
    """`context`: the need's own and the global keys. Raises Unknown."""
    statements = [statement for policy in identity for statement in policy.statements()]
    for policy in resource:
        for statement in policy.statements():
            if caller is not None and caller.is_meant_by(statement.document.get("Principal")):
                statements.append(statement)
    meant = [statement for statement in statements if statement.matches(need, context)]
    denying = tuple(statement.name for statement in meant if statement.denies)
    if denying:
        return Verdict(False, denying)
    return Verdict(bool(meant), tuple(statement.name for statement in meant))


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
