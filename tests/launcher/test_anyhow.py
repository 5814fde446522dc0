"""Messages, deaths and crashes in any order, and the two promises over all of it.

P1, at every moment: at most one living instance was launched for an attempt and waits for it, and none at all for one
whose predecessor is healthy. P3, once the world calms down: a living instance owns the newest attempt, or the run has
its outcome.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spotrelay.core import keys, records
from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.spec import Limits
from support.launcher_site import Died, Fuse, Site, site_in

RUN = "anyhow"
LIMITS = Limits(attempts=6)


class Anyhow(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.there = site_in(self.folder)
        self.site: Site = self.there.__enter__()
        self.owners: dict[int, str] = {}
        self.noticed: set[int] = set()

    @initialize(copies=st.integers(1, 3), full=st.integers(0, 3))
    def begin(self, copies: int, full: int) -> None:
        self.site.begin(RUN, limits=LIMITS)
        for _ in range(full):
            self.refuse("InsufficientInstanceCapacity")
        self.site.post(RUN, 1, copies=copies)

    # ---- the queue and the launcher

    @rule(
        most=st.integers(1, 10),
        crash=st.just(0) | st.integers(1, 14),
        after=st.booleans(),
        error=st.sampled_from([Died, OSError, StoreUnavailable]),
    )
    def deliver(self, most: int, crash: int, after: bool, error: type[BaseException]) -> None:
        """What is due; the launcher may die at one of its calls."""
        self.site.fuse = Fuse(crash, after, error)
        self.site.deliver(most)
        self.site.fuse = Fuse()

    @rule()
    def wait(self) -> None:
        self.site.sleep()

    @rule(attempt=st.integers(2, 8), rings=st.sampled_from([50, 59, 60]))
    def message_out_of_nowhere(self, attempt: int, rings: int) -> None:
        """Forged, doubled, or fourteen days old."""
        self.site.post(RUN, attempt, rings)

    @rule(action=st.sampled_from(["CreateFleet", "SendMessage", "DescribeInstances"]), times=st.integers(1, 3))
    def lose_answers(self, action: str, times: int) -> None:
        self.site.do(lambda: self.site.plane.faults.lose_answer(action, times=times))

    @rule(code=st.sampled_from(["InsufficientInstanceCapacity", "RequestLimitExceeded", "IdempotentParameterMismatch"]))
    def refuse(self, code: str) -> None:
        status = 503 if code == "RequestLimitExceeded" else 400
        ec2, faults = self.site.plane.ec2, self.site.plane.faults

        def may_be(params: Mapping[str, Any]) -> bool:
            """EC2 throttles any call, but what a token has launched it does not deny."""
            return status == 503 or not any(params["ClientToken"] in use for use in ec2.tokens._uses)

        self.site.do(lambda: faults.refuse("CreateFleet", code, status=status, when=may_be))

    # ---- machines

    def waiting(self) -> list[str]:
        """Living instances that no attempt has yet."""
        everyone = [each for attempt in range(1, 10) for each in self.site.live(RUN, attempt)]
        return [each for each in everyone if each not in self.owners.values()]

    def living_owners(self) -> list[tuple[int, str]]:
        return [(n, i) for n, i in self.owners.items() if i in self.site.live(RUN, n)]

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def boot(self, data: st.DataObject) -> None:
        instance = data.draw(st.sampled_from(self.waiting()))
        assigned = self.site.assigned(instance)
        if assigned is not None and self.site.boot(instance):
            assert assigned[1] not in self.owners
            self.owners[assigned[1]] = instance

    @precondition(lambda self: self.waiting() or self.living_owners())
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        self.site.kill(data.draw(st.sampled_from(self.waiting() + [i for _, i in self.living_owners()])))

    @precondition(lambda self: self.living_owners())
    @rule(data=st.data(), copies=st.integers(0, 2))
    def notice(self, data: st.DataObject, copies: int) -> None:
        """Its request is posted once, or twice, or never arrives."""
        attempt, instance = data.draw(st.sampled_from(self.living_owners()))
        self.noticed.add(attempt)
        self.site.notice(RUN, attempt, instance)
        self.site.post(RUN, attempt + 1, copies=copies)

    @precondition(lambda self: self.noticed)
    @rule(data=st.data())
    def hand_over(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.noticed)))
        if (attempt, self.owners[attempt]) in self.living_owners():
            self.site.hand_over(RUN, attempt, self.owners[attempt])
            self.site.kill(self.owners[attempt])

    # ---- the promises

    @invariant()
    def one_machine_for_an_attempt(self) -> None:
        for attempt in range(1, 10):
            living = self.site.live(RUN, attempt)
            assert len(living) <= 1, (attempt, living)

    @invariant()
    def none_beside_a_healthy_owner(self) -> None:
        for attempt, _ in self.living_owners():
            if attempt not in self.noticed:
                assert [] == self.site.launched(RUN, attempt + 1)

    def teardown(self) -> None:
        try:
            self.calm_down()
        finally:
            self.there.__exit__(None, None, None)
            shutil.rmtree(self.folder)

    def calm_down(self) -> None:
        """No more faults; what is told to go goes; what was launched boots. Then somebody must own the run."""
        site = self.site
        if site.objects.get(keys.spec(RUN)) is None:
            return
        site.do(site.plane.faults.clear)
        for attempt, instance in self.living_owners():
            if attempt in self.noticed:
                site.kill(instance)
        for _ in range(3 * LIMITS.attempts):
            site.settle()
            for instance in self.waiting():
                assigned = site.assigned(instance)
                assert assigned is not None, f"{instance} waits for nothing"
                if site.boot(instance):
                    self.owners[assigned[1]] = instance
            if site.outcome(RUN) is not None:
                return
            if self.living_owners() and not site.bodies():
                break
        newest = max(self.owners)
        assert [newest] == [attempt for attempt, _ in self.living_owners()]
        claim = site.read(records.Claim, keys.claim(RUN, newest + 1))
        assert claim is None


Anyhow.TestCase.settings = settings(
    max_examples=20,
    stateful_step_count=25,
    # To shrink an example takes minutes, and twenty-five steps can be read as they are.
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
TestAnyhow = Anyhow.TestCase
