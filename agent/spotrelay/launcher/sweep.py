"""The sweep: once every few minutes everything is looked at, whatever events said or failed to say (P3, P5).

    instances of our stack ──► orphans.judge ──► ended, or left
                                       │
    open runs ───────────► unattended.missing ──► asked for: the same idempotent step as for every message
                                       │
    runs at work ────────► limits ──► cancelled
                                       │
    what happened to both ────────────► told to a person, if anybody wants to hear it (`telling`)

1. Nothing is done to an instance without our tag, nor to one whose owner was heard of, nor on a read that failed: then
   the next sweep looks again.
2. Nothing is done on old knowledge either: right before instances are ended, everything about them is read and judged
   once more.
3. When most owners are silent at once it is not they: our store or their role is broken. None is touched, and a person
   is called.
4. Two sweeps at once, or one that died half-way and comes again, do the same things twice, and each of them may be:
   ending what has ended, asking for what is there, creating what exists, deleting what is gone.
5. It ends in time. Each part has a share of it; what is left out is said, and comes as likely as all else next time.

What a sweep costs the store, with everything create-only remembered (`witness`): a heartbeat for each instance at work,
and a listing of the open runs; for a run that waits for a machine also a listing and about three small reads, and what
`ensure` reads. 100 runs at work, a sweep each five minutes: 100 x 8,760 GETs a month at $0.40 a million, and 8,760
LISTs at $5 a million, are $0.39. (An environment that starts cold reads three objects more for each, once.) A run with
a limit in hours or dollars costs what `limits` reads besides: one listing for each of 100 runs is $4.38 a month.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from spotrelay.core import keys, records
from spotrelay.core.errors import StoreError
from spotrelay.core.messages import ResumeRequest
from spotrelay.launcher.crew import Alone, Crew
from spotrelay.launcher.ec2 import Unanswered
from spotrelay.launcher.inventory import MOST_AT_ONCE, Instance, Refused
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.orphans import Fate, Verdict, judge
from spotrelay.launcher.portions import Portions, report
from spotrelay.launcher.telling import Seen
from spotrelay.launcher.unattended import Traces, missing
from spotrelay.launcher.view import Found, View
from spotrelay.launcher.witness import Witness

T = TypeVar("T")
R = TypeVar("R")
# Makes each so, or rings for it by itself. Those for which it could do neither, with the error.
Ensure = Callable[[Sequence[ResumeRequest]], Mapping[ResumeRequest, Exception]]

# Fewer silent owners than this are a coincidence, however few there are in all.
MANY = 3
# As many requests as a batch of messages: `ensure` is made to be done with them in an invocation.
ASKED_TOGETHER = 10
# A run's mark is made right before the run, by somebody who tries for two minutes (`daemon.BOOT_PATIENCE_S`).
LONELY_S = 1800.0
# As many messages at once as there are threads: each may take as long as `channels` says, and then the clock is read.
TOLD_TOGETHER = 16
# How many instances a line of the log names.
NAMED = 20
# The shares of the time, each to be over by. What ends comes first: it burns.
LOOKED_BY, ENDED_BY, ATTENDED_BY, LIMITED_BY = 0.4, 0.55, 0.7, 0.8


class Estate(Protocol):
    def instances(self) -> list[Instance]:
        """Raises Unanswered, Refused."""
        ...

    def terminate(self, instances: Sequence[str]) -> dict[str, str]:
        """Raises Unanswered."""
        ...


class Spot(Protocol):
    def marked(self, instances: Iterable[str]) -> set[str]:
        """Those that EC2 will take. Raises Unanswered."""
        ...


class Limits(Protocol):
    def over(self, run: str) -> records.Cancel | None:
        """Which limit a run that works has reached. Asked from several threads."""
        ...

    def settled(self, run: str, outcome: records.Outcome) -> bool:
        """Whether the books of a run that is over are closed, as far as they can be. Likewise."""
        ...


class Teller(Protocol):
    def tell(self, seen: Seen) -> bool:
        """Whether nothing is owed any more. Asked from several threads, about different runs."""
        ...

    def forget_others(self) -> None: ...


class Sweep:
    """`ensure`: the idempotent step that resume messages take too. One for each execution environment: it remembers."""

    def __init__(
        self,
        objects: Objects,
        estate: Estate,
        spot: Spot,
        ensure: Ensure,
        *,
        stack: str,
        crew: Crew,
        log: Callable[..., None],
        now: Callable[[], float],
        limits: Limits | None = None,
        teller: Teller | None = None,
    ) -> None:
        self._objects, self._estate, self._spot, self._ensure = objects, estate, spot, ensure
        self._stack, self._crew, self._log, self._now, self._limits = stack, crew, log, now, limits
        self._witness = Witness(objects, now)
        self._teller = teller
        self._seen: dict[str, Seen] = {}
        self._lonely: dict[str, float] = {}

    def once(self, until: float) -> None:
        """All of it, or what can be done before `until` (as `now` counts). Raises nothing that another sweep heals."""
        began, self._seen = self._now(), {}
        try:
            instances = self._estate.instances()
        except (Unanswered, Refused) as error:
            return report(self._log, "instances", [error])

        def share(part: float) -> float:
            return began + part * (until - began)

        view = View(up={each.id for each in instances if each.up}, marked=self._marked(instances))
        view.found = self._portions("instances", self._judged).of(instances, until=share(LOOKED_BY))
        self._call(view.found)
        self._end(view, share(ENDED_BY))
        wanted = view.asked() | self._unattended(view, share(ATTENDED_BY))
        self._limit(view, share(LIMITED_BY))
        self._ask(wanted, until)
        self._tell(view, until)
        self._witness.forget_others()
        counts = {"instances": len(instances), "looked_at": len(view.found), "ended": len(view.ended)}
        return self._log("sweep.done", **counts, asked=len(wanted), seconds=round(self._now() - began, 3))

    # --- the instances

    def _marked(self, instances: Iterable[Instance]) -> Collection[str]:
        try:
            return self._spot.marked([each.id for each in instances if each.spot and each.up])
        except Unanswered as error:  # a second witness; the first is on the instance
            report(self._log, "spot requests", [error])
            return ()

    def _judged(self, instance: Instance, witness: Witness | None = None) -> Found:
        evidence = (witness or self._witness).evidence(instance)
        return Found(evidence, judge(evidence, self._stack, self._now()))

    def _call(self, found: Iterable[Found]) -> None:
        """A person: one line for each reason, however many instances it has."""
        calls: dict[Verdict, list[str]] = {}
        for each in found:
            if each.verdict.fate is Fate.CALL:
                calls.setdefault(each.verdict, []).append(each.id)
        for verdict, ids in calls.items():
            self._log("needs.person", why=verdict.why, instances=ids[:NAMED], count=len(ids))

    def _end(self, view: View, until: float) -> None:
        doomed = self._doomed(view)
        for first in range(0, len(doomed), MOST_AT_ONCE):
            if self._now() >= until:
                return self._log("sweep.left_out", what="orphans", count=len(doomed) - first)
            view.ended |= self._terminate(doomed[first : first + MOST_AT_ONCE], until)
        return None

    def _doomed(self, view: View) -> list[Found]:
        doomed = [each for each in view.found if each.verdict.fate is Fate.END]
        silent = [each for each in view.found if each.verdict.fate is Fate.END_IF_FEW]
        owners = sum(each.works for each in view.found)
        if len(silent) < MANY or 2 * len(silent) <= owners:
            return doomed + silent
        why = f"{len(silent)} of {owners} owners are silent: rather our store or their role is broken than they"
        self._log("needs.person", why=why, instances=[each.id for each in silent[:NAMED]], count=len(silent))
        return doomed

    def _terminate(self, doomed: Iterable[Found], until: float) -> set[str]:
        """Those that are judged the same once more. Their ids."""
        witness, before = Witness(self._objects, self._now), {each.id: each.verdict for each in doomed}

        def once_more(found: Found) -> Found:
            return self._judged(found.evidence.instance, witness)

        again = self._portions("orphans", once_more).of(doomed, until=until)
        sure = [each for each in again if each.verdict is before[each.id]]
        try:
            refused = self._estate.terminate([each.id for each in sure]) if sure else {}
        except Unanswered as error:
            report(self._log, "orphans", [error])
            return set()
        for each in sure:
            self._log_end(each, refused.get(each.id))
        return {each.id for each in sure if each.id not in refused}

    def _log_end(self, found: Found, refused: str | None) -> None:
        instance, assignment = found.evidence.instance, found.evidence.assignment
        whose = {"run": assignment.run, "attempt": assignment.attempt} if assignment is not None else {}
        if refused is not None:
            return self._log("needs.person", why=refused, instance=instance.id, orphan=found.verdict.why, **whose)
        age_s = round(self._now() - instance.launched_at)
        return self._log("orphan.terminated", instance=instance.id, why=found.verdict.why, age_s=age_s, **whose)

    # --- the runs

    def _unattended(self, view: View, until: float) -> set[ResumeRequest]:
        """Every run that is open and has nobody at work."""
        try:
            marks = self._objects.list(keys.open_runs())
        except StoreError as error:
            report(self._log, "open runs", [error])
            return set()
        runs = {name for mark in marks if keys.RUN_NAME.fullmatch(name := mark.removeprefix(keys.open_runs()))}
        self._lonely = {run: since for run, since in self._lonely.items() if run in runs}
        coming = view.coming()

        def look(run: str) -> ResumeRequest | None:
            return self._missing(run, view, coming.get(run, ()))

        found = self._portions("open runs", look).of(runs - view.heard(self._now()), until=until)
        return {each for each in found if each is not None and each.attempt <= keys.LAST_ATTEMPT}

    def _missing(self, run: str, view: View, coming: Collection[int]) -> ResumeRequest | None:
        outcome = self._witness.outcome(run)
        if outcome is not None:
            if self._is_settled(run, outcome):
                self._close(Seen(run, outcome.attempt, outcome=outcome))
            return None
        traces = self._traces(run, view, coming)
        if traces.newest is None and self._witness.spec(run) is None:
            self._unmark(run)
            return None
        attempt = missing(traces, self._now())
        self._seen[run] = Seen(run, traces.newest or 0, traces.claim, waits=attempt is not None)
        return None if attempt is None else ResumeRequest(run, attempt)

    def _close(self, seen: Seen) -> None:
        """Its end is told first: without its mark nobody would come back to it."""
        if self._teller is None:
            self._objects.delete(keys.open_run(seen.run))
        else:
            self._seen[seen.run] = seen

    def _is_settled(self, run: str, outcome: records.Outcome) -> bool:
        """Its books are closed, or there are none that anybody could close."""
        try:
            return self._limits is None or self._limits.settled(run, outcome)
        except records.RecordInvalid as error:
            self._log("books.damaged", run=run, error=str(error))
            return True

    def _traces(self, run: str, view: View, coming: Collection[int]) -> Traces:
        newest = self._witness.newest_claimed(run)
        claim = self._witness.claim(run, newest) if newest is not None else None
        if newest is None or claim is None:
            return Traces(coming=coming)
        return Traces(
            newest,
            claim,
            self._witness.status(run, newest),
            self._witness.handover(run, newest),
            there=claim.instance in view.up,
            marked=claim.instance in view.marked,
            coming=coming,
        )

    def _unmark(self, run: str) -> None:
        """A mark without a run: somebody died between the two, or is at it. So it goes half an hour later, and comes
        back if the run has come in that very moment."""
        if self._now() - self._lonely.setdefault(run, self._now()) < LONELY_S:
            return
        self._objects.delete(keys.open_run(run))
        if self._witness.spec(run) is not None:
            self._objects.put(keys.open_run(run), b"")

    def _limit(self, view: View, until: float) -> None:
        """A run at work learns from the cancel object that it is over; one that waits, when it is asked for."""
        if self._limits is not None:
            self._portions("limits", self._hold).of(view.at_work().values(), until=until)

    def _hold(self, found: Found) -> None:
        assignment = found.evidence.assignment
        assert assignment is not None
        run = assignment.run
        spec = self._witness.spec(run, assignment.attempt)
        if spec is None or not (spec.limits.hours or spec.limits.dollars):
            return  # nothing that grows while it works; the other limits are for the next attempt
        over = self._limits.over(run) if self._limits is not None else None
        if over is not None and self._objects.create(keys.cancel(run), records.encode(over)):
            self._log("run.cancelled", run=run, result=over.result, why=over.message)

    def _ask(self, wanted: Iterable[ResumeRequest], until: float) -> None:
        order = sorted(wanted, key=lambda each: (each.run, each.attempt))
        batches = [order[first : first + ASKED_TOGETHER] for first in range(0, len(order), ASKED_TOGETHER)]
        ask = Portions("batches of requests", self._ensure, Alone(), self._log, self._now)
        for failed in ask.of(batches, until=until, size=1):
            report(self._log, "requests", failed.values())

    # --- a person

    def _tell(self, view: View, until: float) -> None:
        if self._teller is None:
            return
        for run, each in view.at_work().items():
            assert each.evidence.assignment is not None
            attempt, claim = each.evidence.assignment.attempt, each.evidence.claim
            self._seen[run] = Seen(run, attempt, claim, waits=view.going(each))
        self._portions("notifications", self._told).of(self._seen.values(), until=until, size=TOLD_TOGETHER)
        self._teller.forget_others()

    def _told(self, seen: Seen) -> None:
        assert self._teller is not None
        if not self._teller.tell(seen) or seen.outcome is None:
            return
        self._objects.delete(keys.open_run(seen.run))
        if self._witness.outcome(seen.run) is None and self._witness.spec(seen.run) is not None:
            self._objects.put(keys.open_run(seen.run), b"")  # somebody had it go on in the meantime

    def _portions(self, what: str, work: Callable[[T], R]) -> Portions[T, R]:
        return Portions(what, work, self._crew, self._log, self._now)
