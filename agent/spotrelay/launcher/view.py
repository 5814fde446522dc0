"""What one sweep has seen and done so far, and what follows from that for the runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from spotrelay.core import keys
from spotrelay.core.keys import Member
from spotrelay.core.messages import ResumeRequest
from spotrelay.launcher.orphans import Evidence, Verdict
from spotrelay.launcher.unattended import HEARD_S


@dataclass(frozen=True, slots=True)
class Found:
    evidence: Evidence
    verdict: Verdict

    @property
    def id(self) -> str:
        return self.evidence.instance.id

    @property
    def works(self) -> bool:
        """An owner in the middle of its attempt."""
        return self.evidence.owns and self.evidence.instance.up and not self.evidence.over


@dataclass(slots=True)
class View:
    """`up`: instances that EC2 counts as such. `marked`: those that it has said it takes. `ended`: those we ended."""

    found: list[Found] = field(default_factory=list)
    up: Collection[str] = ()
    marked: Collection[str] = ()
    ended: set[str] = field(default_factory=set)

    def at_work(self) -> dict[str, Found]:
        """The owner of each run that has one."""
        return {run: each for run, _, each in self._assigned() if each.works}

    def heard(self, now: float) -> set[str]:
        """Runs whose owner works, and said so lately: what they may need nevertheless is `asked`."""
        return {run for run, each in self.at_work().items() if now - each.evidence.heard_at < HEARD_S}

    def coming(self) -> dict[str, set[int]]:
        """The attempts, by their runs, that a young instance is about to claim."""
        coming: dict[str, set[int]] = {}
        for run, attempt, each in self._assigned():
            if each.verdict is Verdict.COMING and each.evidence.claim is None:
                coming.setdefault(run, set()).add(attempt)
        return coming

    def asked(self) -> set[ResumeRequest]:
        """What must be asked for because of an instance, whether or not its run is marked as open."""
        asked = {ResumeRequest(run, attempt) for each in self.found for run, attempt in self._asked_by(each)}
        return {each for each in asked if each.attempt <= keys.LAST_ATTEMPT}

    def _asked_by(self, found: Found) -> Iterator[tuple[str, int]]:
        evidence, assignment = found.evidence, found.evidence.assignment
        if evidence.fleet is not None and (found.verdict is Verdict.WAITING or found.id in self.ended):
            for member in map(Member.parse, evidence.fleet.candidates):
                yield member.run, member.attempt
        elif assignment is not None and evidence.claim is None and found.id in self.ended:
            yield assignment.run, assignment.attempt
        elif assignment is not None and evidence.owns and not evidence.over and self.going(found):
            yield assignment.run, assignment.attempt + 1

    def _assigned(self) -> Iterator[tuple[str, int, Found]]:
        for each in self.found:
            if (assignment := each.evidence.assignment) is not None:
                yield assignment.run, assignment.attempt, each

    def going(self, found: Found) -> bool:
        """Its machine goes, whoever says so."""
        return found.id in self.marked or found.id in self.ended or found.evidence.told_to_go
