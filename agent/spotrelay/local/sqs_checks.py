"""What SQS checks in a request, and the digests it answers with."""

from __future__ import annotations

import hashlib
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from spotrelay.local.wire import AwsError

Params = Mapping[str, Any]
Result = dict[str, Any]

LARGEST_BATCH = 10
# Of one message, and of a batch together. 1 MiB since August 2025.
LARGEST_MESSAGE = 1_048_576
LONGEST_VISIBILITY_S = 43_200
LONGEST_DELAY_S = 900
# The characters that XML 1.0 allows: SQS takes no others.
NOT_ALLOWED = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
BATCH_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def batch(entries: list[Params], each: Callable[[Params], Result | None]) -> Result:
    """Each entry succeeds or fails by itself; only a batch that is wrong as a whole is refused."""
    _check_batch([entry["Id"] for entry in entries])
    successful: list[Result] = []
    failed: list[Result] = []
    for entry in entries:
        try:
            successful.append({"Id": entry["Id"], **(each(entry) or {})})
        except AwsError as error:
            failed.append({"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message})
    return {"Successful": successful, "Failed": failed}


def _check_batch(ids: list[str]) -> None:
    if not ids:
        raise AwsError("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(ids) > LARGEST_BATCH:
        raise AwsError(
            "TooManyEntriesInBatchRequest", f"Maximum number of entries per request are 10. You have sent {len(ids)}."
        )
    if len(set(ids)) < len(ids):
        raise AwsError("BatchEntryIdsNotDistinct", "Two or more batch entries have the same Id in the request.")
    for identity in ids:
        if not BATCH_ID.fullmatch(identity):
            raise AwsError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long.",
            )


def within(name: str, value: int, least: int, most: int, reason: str) -> None:
    if not least <= value <= most:
        raise AwsError("InvalidParameterValue", f"Value {value} for parameter {name} is invalid. Reason: {reason}")


def within_visibility(seconds: int) -> None:
    within(
        "VisibilityTimeout",
        seconds,
        0,
        LONGEST_VISIBILITY_S,
        f"VisibilityTimeout must be between 0 and {LONGEST_VISIBILITY_S}.",
    )


def check_body(body: str) -> None:
    if not body:
        raise AwsError("MissingParameter", "The request must contain the parameter MessageBody.")
    if NOT_ALLOWED.search(body):
        allowed = "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
        raise AwsError("InvalidMessageContents", f"Invalid characters found. Valid unicode characters are {allowed}")


def chosen(values: Mapping[str, Any], wanted: list[str]) -> dict[str, Any]:
    """By name, by `prefix.*`, or all of them."""
    if "All" in wanted or ".*" in wanted:
        return dict(values)
    prefixes = tuple(name.removesuffix("*") for name in wanted if name.endswith(".*"))
    return {key: value for key, value in values.items() if key in wanted or key.startswith(prefixes or "\0")}


def size(params: Params) -> int:
    """Of the body and the attributes, as SQS counts it."""
    size = len(params.get("MessageBody", "").encode())
    for name, value in (params.get("MessageAttributes") or {}).items():
        size += len(name.encode()) + len(value["DataType"].encode()) + len(_value(value))
    return size


def _value(attribute: Mapping[str, Any]) -> bytes:
    binary = attribute["DataType"].startswith("Binary")
    return b64decode(attribute["BinaryValue"]) if binary else attribute["StringValue"].encode()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def md5_of_attributes(attributes: Mapping[str, Any]) -> str:
    """boto3 computes it too, and refuses an answer with another one."""
    digest = hashlib.md5()
    for name in sorted(attributes):
        kind = attributes[name]["DataType"]
        for text in (name.encode(), kind.encode()):
            digest.update(struct.pack("!I", len(text)) + text)
        value = _value(attributes[name])
        digest.update((b"\x02" if kind.startswith("Binary") else b"\x01") + struct.pack("!I", len(value)) + value)
    return digest.hexdigest()
