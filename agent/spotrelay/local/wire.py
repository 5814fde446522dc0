"""What goes over the wire, driven by botocore's own service models: the same files that boto3 encodes and decodes by.

    EC2   query protocol: a form (`Filter.1.Name=...`) in, XML out, errors as <Response><Errors>
    SQS   JSON 1.0: `X-Amz-Target: AmazonSQS.SendMessage`, JSON both ways, errors by `__type` and `x-amzn-query-error`
    Price List   JSON 1.1: `X-Amz-Target: AWSPriceListService.GetProducts`, JSON both ways, errors by `__type`

A hand-written codec would know the dozen actions done here and drift from boto3 by and by; the models know every
action, so an answer is right or boto3 cannot read it, and a parameter that EC2 does not know is refused as EC2 does.

The model of EC2 is a 4 MB document that takes 85 to 150 ms to load, once in a process. `Models` loads them in threads
from the moment the server starts, and the first request waits for what is left of it.

Names on the wire are looked up once for each shape: an answer of two hundred instances asks for ten thousand of them.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape

# What a form's dotted names become: branches by name, leaves of text.
Tree = dict[str, Any]
XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


class AwsError(Exception):
    """An answer that is an error, as AWS would give it. Not an error of ours: it goes out over the wire."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class Models:
    """botocore's descriptions of the services done here, loaded beside whatever else is starting."""

    def __init__(self) -> None:
        names = ("sqs", "ec2", "pricing")
        self._loading = {name: asyncio.create_task(asyncio.to_thread(_load, name)) for name in names}

    async def get(self, service: str) -> ServiceModel:
        return await asyncio.shield(self._loading[service])

    async def close(self) -> None:
        """A thread cannot be cancelled, so wait for it: nothing of ours may outlive the server."""
        await asyncio.gather(*self._loading.values(), return_exceptions=True)


@cache
def _load(service: str) -> ServiceModel:
    # Imported here, in the thread: botocore costs 60 to 90 ms that the start need not wait for.
    from botocore.loaders import Loader  # noqa: PLC0415
    from botocore.model import ServiceModel  # noqa: PLC0415

    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def operation(model: ServiceModel, action: str) -> OperationModel:
    if action not in model.operation_names:
        raise AwsError("InvalidAction", f"The action {action} is not valid for this web service.")
    return model.operation_model(action)


def require(shape: Shape | None, params: Mapping[str, Any]) -> None:
    for name in shape.required_members if shape is not None else ():
        if name not in params:
            raise AwsError("MissingParameter", f"The request must contain the parameter {name}")


# ---- EC2: query in


def decode_form(operation: OperationModel, form: Mapping[str, str]) -> dict[str, Any]:
    """The parameters by the names that boto3 gives them, with their types. Raises AwsError."""
    try:
        tree = _tree({name: value for name, value in form.items() if name not in ("Action", "Version")})
        params: dict[str, Any] = _decode(operation.input_shape, tree) if operation.input_shape else {}
    except (ValueError, TypeError, AttributeError) as error:
        # A value where a structure belongs, a name where a number does, a date that is none: all the client's fault.
        raise AwsError("InvalidParameterValue", f"A parameter does not have the form it must have: {error}") from error
    require(operation.input_shape, params)
    return params


def _tree(form: Mapping[str, str]) -> Tree:
    root: Tree = {}
    for name, value in form.items():
        *branches, leaf = name.split(".")
        at = root
        for branch in branches:
            at = at.setdefault(branch, {})
        at[leaf] = value
    return root


# What is not here is text. EC2 sends no maps.
SCALARS: Mapping[str, Callable[[str], Any]] = {
    "blob": base64.b64decode,
    "boolean": lambda text: text.lower() == "true",
    "double": float,
    "float": float,
    "integer": int,
    "long": int,
    "timestamp": datetime.fromisoformat,
}


def _decode(shape: Any, value: Any) -> Any:
    if shape.type_name == "structure":
        return _decode_structure(shape, value)
    if shape.type_name == "list":
        # Numbers may have gaps and arrive in any order; their order is what counts.
        return [_decode(shape.member, value[number]) for number in sorted(value, key=int)]
    return SCALARS.get(shape.type_name, str)(value)


def _decode_structure(shape: StructureShape, tree: Tree) -> dict[str, Any]:
    by_wire = _by_query_name(shape)
    decoded = {}
    for wire_name, value in tree.items():
        if wire_name not in by_wire:
            raise AwsError("UnknownParameter", f"The parameter {wire_name} is not recognized")
        name, member = by_wire[wire_name]
        decoded[name] = _decode(member, value)
    return decoded


@cache
def _by_query_name(shape: StructureShape) -> Mapping[str, tuple[str, Shape]]:
    return {_query_name(name, member): (name, member) for name, member in shape.members.items()}


def _query_name(name: str, member: Shape) -> str:
    """EC2's own rule: `queryName` as it is, else the XML name with a capital, else the member's name."""
    query_name: str | None = member.serialization.get("queryName")
    if query_name is not None:
        return query_name
    xml_name: str = member.serialization.get("name", name)
    return xml_name[0].upper() + xml_name[1:]


# ---- EC2: XML out


def encode_xml(operation: OperationModel, result: Mapping[str, Any], request_id: str, namespace: str) -> bytes:
    members = _members(operation.output_shape, result) if operation.output_shape else ""
    name = f"{operation.name}Response"
    return f'{XML_HEAD}<{name} xmlns="{namespace}/"><requestId>{request_id}</requestId>{members}</{name}>'.encode()


def encode_xml_error(error: AwsError, request_id: str) -> bytes:
    return (
        f"{XML_HEAD}<Response><Errors><Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
        f"</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    ).encode()


def _members(shape: StructureShape, values: Mapping[str, Any]) -> str:
    tags = _xml_names(shape)
    # A misspelt member would silently not arrive; the client's test would blame the client.
    assert values.keys() <= tags.keys(), f"{shape.name} has no {values.keys() - tags.keys()}"
    return "".join([_encode(*tags[name], value) for name, value in values.items() if value is not None])


@cache
def _xml_names(shape: StructureShape) -> Mapping[str, tuple[Shape, str]]:
    return {name: (member, member.serialization.get("name", name)) for name, member in shape.members.items()}


def _encode(shape: Any, tag: str, value: Any) -> str:
    match shape.type_name:
        case "structure":
            inner = _members(shape, value)
        case "list":
            inner = _items(shape, value)
        case "boolean":
            inner = "true" if value else "false"
        case "timestamp":
            inner = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        case _:
            inner = escape(str(value))
    return f"<{tag}>{inner}</{tag}>"


def _items(shape: ListShape, values: Any) -> str:
    member = shape.member
    tag = member.serialization.get("name", "item")
    return "".join([_encode(member, tag, value) for value in values])


# ---- SQS and the price list: JSON both ways


def decode_json(operation: OperationModel, body: bytes) -> dict[str, Any]:
    """Raises AwsError."""
    try:
        params = json.loads(body or b"{}")
    except ValueError:
        params = None
    if not isinstance(params, dict):
        raise AwsError("SerializationException", "The request is not a JSON object.")
    require(operation.input_shape, params)
    return params


def encode_json(result: Mapping[str, Any]) -> bytes:
    return json.dumps(result).encode()


# The codes of the query protocol of old, which SQS still sends beside the JSON error's type, and which boto3 reports.
# Those that are not listed are the same in both.
SQS_QUERY_CODES = {
    "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    "BatchRequestTooLong": "AWS.SimpleQueueService.BatchRequestTooLong",
    "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
    "InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
    "PurgeQueueInProgress": "AWS.SimpleQueueService.PurgeQueueInProgress",
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
}


def sqs_query_error(error: AwsError) -> str:
    """The header `x-amzn-query-error`: code, and whose fault it is."""
    return f"{SQS_QUERY_CODES.get(error.code, error.code)};{'Sender' if error.status < 500 else 'Receiver'}"


def encode_json_error(error: AwsError, package: str = "com.amazonaws.sqs") -> bytes:
    return encode_json({"__type": f"{package}#{error.code}", "message": error.message})
