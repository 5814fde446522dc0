"""Where a run stands when somebody asks for one of its attempts: everything that a decision needs, read at once.

Nothing is remembered from call to call: what another launcher, an agent or a person did since is seen. The cheapest
answers come first, since most messages of a storm are copies: an attempt that has its owner costs one read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from spotrelay.core import keys, records, spec
from spotrelay.core.errors import SpecError
from spotrelay.core.keys import Member
from spotrelay.core.messages import ResumeRequest
from spotrelay.launcher.objects import Objects

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Before:
    """The attempt before the one asked for, as it left its traces. No claim: it has not begun."""

    claim: records.Claim | None
    handover: records.Handover | None
    status: records.Status | None
    death: records.Death | None = None

    @property
    def awaited(self) -> bool:
        """It began, and nobody has said that it is over: whether it lives is EC2's to say."""
        return self.claim is not None and self.handover is None and self.death is None


@dataclass(frozen=True, slots=True)
class Search:
    """The hunt so far: its last step (-1: none), and the answers to that and to the one before.

    `hunt`: what it waits for. Only where it may be waiting: nobody is at it, and it has no instance.
    """

    step: int = -1
    seat: records.Seat | None = None
    answer: records.Answer | None = None
    earlier: records.Answer | None = None
    hunt: records.Hunt | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """`settled`: why there is nothing to do; then nothing else was read, but `before` where its owner may be waiting
    for one that is dead. `before`: None for a first attempt."""

    request: ResumeRequest
    settled: str = ""
    spec: spec.Spec | None = None
    before: Before | None = None
    cancel: bytes | None = None
    search: Search = Search()

    def instances(self) -> Iterator[str]:
        """Those whose life matters."""
        if self.before is not None and self.before.claim is not None and self.before.awaited:
            yield self.before.claim.instance
        if self.search.answer is not None and self.search.answer.instance is not None:
            yield self.search.answer.instance


class Records:
    """Typed reading of the run's objects."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def read(self, cls: type[R], key: str) -> R | None:
        """None when there is no such object. Raises RecordInvalid for a damaged one, StoreError."""
        data = self._objects.get(key)
        return None if data is None else records.decode(cls, data, key=key)

    def standing(self, request: ResumeRequest) -> Standing:
        run, attempt = request.run, request.attempt
        if self._objects.get(keys.claim(run, attempt)) is not None:
            return Standing(request, "has_owner", before=self._awaited(run, attempt))
        if self._objects.get(keys.outcome(run)) is not None:
            return Standing(request, "run_over")
        specification = self._spec(run)
        if specification is None:
            return Standing(request, "unknown_run")
        return Standing(
            request,
            spec=specification,
            before=self._before(run, attempt - 1) if attempt > 1 else None,
            cancel=self._objects.get(keys.cancel(run)),
            search=self._search(run, attempt),
        )

    def newest_allowed(self, run: str, attempt: int) -> str | None:
        """What whoever continues after `attempt` would begin from, by the rule of `history`."""
        saved = keys.snapshots_among(self._objects.list(keys.snapshots(run)))
        for number in range(attempt, -1, -1):
            own = [snapshot for snapshot in saved if snapshot.attempt == number]
            if own:
                return str(max(own))
            base = self.read(records.Base, keys.base(run, number)) if number else None
            if base is not None:
                return base.snapshot
        return None

    def _awaited(self, run: str, attempt: int) -> Before | None:
        """The attempt before, if the owner of this one still waits for it."""
        if attempt == 1 or self._objects.get(keys.base(run, attempt)) is not None:
            return None
        before = self._before(run, attempt - 1)
        return before if before.awaited else None

    def _before(self, run: str, attempt: int) -> Before:
        claim = self.read(records.Claim, keys.claim(run, attempt))
        if claim is None:
            return Before(None, None, None)
        handover = self.read(records.Handover, keys.handover(run, attempt))
        death = None if handover is not None else self.read(records.Death, keys.death(run, attempt))
        return Before(claim, handover, self.read(records.Status, keys.status(run, attempt)), death)

    def _search(self, run: str, attempt: int) -> Search:
        hunt = self._hunt(run, attempt)
        # Where the hunt was when it last said so is only a place to begin to look.
        hint = max(0, hunt.step) if hunt is not None else 0
        step = last(lambda step: self._objects.get(keys.seat(Member(run, attempt, step))) is not None, hint)
        if step < 0:
            return Search(hunt=hunt)
        seat = self.read(records.Seat, keys.seat(Member(run, attempt, step)))
        answer = self.read(records.Answer, keys.answer(run, attempt, step))
        if answer is None:
            return Search(step, seat)
        if answer.instance is None:
            return Search(step, seat, answer, hunt=hunt)
        earlier = self.read(records.Answer, keys.answer(run, attempt, step - 1)) if step > 0 else None
        return Search(step, seat, answer, earlier)

    def _hunt(self, run: str, attempt: int) -> records.Hunt | None:
        """A damaged one is as good as none: it only spares work."""
        try:
            told = self.read(records.Hunt, keys.hunt(run))
        except records.RecordInvalid:
            return None
        return told if told is not None and told.attempt == attempt else None

    def _spec(self, run: str) -> spec.Spec | None:
        key = keys.spec(run)
        data = self._objects.get(key)
        found = None if data is None else spec.from_json(data, source=key)
        if found is not None and found.run.name != run:
            raise SpecError([f"{key}: [run] name is {found.run.name} — the object was copied or damaged; start anew"])
        return found


def last(there: Callable[[int], bool], hint: int) -> int:
    """The last of the numbers 0, 1, 2 … that are there, -1 if none is. Near `hint` it takes two looks.

    A listing would do, but costs as much as twelve reads, and a hunt of days has more steps than a page holds.
    """
    stride = 1
    if there(hint):
        low = hint
        while there(low + stride):
            low, stride = low + stride, 2 * stride
        high = low + stride
    else:
        high = hint
        while high - stride >= 0 and not there(high - stride):
            high, stride = high - stride, 2 * stride
        low = max(high - stride, -1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if there(middle) else (low, middle)
    return low
