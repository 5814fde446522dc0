"""What all Describe calls share: filters and pages."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from spotrelay.local.shelf import Numbered
from spotrelay.local.wire import AwsError

LARGEST_PAGE = 1000
# Not documented, and met by many: "The maximum number of filter values specified on a single call is 200"
# (gjbae1212/gossm#47), "The maximum length for a filter value is 255 characters" (ansible-collections/amazon.aws#2393).
MOST_FILTER_VALUES = 200
LONGEST_FILTER_VALUE = 255
Row = TypeVar("Row")
NumberedRow = TypeVar("NumberedRow", bound=Numbered)
# What a row has under a filter's name: one value, or several of which any may match.
Field = Callable[[Any], Sequence[str]]
Tags = Callable[[Any], Mapping[str, str]]
Filters = Sequence[Mapping[str, Any]]


class Wanted:
    """The filters of one call: a row passes when it passes each of them, by any of its values."""

    def __init__(self, filters: Filters, fields: Mapping[str, Field], tags: Tags | None = None) -> None:
        """Raises AwsError."""
        _check_size(filters)
        self._values = [(each.get("Name", ""), _Values(each.get("Values", ()))) for each in filters]
        self._tests = [(_field(name, fields, tags), values) for name, values in self._values]

    def passes(self, row: Any) -> bool:
        return all(values.has(field(row)) for field, values in self._tests)

    def exact(self) -> Iterator[tuple[str, Collection[str]]]:
        """The filters without wildcards, as a shelf takes them."""
        return ((name, values.literal) for name, values in self._values if not values.patterns)


class _Values:
    def __init__(self, values: Sequence[str]) -> None:
        parts = [_parts(value) for value in values]
        self.literal = {each for each in parts if isinstance(each, str)}
        self.patterns = [each for each in parts if isinstance(each, re.Pattern)]

    def has(self, values: Sequence[str]) -> bool:
        return any(value in self.literal or any(p.fullmatch(value) for p in self.patterns) for value in values)


def _parts(value: str) -> str | re.Pattern[str]:
    r"""`*` and `?` are wildcards, unless there is a backslash before them."""
    if not re.search(r"[*?\\]", value):
        return value
    wild = {"*": ".*", "?": "."}
    pattern = "".join(
        re.escape(found[1]) if len(found[0]) == 2 else wild.get(found[0], re.escape(found[0]))
        for found in re.finditer(r"\\(.)|.", value, re.DOTALL)
    )
    return re.compile(pattern, re.DOTALL)


def _check_size(filters: Filters) -> None:
    values = [value for each in filters for value in each.get("Values", ())]
    if len(values) > MOST_FILTER_VALUES:
        message = f"The maximum number of filter values specified on a single call is {MOST_FILTER_VALUES}"
        raise AwsError("FilterLimitExceeded", message)
    if any(len(value) > LONGEST_FILTER_VALUE for value in values):
        message = f"The maximum length for a filter value is {LONGEST_FILTER_VALUE} characters"
        raise AwsError("FilterLimitExceeded", message)


def _field(name: str, fields: Mapping[str, Field], tags: Tags | None) -> Field:
    if tags is not None and name == "tag-key":
        return lambda row: list(tags(row))
    if tags is not None and name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda row: [tags(row)[key]] if key in tags(row) else []
    if name not in fields:
        raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
    return fields[name]


def select(rows: Iterable[Row], filters: Filters, fields: Mapping[str, Field], tags: Tags | None = None) -> list[Row]:
    """Rows that pass every filter. Raises AwsError."""
    wanted = Wanted(filters, fields, tags)
    return [row for row in rows if wanted.passes(row)]


# ---- pages: of a list that stands still, and of one that changes between the calls


def page(rows: Sequence[Row], params: Mapping[str, Any], *, least: int = 5) -> tuple[Sequence[Row], dict[str, str]]:
    """The rows of this page, and `NextToken` when there are more. Raises AwsError."""
    size, start = _size(params, least), position(params)
    return rows[start : start + size], {"NextToken": token(start + size)} if len(rows) > start + size else {}


def page_on(
    rows: Iterator[NumberedRow], params: Mapping[str, Any], *, least: int = 5
) -> tuple[list[NumberedRow], dict[str, str]]:
    """As `page`, of rows beyond `position(params)`: a position is the number of the last row shown."""
    size = _size(params, least)
    shown = list(islice(rows, size + 1))
    return shown[:size], {"NextToken": token(shown[size - 1].number)} if len(shown) > size else {}


def position(params: Mapping[str, Any]) -> int:
    """Where the page begins. Raises AwsError."""
    token = params.get("NextToken", "")
    try:
        return int(b64decode(token, validate=True)) if token else 0
    except ValueError:
        raise AwsError("InvalidNextToken", "The NextToken is not valid.") from None


def token(position: int) -> str:
    """What `position` reads back."""
    return b64encode(str(position).encode()).decode()


def _size(params: Mapping[str, Any], least: int) -> int:
    size: int = params.get("MaxResults", LARGEST_PAGE)
    if not least <= size <= LARGEST_PAGE:
        message = f"Value ( {size} ) for parameter maxResults is invalid. Expecting {least} to {LARGEST_PAGE}."
        raise AwsError("InvalidParameterValue", message)
    return size
