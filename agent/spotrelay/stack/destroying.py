"""Back to nothing but the data.

The order is what matters. An instance that is ended saves first, and asks for its successor: so the launcher stops
before, or it would launch one. And it saves with the stack's role: so the stack goes last.

    1. What would refuse the deletion in the end refuses it now, and what is under way is waited for.
    2. Alive are the instances with the stack's tag. They end only if that was asked for. The launcher stops before.
    3. The instances are ended, and save; waited for.
    4. The stack is deleted. Its bucket stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from spotrelay.core import keys
from spotrelay.core.errors import StackClash, StackFailed, StackInUse
from spotrelay.stack import feed
from spotrelay.stack.account import Account
from spotrelay.stack.progress import Event, Following
from spotrelay.stack.refusals import told
from spotrelay.stack.standing import GONE, TAG, Standing, look

# Of a full listing, a thousand names a call. More takes minutes, and says no more than "a lot".
MOST_PAGES = 100
POLL_S = 3.0
ALIVE = ("pending", "running", "stopping", "stopped")
ENDING = "shutting-down"
# EC2 takes a thousand ids a call; of many, a few name enough.
MOST_AT_ONCE = 1000
MOST_NAMED = 5


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
        if standing is not None and standing.foreign:
            raise StackClash(
                f"the stack {self._stack} in {self._account.region} is not spotrelay's",
                next_step="nothing was done; `spotrelay deploy --stack-name` says which name yours has",
            )
        return standing

    def alive(self) -> list[str]:
        return self._instances(ALIVE)

    def run(self, standing: Standing, *, force: bool) -> Left | None:
        """What stays; None when the stack had no bucket yet. Raises StackInUse, StackError."""
        if standing.protected:
            raise StackFailed(
                f"{self._stack} is protected from deletion",
                next_step="if it may go: `aws cloudformation update-termination-protection "
                f"--no-enable-termination-protection --stack-name {self._stack}{self._account.place.options}`",
            )
        if standing.under_way:
            standing = self._wait(standing)
        if standing.status == GONE:
            return None
        if (alive := self.alive()) and not force:
            raise StackInUse(
                f"{_named(alive)} of {self._stack} {'is' if len(alive) == 1 else 'are'} alive",
                next_step="let their runs end, or end them with --force: each saves first, and can be resumed later",
            )
        left = self._left(standing.bucket) if standing.bucket else None
        if feed.shut(self._account, standing):
            self._phase("the launcher takes no more requests")
        self._end_instances()
        following = Following(self._account, standing.id)
        with told("delete the stack", self._account.place):
            self._account.cloudformation.delete_stack(StackName=standing.id)
        after = following.until_settled(self._event)
        if after.status != GONE:
            raise following.failure(after)
        return left

    def _wait(self, standing: Standing) -> Standing:
        """CloudFormation deletes nothing that it is updating."""
        self._phase(f"{self._stack} is {standing.status}: waiting for it")
        return Following(self._account, standing.id).until_settled(self._event)

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

    def _end_instances(self) -> None:
        """Again until none is left: the launcher's last call may have made one that shows only now."""
        told_of: list[str] = []
        while alive := self._instances((*ALIVE, ENDING)):
            if ending := self.alive()[:MOST_AT_ONCE]:
                self._phase(f"ending {_named(ending)}: each saves first")
                with told("end the instances", self._account.place):
                    self._account.ec2.terminate_instances(InstanceIds=ending)
            if alive != told_of:
                self._phase(f"waiting for {_named(alive)} to be gone")
                told_of = alive
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


def _named(instances: list[str]) -> str:
    more = ", …" if len(instances) > MOST_NAMED else ""
    return f"{len(instances)} instance{'s' * (len(instances) > 1)} ({', '.join(instances[:MOST_NAMED])}{more})"
