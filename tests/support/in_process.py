"""The launcher's own adapters of EC2 and SQS, on the control plane without HTTP: what boto3 would do, as objects.

Everything above the client is the launcher's: which calls it makes, how it reads answers, what it takes errors for. A
client here checks no parameters against the API's model; `tests/launcher` has the same adapters over the wire.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from spotrelay.launcher.bell import SqsBell
from spotrelay.launcher.ec2 import CALL, LOOK, Ec2
from spotrelay.launcher.inventory import Inventory
from spotrelay.local.faults import Aftermath
from spotrelay.local.server import AnswerLost, ControlPlane
from spotrelay.local.wire import AwsError


class Calls:
    """One client's way to the plane. `wait` passes the time that a lost answer takes; `counted` counts requests."""

    def __init__(self, plane: ControlPlane, wait: Callable[[float], None], counted: Counter[str]) -> None:
        self._plane, self._wait, self._counted = plane, wait, counted

    def ec2(self, action: str, params: Mapping[str, Any], attempts: int = 1) -> Mapping[str, Any]:
        """Raises ClientError, BotoCoreError."""
        for left in range(attempts - 1, -1, -1):
            self._counted[action] += 1
            try:
                return self._plane.perform(action, params)
            except AwsError as error:
                if not left or error.status < 500:
                    raise _client_error(error, action) from error
            except AnswerLost as error:
                self._wait(float(CALL.read_timeout))
                if not left:
                    raise ReadTimeoutError(endpoint_url=action) from error
            self._wait(0.5)
        raise AssertionError("unreachable")

    def sqs(self, action: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Raises ClientError, BotoCoreError."""
        self._counted[action] += 1
        try:
            self._plane.faults.before(action, params)
            result = self._plane.sqs.call(action, params)
        except AwsError as error:
            raise _client_error(error, action) from error
        if self._plane.faults.after(action, params) != Aftermath():
            raise ReadTimeoutError(endpoint_url=action)
        assert isinstance(result, Mapping)
        return result


class InProcessEc2(Ec2):
    def __init__(self, calls: Calls) -> None:
        self._caller, self._looker = _Ec2Client(calls), _Ec2Client(calls, LOOK.retries["total_max_attempts"])


class InProcessInventory(Inventory):
    def __init__(self, stack: str, calls: Calls) -> None:
        self._client, self._stack = _Ec2Client(calls, 3), stack


class InProcessBell(SqsBell):
    def __init__(self, url: str, now: Callable[[], float], calls: Calls) -> None:
        self._client, self._url, self._now = _SqsClient(calls), url, now
        self._waiting, self._until, self._lock = 0, 0.0, threading.Lock()


class _Ec2Client:
    def __init__(self, calls: Calls, attempts: int = 1) -> None:
        self._calls, self._attempts = calls, attempts

    def create_fleet(self, **params: Any) -> Mapping[str, Any]:
        return self._calls.ec2("CreateFleet", params, self._attempts)

    def terminate_instances(self, **params: Any) -> Mapping[str, Any]:
        return self._calls.ec2("TerminateInstances", params, self._attempts)

    def get_paginator(self, operation: str) -> _Pages:
        return _Pages(self._calls, operation.title().replace("_", ""), self._attempts)


class _Pages:
    def __init__(self, calls: Calls, action: str, attempts: int) -> None:
        self._calls, self._action, self._attempts = calls, action, attempts

    def paginate(
        self, *, PaginationConfig: Mapping[str, int] | None = None, **params: Any
    ) -> Iterator[Mapping[str, Any]]:
        if PaginationConfig is not None:
            params["MaxResults"] = PaginationConfig["PageSize"]
        token: str | None = ""
        while token is not None:
            page = self._calls.ec2(self._action, {**params, **({"NextToken": token} if token else {})}, self._attempts)
            for reservation in page.get("Reservations", ()):
                for each in reservation["Instances"]:
                    each["LaunchTime"] = datetime.fromtimestamp(each["LaunchTime"], UTC)
            yield page
            token = page.get("NextToken")


class _SqsClient:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def send_message(self, **params: Any) -> Mapping[str, Any]:
        return self._calls.sqs("SendMessage", params)

    def send_message_batch(self, **params: Any) -> Mapping[str, Any]:
        return self._calls.sqs("SendMessageBatch", params)

    def get_queue_attributes(self, **params: Any) -> Mapping[str, Any]:
        return self._calls.sqs("GetQueueAttributes", params)


def _client_error(error: AwsError, action: str) -> ClientError:
    answer = {
        "Error": {"Code": error.code, "Message": error.message},
        "ResponseMetadata": {"HTTPStatusCode": error.status},
    }
    return ClientError(answer, action)
