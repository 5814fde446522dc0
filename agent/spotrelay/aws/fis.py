"""A real interruption notice, by AWS's Fault Injection Service: one experiment, made, begun, and cleared away.

FIS knows experiments by templates only. So one is made for a single instance, and goes whatever comes of it: the
experiment keeps a copy. The instance then has its notice two minutes before its end, like any other, and EC2 takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.exceptions
import botocore.session
from botocore.config import Config

from spotrelay.core.errors import NotInterruptible

CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 4})
ACTION = "aws:ec2:send-spot-instance-interruptions"
# EC2's own two minutes, and the least that FIS takes.
NOTICE = "PT2M"
# Of a template that is not needed any more. Left there it is in nobody's way, and costs nothing.
CLEARED_WITHIN_S = 3.0
# FIS says "running" within seconds; it assumes the role, and finds the instance, before that.
BEGUN_WITHIN_S, LOOK_S = 60.0, 1.0
_ROLE = re.compile(r"arn:(?P<partition>[\w-]+):iam::(?P<account>\d{12}):role/.+")
_PENDING = {"pending", "initiating"}
_BEGUN = {"running", "completed"}


class Fis:
    """`role`: the ARN of what FIS becomes to send the notice. `begun`: the experiment was asked for; from here on the
    notice may come, whatever becomes of the rest. Raises NotInterruptible for a role that is none."""

    def __init__(self, role: str, region: str, *, looks_every_s: float = LOOK_S) -> None:
        match = _ROLE.fullmatch(role)
        if match is None:
            raise NotInterruptible(f"not a role's ARN: {role!r}", next_step="give one like arn:aws:iam::…:role/…")
        self._role, self._region, self._every_s = role, region, looks_every_s
        self._arn = f"arn:{match['partition']}:ec2:{region}:{match['account']}:instance/"
        self._client: Any = None
        self.begun = False
        # Its own, which nobody waits for: a call cannot be called back, and whoever leaves would wait for its end. Two,
        # as the template goes while the experiment may still be asked for.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="fis")

    async def interrupt(self, instance: str) -> None:
        """Returns when the notice is on its way. Raises NotInterruptible, with AWS's reason."""
        template = await self._asked("create_experiment_template", **self._template(instance))
        identity = template["experimentTemplate"]["id"]
        try:
            self.begun = True
            started = await self._asked(
                "start_experiment", experimentTemplateId=identity, clientToken=secrets.token_hex(16)
            )
            await self._begun(started["experiment"]["id"])
        finally:
            with contextlib.suppress(NotInterruptible, TimeoutError):
                async with asyncio.timeout(CLEARED_WITHIN_S):
                    await self._asked("delete_experiment_template", id=identity)

    async def _begun(self, experiment: str) -> None:
        until = time.monotonic() + BEGUN_WITHIN_S
        while True:
            state = (await self._asked("get_experiment", id=experiment))["experiment"]["state"]
            if state["status"] in _BEGUN:
                return
            if state["status"] not in _PENDING or time.monotonic() > until:
                why = f"{state['status']}: {state.get('reason', 'no reason is given')}"
                step = f"look at it: aws fis get-experiment --id {experiment} --region {self._region}"
                raise NotInterruptible(f"the experiment {experiment} is {why}", next_step=step)
            await asyncio.sleep(self._every_s)

    def _template(self, instance: str) -> dict[str, Any]:
        return {
            "clientToken": secrets.token_hex(16),
            "description": f"spotrelay interrupt {instance}",
            "roleArn": self._role,
            "stopConditions": [{"source": "none"}],
            "targets": {
                "machine": {
                    "resourceType": "aws:ec2:spot-instance",
                    "resourceArns": [self._arn + instance],
                    "selectionMode": "ALL",
                }
            },
            "actions": {
                "notice": {
                    "actionId": ACTION,
                    "parameters": {"durationBeforeInterruption": NOTICE},
                    "targets": {"SpotInstances": "machine"},
                }
            },
            "tags": {"Name": "spotrelay"},
        }

    async def _asked(self, call: str, **words: Any) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            if self._client is None:
                session = botocore.session.get_session()
                self._client = session.create_client("fis", region_name=self._region, config=CONFIG)
            answer: dict[str, Any] = getattr(self._client, call)(**words)
            return answer

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except botocore.exceptions.ClientError as error:
            raise _refused(call, error) from error
        except botocore.exceptions.BotoCoreError as error:
            raise NotInterruptible(f"AWS FIS: {error}", next_step="check region, network and credentials") from error

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()


def _refused(call: str, error: botocore.exceptions.ClientError) -> NotInterruptible:
    code, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    name = "".join(word.title() for word in call.split("_"))
    if code in ("AccessDeniedException", "AccessDenied", "UnrecognizedClientException", "ExpiredTokenException"):
        step = f"you need fis:{name}, fis:TagResource, and iam:PassRole on the role; or the role lacks the rights"
    elif code in ("UnknownOperationException", "InvalidAction", "404", "501"):
        step = "what answers at this endpoint is no AWS FIS: in the local cloud, use spotrelay rehearse"
    else:
        step = "mend that, and try again"
    return NotInterruptible(f"AWS FIS refuses {name}: {code}: {said}", next_step=step)
