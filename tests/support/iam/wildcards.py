"""Wildcards and variables in policies: `*`, `?` and `${aws:userid}`.

A variable stands for the value in the request's context, literally: `*` in a value is a star. `${*}`, `${?}` and `${$}`
are those characters themselves. A variable without a value matches nothing, as IAM has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_PART = re.compile(r"\$\{([^}]*)\}|\*|\?")
_NOTHING = re.compile(r"(?!)")


def matches(pattern: str, value: str, context: Mapping[str, object], *, wild: bool = True) -> bool:
    """Whether the whole of `value` is what `pattern` says. `wild` False: only variables are special."""
    return _compile(pattern, _values(pattern, context), wild).fullmatch(value) is not None


def _values(pattern: str, context: Mapping[str, object]) -> tuple[tuple[str, str | None], ...]:
    names = [match[1] for match in _PART.finditer(pattern) if match[1]]
    return tuple((name, _value(name, context)) for name in names)


def _value(name: str, context: Mapping[str, object]) -> str | None:
    if name in ("*", "?", "$"):
        return name
    # Names of keys are the same in capitals and small letters.
    found = next((value for key, value in context.items() if key.lower() == name.lower()), None)
    return found if isinstance(found, str) else None


@lru_cache(4096)
def _compile(pattern: str, values: tuple[tuple[str, str | None], ...], wild: bool) -> re.Pattern[str]:
    known, regex, at = dict(values), "", 0
    for part in _PART.finditer(pattern):
        regex += re.escape(pattern[at : part.start()])
        at = part.end()
        if part[1] is not None:
            value = known.get(part[1])
            if value is None:
                return _NOTHING
            regex += re.escape(value)
        else:
            regex += {"*": ".*", "?": "."}[part[0]] if wild else re.escape(part[0])
    return re.compile(regex + re.escape(pattern[at:]), re.DOTALL)


def action_matches(pattern: str, action: str) -> bool:
    """Actions know no variables, and no capitals."""
    return _compile(pattern.lower(), (), True).fullmatch(action.lower()) is not None


def arn_matches(pattern: str, arn: str, context: Mapping[str, object]) -> bool:
    """As ArnLike compares: each of the six parts by itself, so that no star reaches over a colon before the sixth."""
    patterns, parts = pattern.split(":", 5), arn.split(":", 5)
    if len(patterns) != 6 or len(parts) != 6:
        return False
    return all(matches(each, part, context) for each, part in zip(patterns, parts, strict=True))
