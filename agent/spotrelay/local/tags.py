"""EC2's rules for tags. The run travels to its instance in them, so what EC2 refuses must be refused here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from spotrelay.local.wire import AwsError

MOST_TAGS = 50
LONGEST_KEY = 128
LONGEST_VALUE = 256
# A key that shall be a path of the instance's metadata.
METADATA_KEY = re.compile(r"(?!\.{1,2}$|_index$)[0-9a-zA-Z\-_+=,.@:]{1,255}")


def tags_for(resource: str, specifications: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The tags that `TagSpecifications` give to resources of this type. Raises AwsError."""
    pairs = [tag for spec in specifications if spec.get("ResourceType") == resource for tag in spec.get("Tags", ())]
    return as_dict(pairs)


def as_dict(pairs: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Raises AwsError for what EC2 refuses."""
    tags: dict[str, str] = {}
    for pair in pairs:
        key, value = pair.get("Key", ""), pair.get("Value", "")
        if key in tags:
            raise AwsError("InvalidParameterValue", f"Duplicate tag key '{key}' specified.")
        _check(key, value)
        tags[key] = value
    return tags


def _check(key: str, value: str) -> None:
    if key.lower().startswith("aws:"):
        raise AwsError("InvalidParameterValue", f"Tag keys starting with 'aws:' are reserved for internal use: {key}")
    if not 1 <= len(key) <= LONGEST_KEY:
        raise AwsError("InvalidParameterValue", f"Tag key exceeds the maximum length of {LONGEST_KEY} characters")
    if len(value) > LONGEST_VALUE:
        raise AwsError("InvalidParameterValue", f"Tag value exceeds the maximum length of {LONGEST_VALUE} characters")


def check_all(tags: Mapping[str, str], *, in_metadata: bool) -> None:
    """What holds for all tags of one instance together. Raises AwsError."""
    own = [key for key in tags if not key.startswith("aws:")]
    if len(own) > MOST_TAGS:
        raise AwsError("TagLimitExceeded", f"More than {MOST_TAGS} tags on a resource")
    for key in own if in_metadata else ():
        if not METADATA_KEY.fullmatch(key):
            raise AwsError(
                "InvalidParameterValue",
                f"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\\\-_+=,.@:]{{1,255}}), "
                "and must not be a reserved name ('.', '..', '_index')",
            )


def tag_marks(tags: Mapping[str, str]) -> dict[str, str]:
    """By the names of the filters that find their resource."""
    return {f"tag:{key}": value for key, value in tags.items()}


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
