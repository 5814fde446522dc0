"""Back to nothing but the data.

The order is what matters. An instance that is ended saves first, and asks for its successor: so the launcher stops
before, or it would launch one. And it saves with the stack's role: so the stack goes last.

    1. Alive are the instances with the stack's tag. They end only if that was asked for.
    2. The launcher stops taking requests.
    3. The instances are ended, and save; waited for.
    4. The stack is deleted. Its bucket stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from spotrelay.core import keys
from spotrelay.core.errors import StackClash, StackInUse
from spotrelay.stack.account import Account
from spotrelay.stack.progress import Event, Following
from spotrelay.stack.refusals import told
from spotrelay.stack.standing import GONE, TAG, Standing, look

# Of a full listing, a thousand names a call. More takes minutes, and says no more than "a lot".
MOST_PAGES = 100
POLL_S = 3.0
ALIVE = ("pending", "running", "stopping", "stopped")
ENDING = "shutting-down"


@dataclass(frozen=True, slots=True)
class Left:
    """The bucket that stays. `more`: there is more than was counted."""

    bucket: str
    objects: int
    bytes: int
    unfinished: tuple[str, ...]
    more: bool = False


class Destruction:
    """One use."""

    def __init__(
        self, account: Account, stack: str, *, phase: Callable[[str], None], event: Callable[[Event], None]
    ) -> None:
        self._account, self._stack, self._phase, self._event = account, stack, phase, event

    def look(self) -> Standing | None:
        """None: there is nothing to destroy. Raises StackClash for what is not ours."""
        self._account.number()
        standing = look(self._account, self._stack)
        if standing is not None and not standing.ours and standing.status != "REVIEW_IN_PROGRESS":
            raise StackClash(
                f"the stack {self._stack} in {self._account.region} is not spotrelay's",
                next_step="nothing was done; `spotrelay deploy --stack-name` says which name yours has",
            )
        return standing

    def alive(self) -> list[str]:
        return self._instances(ALIVE)

    def run(self, standing: Standing, *, force: bool) -> Left | None:
        """What stays; None when the stack had no bucket yet. Raises StackInUse, StackError."""
        if (alive := self.alive()) and not force:
            raise StackInUse(
                f"{len(alive)} instances of {self._stack} are alive: {', '.join(alive)}",
                next_step="let their runs end, or end them with --force: each saves first, and can be resumed later",
            )
        left = self._left(standing.bucket) if standing.bucket else None
        self._stop_launcher(standing)
        self._end_instances()
        following = Following(self._account, standing.id)
        with told("delete the stack", self._account.place):
            self._account.cloudformation.delete_stack(StackName=standing.id)
        after = following.until_settled(self._event)
        if after.status != GONE:
            raise following.failure(after)
        return left

    def _instances(self, states: tuple[str, ...]) -> list[str]:
        with told("see which instances are alive", self._account.place):
            pages = self._account.ec2.get_paginator("describe_instances").paginate(
                Filters=[
                    {"Name": f"tag:{TAG}", "Values": [self._stack]},
                    {"Name": "instance-state-name", "Values": list(states)},
                ]
            )
            return sorted(
                instance["InstanceId"]
                for page in pages
                for reservation in page["Reservations"]
                for instance in reservation["Instances"]
            )

    def _stop_launcher(self, standing: Standing) -> None:
        function = standing.outputs.get("FunctionName")
        if function is None:
            return  # a first deployment that did not come so far
        with told("stop the launcher", self._account.place):
            found = self._account.functions.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
            for source in found:
                if identity := source.get("UUID"):
                    self._account.functions.update_event_source_mapping(UUID=identity, Enabled=False)
        self._phase("the launcher takes no more requests")

    def _end_instances(self) -> None:
        """Again until none is left: the launcher's last call may have made one that shows only now."""
        while alive := self._instances((*ALIVE, ENDING)):
            if ending := self.alive():
                self._phase(f"ending {', '.join(ending)}: each saves first")
                with told("end the instances", self._account.place):
                    self._account.ec2.terminate_instances(InstanceIds=ending)
            self._phase(f"waiting for {len(alive)} instances to be gone")
            time.sleep(POLL_S)

    def _left(self, bucket: str) -> Left:
        with told(f"see what is in {bucket}", self._account.place):
            unfinished = self._names(bucket, keys.open_runs())
            objects = size = pages = 0
            for page in self._account.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                pages += 1
                objects += page.get("KeyCount", 0)
                size += sum(each.get("Size", 0) for each in page.get("Contents", []))
                if pages == MOST_PAGES:
                    break
        return Left(bucket, objects, size, tuple(unfinished), more=pages == MOST_PAGES)

    def _names(self, bucket: str, prefix: str) -> list[str]:
        found = self._account.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [each["Key"].removeprefix(prefix) for each in found.get("Contents", []) if "Key" in each]
