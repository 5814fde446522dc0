"""What the store says of our instances and runs, read as sparingly as it can be.

What is create-only never changes once it is there: assignments, claims, hand-overs and fleets are remembered from sweep
to sweep as long as the execution environment is warm. So is a spec, for the attempt that it was read for: a person who
resumes a run may change it, and then there is a new attempt. That they are *not* there is never remembered. So an
instance that works costs a sweep one small read, its heartbeat.

A person may remove a whole run and begin another of its name. So nothing is destroyed on the word of memory: before an
instance is ended, a new witness is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from spotrelay.core import keys, records, spec
from spotrelay.launcher.inventory import Instance
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.orphans import DONE_S, Evidence
from spotrelay.launcher.pools import FLEET_TAG

R = TypeVar("R")


class Witness:
    """Safe to ask from several threads. Every method raises StoreError, RecordInvalid for a damaged object."""

    def __init__(self, objects: Objects, now: Callable[[], float]) -> None:
        self._objects, self._now = objects, now
        self._known: dict[tuple[str, int], Any] = {}
        self._asked: set[tuple[str, int]] = set()

    def evidence(self, instance: Instance) -> Evidence:
        assignment = self._once(records.Assignment, keys.assignment(instance.id))
        if assignment is None:
            return Evidence(instance, fleet=self._fleet(instance))
        run, attempt = assignment.run, assignment.attempt
        claim = self.claim(run, attempt)
        if claim is None or claim.instance != instance.id:
            return Evidence(instance, assignment, claim)
        found = Evidence(instance, assignment, claim, self.status(run, attempt))
        if abs(self._now() - found.heard_at) < DONE_S:
            return found
        return Evidence(
            instance, assignment, claim, found.status, over=self._over(run, attempt), kept=self._kept(run, attempt)
        )

    def newest_claimed(self, run: str) -> int | None:
        """The newest attempt that somebody owns, or owned."""
        folders = self._objects.folders(keys.attempts(run))
        for number in sorted((int(each) for each in folders if re.fullmatch("[0-9]{5}", each)), reverse=True):
            if number and self.claim(run, number) is not None:
                return number
        return None

    def claim(self, run: str, attempt: int) -> records.Claim | None:
        return self._once(records.Claim, keys.claim(run, attempt))

    def handover(self, run: str, attempt: int) -> records.Handover | None:
        return self._once(records.Handover, keys.handover(run, attempt))

    def status(self, run: str, attempt: int) -> records.Status | None:
        """Anew each time: it is the one object that changes."""
        return self._anew(records.Status, keys.status(run, attempt))

    def outcome(self, run: str) -> records.Outcome | None:
        """Anew each time: on its word a run's mark is taken away."""
        return self._anew(records.Outcome, keys.outcome(run))

    def spec(self, run: str, attempt: int = 0) -> spec.Spec | None:
        """As attempt `attempt` has it. Raises SpecError too."""
        key = keys.spec(run)
        return self._remembered(key, lambda data: spec.from_json(data, source=key), attempt)

    def forget_others(self) -> None:
        """What nobody asked for since the last time is of instances and runs that are over."""
        self._known = {key: found for key, found in self._known.items() if key in self._asked}
        self._asked = set()

    def _over(self, run: str, attempt: int) -> bool:
        return (
            self.outcome(run) is not None
            or self.handover(run, attempt) is not None
            or self.claim(run, attempt + 1) is not None
        )

    def _kept(self, run: str, attempt: int) -> bool:
        """One whose spec is gone is kept by nobody."""
        found = self.spec(run, attempt)
        return found is not None and found.instance.keep_alive

    def _fleet(self, instance: Instance) -> records.Fleet | None:
        """By its tag, which anybody may have set: it becomes part of a key."""
        identity = instance.tags.get(FLEET_TAG, "")
        if not keys.FLEET_ID.fullmatch(identity):
            return None
        return self._once(records.Fleet, keys.fleet(identity))

    def _anew(self, cls: type[R], key: str) -> R | None:
        data = self._objects.get(key)
        return None if data is None else records.decode(cls, data, key=key)

    def _once(self, cls: type[R], key: str) -> R | None:
        return self._remembered(key, lambda data: records.decode(cls, data, key=key))

    def _remembered(self, key: str, decode: Callable[[bytes], R], attempt: int = 0) -> R | None:
        known = (key, attempt)
        self._asked.add(known)
        if known not in self._known:
            data = self._objects.get(key)
            if data is None:
                return None
            self._known[known] = decode(data)
        found: R = self._known[known]
        return found
