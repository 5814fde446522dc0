"""The codec against botocore's own: what boto3 sends is understood, and what is answered boto3 reads back the same."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotrelay.local.wire import AwsError, decode_form, encode_xml, encode_xml_error, operation

ACTIONS = ["CreateFleet", "CreateLaunchTemplate", "DescribeInstances", "DescribeSpotPriceHistory", "RunInstances"]
# XML 1.0 cannot carry control characters, and a parser makes one newline of a CR: EC2 sends neither.
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xD7FF, exclude_characters="\x7f"), min_size=1)
SCALARS = {
    "boolean": st.booleans(),
    "integer": st.integers(0, 2**31 - 1),
    "long": st.integers(0, 2**63 - 1),
    "double": st.floats(0, 1e6),
    "float": st.floats(0, 1e6),
    "blob": st.binary(min_size=1).map(lambda data: base64.b64encode(data).decode()),
}
MOMENT = st.integers(1, 4_000_000_000)
SLOW_TO_DRAW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@cache
def ec2() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("ec2", "service-2"), "ec2")


@pytest.fixture(autouse=True)
def _loaded() -> None:
    ec2()


def values(shape: Shape, moment: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """Anything that a shape can hold; empty structures and lists left out, since a form has no words for them."""
    if shape.type_name == "structure":
        some = {name: values(member, moment, depth + 1) for name, member in shape.members.items() if depth < 5}
        required = {name: some.pop(name) for name in shape.required_members if name in some}
        return st.fixed_dictionaries(required, optional=some).map(without_empty)
    if shape.type_name == "list":
        return st.lists(values(shape.member, moment, depth + 1), max_size=3).map(without_empty)
    if shape.type_name == "timestamp":
        return moment
    return SCALARS.get(shape.type_name, TEXT)


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: each for name, each in value.items() if each not in ({}, [])}
    return [each for each in value if each not in ({}, [])]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_request_of_boto3_is_understood(action: str):
    """Parameters arrive with the names, types and order that the caller gave them. Otherwise a launch would differ from
    what was asked for, and the client would be blamed."""
    described = ec2().operation_model(action)
    moment = MOMENT.map(lambda seconds: datetime.fromtimestamp(seconds, UTC))

    @SLOW_TO_DRAW
    @given(values(described.input_shape, moment))
    def check(params: dict[str, Any]) -> None:
        form = create_serializer("ec2", include_validation=False).serialize_to_request(params, described)["body"]

        missing = set(described.input_shape.required_members) - set(params)
        if missing:
            with pytest.raises(AwsError, match="MissingParameter"):
                decode_form(described, texts(form))
        else:
            assert params == decode_form(described, texts(form))

    check()


def texts(form: dict[str, Any]) -> dict[str, str]:
    """As they lie on the wire."""
    return {name: value if isinstance(value, str) else str(value) for name, value in form.items()}


@pytest.mark.parametrize("action", ACTIONS)
def test_an_answer_is_read_back_by_botocore(action: str):
    """Whatever an action answers comes out of boto3 as it went in. Otherwise a field would silently be missing."""
    described = ec2().operation_model(action)

    @SLOW_TO_DRAW
    @given(values(described.output_shape, MOMENT))
    def check(result: dict[str, Any]) -> None:
        body = encode_xml(described, result, "request-1", "http://ec2.amazonaws.com/doc/2016-11-15")

        assert result == without_empty_deep(read(described, body))

    check()


def read(described: OperationModel, body: bytes) -> dict[str, Any]:
    parser = create_parser("ec2")
    parser._timestamp_parser = lambda text: datetime.fromisoformat(text).timestamp()
    parser._blob_parser = str
    parsed = parser.parse({"status_code": 200, "headers": {}, "body": body}, described.output_shape)
    parsed.pop("ResponseMetadata")
    return parsed


def without_empty_deep(value: Any) -> Any:
    if isinstance(value, dict):
        return without_empty({name: without_empty_deep(each) for name, each in value.items()})
    if isinstance(value, list):
        return without_empty([without_empty_deep(each) for each in value])
    return value


def test_an_error_has_ec2s_own_shape():
    """To the letter, since clients in other languages parse it by hand."""
    error = AwsError("InsufficientInstanceCapacity", "no <capacity> & none soon", 500)

    assert (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>InsufficientInstanceCapacity</Code>'
        b"<Message>no &lt;capacity&gt; &amp; none soon</Message></Error></Errors><RequestID>r-1</RequestID></Response>"
    ) == encode_xml_error(error, "r-1")


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"MinCount": "1"}, "MissingParameter"),
        ({"MinCount": "one", "MaxCount": "1"}, "InvalidParameterValue"),
        ({"MinCount": "1", "MaxCount": "1", "Bogus": "1"}, "UnknownParameter"),
        ({"MinCount": "1", "MaxCount": "1", "Placement": "us-east-1a"}, "InvalidParameterValue"),
        ({"MinCount.1": "1", "MaxCount": "1"}, "InvalidParameterValue"),
        ({"Monitoring": "1", "Monitoring.Enabled": "true"}, "InvalidParameterValue"),
        ({"SecurityGroupId.x": "sg-1"}, "InvalidParameterValue"),
    ],
)
def test_a_garbled_request_is_the_clients_fault(form: dict[str, str], code: str):
    """Refused with a 400 that says so. A 500 would be retried for nothing."""
    with pytest.raises(AwsError) as refused:
        decode_form(operation(ec2(), "RunInstances"), form)

    assert (code, 400) == (refused.value.code, refused.value.status)


def test_an_action_that_ec2_does_not_have_is_refused():
    """Otherwise a typing error in an action would look like a bug of the local cloud."""
    with pytest.raises(AwsError, match="InvalidAction"):
        operation(ec2(), "LaunchInstances")


def test_a_misspelt_member_of_an_answer_is_caught():
    """It would not arrive, and nobody would know. Otherwise the simulator rots in silence."""
    with pytest.raises(AssertionError, match="InstanceID"):
        encode_xml(ec2().operation_model("RunInstances"), {"Instances": [{"InstanceID": "i-1"}]}, "r", "n")
