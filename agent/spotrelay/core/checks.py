"""What a field of the spec may hold.

A check takes what stands in the file and gives what the Spec holds, or raises Wrong, which reads on after the field's
name: `is not a list: 7`. A value comes from a person, a bucket or a mistake, so even to show it must not fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

Check = Callable[[Any], Any]

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"ssm:(/[A-Za-z0-9_.-]+)+")
_AFTER = re.compile(r"after (\d{1,6})([smh])", re.ASCII)
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
# RFC 3339, whose zone is not optional: half a day earlier or later is what a deadline is about.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
# Enough to recognise what one wrote; a body of a megabyte would bury the problems beside it.
_SHOWN = 80


class Wrong(Exception):
    """What is wrong with a value; the field knows the remedy."""


def shown(value: Any) -> str:
    """The value as an error shows it. Python refuses to spell integers of 5,000 digits and lists nested 1,000 deep."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def text(value: Any) -> str:
    """What the operating system takes as an argument or a name, which may be bytes that are no UTF-8."""
    if not isinstance(value, str):
        raise Wrong(f"is not a text: {shown(value)}")
    if "\0" in value:
        raise Wrong("contains a NUL byte")
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        raise Wrong(f"contains what no file name or argument can: {shown(value)}") from None
    return value


def matching(pattern: re.Pattern[str], what: str) -> Check:
    def check(value: Any) -> str:
        if not pattern.fullmatch(text(value)):
            raise Wrong(f"is not {what}: {shown(value)}")
        return str(value)

    return check


def one_of(choices: tuple[str, ...]) -> Check:
    def check(value: Any) -> str:
        if value not in choices:
            raise Wrong(f"is none of {', '.join(choices)}: {shown(value)}")
        return str(value)

    return check


def list_of(check: Check, *, empty: bool = True) -> Check:
    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise Wrong(f"is not a list: {shown(value)}")
        if not value and not empty:
            raise Wrong("is empty")
        return tuple(check(item) for item in value)

    return check_all


def number(low: float, high: float, *, whole: bool = False) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise Wrong(f"is not a {'whole ' if whole else ''}number: {shown(value)}")
        if not low <= value <= high:  # NaN is refused here: it compares false
            raise Wrong(f"is not between {low:g} and {high:g}: {shown(value)}")
        return value if whole else float(value)

    return check


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"is neither true nor false: {shown(value)}")
    return value


def directory(value: Any) -> str:
    path = text(value)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not path.startswith("/") or ".." in parts:
        raise Wrong(f"is not an absolute path: {shown(value)}")
    if not parts:
        raise Wrong("is the root of the file system")
    return "/" + "/".join(parts)


def pattern(value: Any) -> str:
    """Of what is excluded, by the rules of `snapshot/exclude.py`, which refuses patterns that match nothing."""
    if not text(value).strip("/"):
        raise Wrong(f"holds a pattern that matches nothing: {shown(value)}")
    return str(value)


def environment(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise Wrong(f"is not a table: {shown(value)}")
    for name in value:
        if not _ENV_NAME.fullmatch(name):
            raise Wrong(f"holds what is no variable's name: {shown(name)}")
        if name.startswith("SPOTRELAY_"):
            raise Wrong(f"sets {name}, which spotrelay sets itself")
    return {name: text(setting) for name, setting in value.items()}


def secrets(value: Any) -> dict[str, str]:
    found = environment(value)
    for name, reference in found.items():
        # Not the value: somebody may have written the secret itself.
        if not _SECRET.fullmatch(reference):
            raise Wrong(f"names no parameter for {name}")
    return found


def command(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise Wrong(f"is one text, not a list of words: {shown(value)}")
    words: tuple[str, ...] = list_of(text, empty=False)(value)
    if not words[0]:
        raise Wrong("begins with an empty word")
    return words


def policy(value: Any) -> str:
    """When a run on spot may take an on-demand instance."""
    if value not in ("never", "finish_by") and (not isinstance(value, str) or after_s(value) is None):
        raise Wrong(f"is neither never, nor after a time like 90s, 30m or 2h, nor finish_by: {shown(value)}")
    return str(value)


def after_s(policy: str) -> float | None:
    match = _AFTER.fullmatch(policy)
    return int(match[1]) * _UNITS_S[match[2]] if match else None


def moment(value: Any) -> str:
    """A moment as text, RFC 3339. TOML has moments of its own, JSON has none."""
    if isinstance(value, datetime):
        value = value.isoformat()
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise Wrong(f"is not a moment with its time zone: {shown(value)}")
    try:
        unix(value)
    except (ValueError, OverflowError):
        raise Wrong(f"is no day or time that there is: {shown(value)}") from None
    return value


def unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
