"""Conditions of statements, by IAM's rules for keys that are missing and keys with several values.

    a key is missing      false; true for a negated operator, for ...IfExists and for ForAllValues
    Null                  asks only whether it is
    several values        need ForAllValues or ForAnyValue: without one, what IAM does is not defined, and this raises
    several conditions    must all hold

Operators that no policy here uses (dates, addresses, binary) are not done by halves: `Unknown` is raised, which fails
the test. It is no denial: that would make a list of forbidden calls pass for the wrong reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from support.iam.wildcards import arn_matches, matches

Context = Mapping[str, str | Sequence[str]]
Test = Callable[[str, str, Context], bool]


class Unknown(Exception):
    """Something in a policy or a request that this IAM has no rule for."""


# The test of one wanted value (left) against one of the request's (right).
TESTS: Mapping[str, Test] = {
    "StringEquals": lambda want, have, context: matches(want, have, context, wild=False),
    "StringEqualsIgnoreCase": lambda want, have, context: matches(want.lower(), have.lower(), context, wild=False),
    "StringLike": matches,
    # These two are the same to IAM.
    "ArnEquals": arn_matches,
    "ArnLike": arn_matches,
    "Bool": lambda want, have, _: want.lower() == have.lower(),
    "NumericEquals": lambda want, have, _: float(have) == float(want),
    "NumericLessThan": lambda want, have, _: float(have) < float(want),
    "NumericLessThanEquals": lambda want, have, _: float(have) <= float(want),
    "NumericGreaterThan": lambda want, have, _: float(have) > float(want),
    "NumericGreaterThanEquals": lambda want, have, _: float(have) >= float(want),
}
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}


def hold(block: Mapping[str, Mapping[str, Any]], context: Context) -> bool:
    """Whether all of a statement's conditions do. Raises Unknown."""
    # A list, not a generator: an unknown operator behind a false condition must be found as well.
    found = [_holds(operator, key, want, context) for operator, keys in block.items() for key, want in keys.items()]
    return all(found)


def _holds(operator: str, key: str, want: Any, context: Context) -> bool:
    quantifier, _, name = operator.rpartition(":")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negated = name in NEGATED
    test = TESTS.get(NEGATED.get(name, name))
    if quantifier not in ("", "ForAllValues", "ForAnyValue") or (test is None and operator != "Null"):
        raise Unknown(f"the condition operator {operator}")
    wanted = [str(each).lower() if isinstance(each, bool) else str(each) for each in _as_list(want)]
    have = next((value for known, value in context.items() if known.lower() == key.lower()), None)
    if test is None:
        return (have is None) == (wanted == ["true"])
    if have is None:
        return if_exists or quantifier == "ForAllValues" or (negated and quantifier == "")
    if not isinstance(have, str) and not quantifier:
        raise Unknown(f"{operator} on {key}, which has several values, without ForAllValues or ForAnyValue")
    hits = [any(test(each, value, context) for each in wanted) != negated for value in _as_list(have)]
    return all(hits) if quantifier == "ForAllValues" else any(hits)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
