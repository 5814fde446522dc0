"""What all Describe calls share: filters and pages."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from spotrelay.local.wire import AwsError

LARGEST_PAGE = 1000
Row = TypeVar("Row")
# What a row has under a filter's name: one value, or several of which any may match.
Field = Callable[[Any], Sequence[str]]


def select(
    rows: Sequence[Row],
    filters: Sequence[Mapping[str, Any]],
    fields: Mapping[str, Field],
    tags: Callable[[Row], Mapping[str, str]] | None = None,
) -> list[Row]:
    """Rows that pass every filter, by any of its values (`*` and `?` are wildcards). Raises AwsError."""
    chosen = list(rows)
    for each in filters:
        field = _field(each.get("Name", ""), fields, tags)
        patterns = [_pattern(value) for value in each.get("Values", ())]
        chosen = [row for row in chosen if any(p.fullmatch(value) for value in field(row) for p in patterns)]
    return chosen


def _field(name: str, fields: Mapping[str, Field], tags: Callable[[Any], Mapping[str, str]] | None) -> Field:
    if tags is not None and name == "tag-key":
        return lambda row: list(tags(row))
    if tags is not None and name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda row: [tags(row)[key]] if key in tags(row) else []
    if name not in fields:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    return fields[name]


def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(re.escape(value).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def page(rows: Sequence[Row], params: Mapping[str, Any], *, least: int = 5) -> tuple[Sequence[Row], dict[str, str]]:
    """The rows of this page, and `NextToken` when there are more. Raises AwsError."""
    size = params.get("MaxResults", LARGEST_PAGE)
    if not least <= size <= LARGEST_PAGE:
        message = f"Value ( {size} ) for parameter maxResults is invalid. Expecting {least} to {LARGEST_PAGE}."
        raise AwsError("InvalidParameterValue", message)
    start = _start(params.get("NextToken", ""))
    more = len(rows) > start + size
    return rows[start : start + size], {"NextToken": b64encode(str(start + size).encode()).decode()} if more else {}


def _start(token: str) -> int:
    try:
        return int(b64decode(token, validate=True)) if token else 0
    except ValueError:
        raise AwsError("InvalidNextToken", "The NextToken is not valid.") from None
