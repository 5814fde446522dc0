"""An interruption notice by AWS FIS, over the wire to moto; what moto does not do, by botocore's own stub of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import botocore.session
import pytest
from botocore.stub import ANY, Stubber

from spotrelay.aws.fis import ACTION, Fis
from spotrelay.core.errors import NotInterruptible
from support.moto_server import moto_server

ROLE = "arn:aws:iam::123456789012:role/relay-InterruptRole"
INSTANCE = "i-0123456789abcdef0"
REGION = "eu-west-1"


@pytest.fixture
async def fis(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fis]:
    for name, value in (("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(name, value)
    made = Fis(ROLE, REGION, looks_every_s=0.01)
    yield made
    made.close()


def client(**options: Any) -> Any:
    return botocore.session.get_session().create_client("fis", region_name=REGION, **options)


def state(status: str, reason: str = "") -> dict[str, Any]:
    return {"experiment": {"id": "EXP1", "state": {"status": status, "reason": reason}}}


def stubbed(fis: Fis, *answers: dict[str, Any], deleted: bool = True) -> Stubber:
    """A FIS that makes EXT1, begins EXP1, and then gives these answers to looks at it."""
    fis._client = client()
    stub = Stubber(fis._client)
    stub.add_response("create_experiment_template", {"experimentTemplate": {"id": "EXT1"}}, ANY_OF_TEMPLATE)
    stub.add_response("start_experiment", state("pending"), {"experimentTemplateId": "EXT1", "clientToken": ANY})
    for answer in answers:
        stub.add_response("get_experiment", answer, {"id": "EXP1"})
    if deleted:
        stub.add_response("delete_experiment_template", {}, {"id": "EXT1"})
    stub.activate()
    return stub


ANY_OF_TEMPLATE: dict[str, Any] = {
    "clientToken": ANY,
    "description": ANY,
    "roleArn": ROLE,
    "stopConditions": [{"source": "none"}],
    "targets": {
        "machine": {
            "resourceType": "aws:ec2:spot-instance",
            "resourceArns": [f"arn:aws:ec2:{REGION}:123456789012:instance/{INSTANCE}"],
            "selectionMode": "ALL",
        }
    },
    "actions": {
        "notice": {
            "actionId": ACTION,
            "parameters": {"durationBeforeInterruption": "PT2M"},
            "targets": {"SpotInstances": "machine"},
        }
    },
    "tags": ANY,
}


async def test_one_instance_gets_its_notice(fis: Fis) -> None:
    """That one, by its ARN, two minutes before; and the template goes. Otherwise they pile up to a quota."""
    stub = stubbed(fis, state("initiating"), state("running"))
    await fis.interrupt(INSTANCE)

    stub.assert_no_pending_responses()


async def test_an_experiment_that_fails_says_why(fis: Fis) -> None:
    """In AWS's words; and its template goes all the same."""
    stub = stubbed(fis, state("failed", "Target resolution returned empty set"))
    with pytest.raises(NotInterruptible, match="empty set"):
        await fis.interrupt(INSTANCE)

    stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AccessDeniedException", "iam:PassRole"),
        ("UnknownOperationException", "spotrelay rehearse"),
        ("ServiceQuotaExceededException", "try again"),
    ],
)
async def test_a_refusal_names_the_remedy(fis: Fis, code: str, remedy: str) -> None:
    fis._client = client()
    stub = Stubber(fis._client)
    stub.add_client_error("create_experiment_template", code, "no")
    stub.activate()

    with pytest.raises(NotInterruptible, match=remedy):
        await fis.interrupt(INSTANCE)


async def test_nobody_there(fis: Fis) -> None:
    """A network that is down is no traceback."""
    fis._client = client(endpoint_url="http://127.0.0.1:9", config=botocore.config.Config(retries={"max_attempts": 0}))

    with pytest.raises(NotInterruptible, match="network"):
        await fis.interrupt(INSTANCE)


@pytest.mark.parametrize("role", ["", "admin", "arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:user/x"])
def test_what_is_no_role(role: str) -> None:
    with pytest.raises(NotInterruptible, match="ARN"):
        Fis(role, REGION)


async def test_the_words_are_those_of_the_service(fis: Fis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the wire: whoever parses them by FIS's own model takes them."""
    with moto_server() as moto:
        monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
        made = await fis._asked("create_experiment_template", **fis._template(INSTANCE))
        found = await fis._asked("get_experiment_template", id=made["experimentTemplate"]["id"])

        assert ROLE == found["experimentTemplate"]["roleArn"]
        assert ACTION == found["experimentTemplate"]["actions"]["notice"]["actionId"]
