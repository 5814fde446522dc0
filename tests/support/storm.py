"""The storm: N runs that work are all interrupted within two minutes, and everything goes wrong that can.

What is real: the launcher, whole, from the Lambda's handler to its adapters; the simulated EC2 and SQS, less their
HTTP. What is played here: agents (they claim, are told to go, post their requests, hand over, die) and Lambda's poller
(`environments`). All of it on one virtual clock (`timeline`), decided by one seed.

The promises are held all the way through (`_assigned`, `_claims`), and at the end (`Verdict`):

    one owner        of an attempt that was reached there is one claim, of an instance that was launched for it;
                     never two living instances assigned to one attempt (P1)
    one successor    an attempt is followed exactly when it was interrupted: no run lost, none double (P3)
    nothing left     no message in the queue, none in the dead letters; every living instance is the owner of its
                     run's newest attempt, after one pass of the sweep (P5)
"""

from __future__ import annotations

import random
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest import mock

from spotrelay.core import keys, records
from spotrelay.core.messages import ResumeRequest
from spotrelay.core.spec import Instance as On
from spotrelay.core.spec import Run, Spec
from spotrelay.launcher.orphans import COMING_S
from spotrelay.launcher.pools import Ground
from spotrelay.local.instances import Instance, Reason, State
from spotrelay.local.pools import Market, Pool
from spotrelay.local.server import ControlPlane
from support.environments import VISIBILITY_S, Environment
from support.memory import Memory
from support.timeline import Timeline

ZONES = tuple(f"us-east-1{letter}" for letter in "abcd")
TYPES = ("m5.large", "m6i.large", "c5.large", "c6i.large", "r5.large", "m7i.large")
STACK, QUEUE, DEAD = "relay", "requests", "dead"
TOLD = ["EC2 Spot Instance Interruption Warning", "EC2 Instance Rebalance Recommendation"]
# The stack's schedule. So many passes are two hours of it.
SWEEP_EVERY_S, MOST_PASSES = 300.0, 25
# The agent's, for its assignment.
ASSIGNED_WITHIN_S = 600.0


@dataclass(frozen=True)
class Plan:
    """What storm. Chances are per run, per call or per delivery."""

    runs: int
    seed: int = 1
    within_s: float = 120.0
    environments: int = 5
    # Messages.
    most_copies: int = 5
    late_s: float = 30.0
    bells_doubled: float = 0.05
    events_doubled: float = 0.2
    lost: float = 0.02  # requests, and events
    # Machines.
    without_notice: float = 0.05
    never_hands_over: float = 0.1
    stillborn: float = 0.03
    hangs: float = 0.01  # never claims, and burns
    again: float = 0.1  # the new owner is interrupted too
    boot_s: tuple[float, float] = (20.0, 60.0)
    # EC2 and the store, until `calm_s`.
    calm_s: float = 600.0
    closed: int = 18  # of 24 pools, others every 20 s
    scarce: int = 3  # of those that are open, with room for five
    describe_lag_s: float = 4.0
    throttle: bool = True
    lost_answers: float = 0.05
    refused: float = 0.03
    away: float = 0.001
    crash: float = 0.0005
    own_types: bool = False

    @classmethod
    def fair(cls, runs: int, **changes: Any) -> Plan:
        """Nothing goes wrong but that EC2 throttles."""
        calm: dict[str, Any] = dict.fromkeys(
            ("lost", "without_notice", "never_hands_over", "stillborn", "hangs", "again", "calm_s", "closed", "scarce"),
            0,
        )
        calm |= dict.fromkeys(("lost_answers", "refused", "away", "crash", "bells_doubled", "events_doubled"), 0)
        return cls(runs, **{**calm, "most_copies": 1, "late_s": 0.0, **changes})


@dataclass
class Verdict:
    """What is wrong, in words; and what there was.

    `hunted_s`: of each attempt, from its request to its launch. `took_s`: from the first request to the last launch.
    `unused`: instances that never owned anything. `strangers`, `unheard`: before the last passes of the sweep, living
    instances that owned nothing and runs that nobody asked for; `passes`: how many it took.
    """

    wrong: list[str] = field(default_factory=list)
    hunted_s: list[float] = field(default_factory=list)
    took_s: float = 0.0
    unused: int = 0
    strangers: int = 0
    unheard: int = 0
    passes: int = 0
    deaths: int = 0


class _Seen(Memory):
    """Tells of each assignment as it is made."""

    def __init__(self, seen: Callable[[str, str, int], None]) -> None:
        super().__init__()
        self._seen = seen

    def create(self, key: str, data: bytes) -> bool:
        created = super().create(key, data)
        if created and key.startswith("instances/"):
            assignment = records.decode(records.Assignment, data, key=key)
            self._seen(key.removeprefix("instances/").removesuffix(".json"), assignment.run, assignment.attempt)
        return created


class Storm:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.rng = plan, Random(plan.seed)
        self.timeline = Timeline()
        self.plane = ControlPlane(clock=self.timeline, seed=plan.seed)  # type: ignore[arg-type]
        self.objects = _Seen(self._assigned)
        self.ground = Ground("relay", "1", ZONES, TYPES, STACK)
        self.calls, self.log, self.deaths = Counter[str](), Counter[str](), Counter[str]()
        self.passes = self.strangers = self.unheard = 0
        self.quiet_at = 0.0
        self.told: list[dict[str, Any]] = []
        self.logged_bytes = 0
        self.crash = self.away = 0.0
        self.wrong: list[str] = []
        self.requested: dict[tuple[str, int], float] = {}
        self.launched: dict[tuple[str, int], float] = {}
        self.owners: dict[tuple[str, int], str] = {}
        self._machines: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
        self._ending: set[tuple[str, int]] = set()
        self._pending = self._posted = 0
        self.environments = [Environment(self) for _ in range(plan.environments)]
        self._ec2 = self.plane.ec2
        self.url = self._deploy()
        self.began = self.timeline.now()

    @property
    def _queue(self) -> Any:
        return self.plane.sqs.queue(QUEUE)

    def _deploy(self) -> str:
        sqs, events, plan = self.plane.sqs, self.plane.events, self.plan
        sqs.create_queue({"QueueName": DEAD})
        policy = f'{{"deadLetterTargetArn": "{sqs.queue(DEAD).arn}", "maxReceiveCount": 5}}'
        attributes = {"VisibilityTimeout": f"{VISIBILITY_S:.0f}", "RedrivePolicy": policy}
        url = str(sqs.create_queue({"QueueName": QUEUE, "Attributes": attributes})["QueueUrl"])
        queue = sqs.queue(QUEUE)
        queue.unordered, queue.duplicates, queue.most_copies = True, plan.bells_doubled, plan.most_copies
        template = {"LaunchTemplateName": "relay", "LaunchTemplateData": {"ImageId": "ami-0123456789abcdef0"}}
        self._ec2.create_launch_template(template)
        states = {"state": ["terminated", "stopped"]}
        events.route({"source": ["aws.ec2"], "detail-type": TOLD}, QUEUE)
        gone = {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"], "detail": states}
        events.route(gone, QUEUE)
        return url

    # ---- the story

    def run(self) -> Verdict:
        """The storm until all is quiet, and then as many passes of the sweep as it takes to find those of whom nobody
        ever said a word; one at least."""
        self._begin_runs()
        self._break_things()
        for run, attempt in list(self.owners):
            self._in(self.rng.uniform(0, self.plan.within_s), lambda r=run, a=attempt: self._interrupt(r, a))
        self.timeline.call_at(self.began + SWEEP_EVERY_S, self._sweep_on)
        self._until_quiet()
        self.quiet_at = self.timeline.now()
        self.strangers, self.unheard = self._strangers(), self._lost()
        self._rest(COMING_S)
        while self.passes < MOST_PASSES and (self._lost() or not self.passes):
            self.passes += 1
            self._sweep()
            self._until_quiet()
            self._rest(SWEEP_EVERY_S)
        return self._verdict()

    def _begin_runs(self) -> None:
        """All at work, as if for hours: what launched them is not this story."""
        fleet = ["f-" + "0" * 20]
        for first in range(0, self.plan.runs, 500):
            names = [f"run-{number}" for number in range(first, min(first + 500, self.plan.runs))]
            for name in names:
                spec = Spec(Run(name, ("true",), "/job"), instance=On(types=self._types(name)))
                self.objects.create(keys.open_run(name), b"")
                self.objects.create(keys.spec(name), spec.encode())
            self._ec2.instances.on_launch = lambda instance: None
            started = self._launch(len(names), fleet[0])
            for name, instance in zip(names, started, strict=True):
                self.objects.create(keys.assignment(instance.id), records.encode(records.Assignment(name, 1)))
                self._ec2.instance_running(instance.id)
                self._claim(instance, name, 1)
        self.plane.events.history.clear()
        self._ec2.instances.on_launch = self._boot
        self._ec2.instances.on_terminate = lambda identity: self._in(5, lambda: self._gone(identity, Reason.USER))

    def _launch(self, count: int, fleet: str) -> list[Instance]:
        tags = [{"Key": "spotrelay:stack", "Value": STACK}, {"Key": "spotrelay:fleet", "Value": fleet}]
        pool = {"InstanceType": self.rng.choice(TYPES), "AvailabilityZone": self.rng.choice(ZONES)}
        specification = {"LaunchTemplateName": "relay", "Version": "1"}
        answer = self._ec2.fleets.create_fleet(
            {
                "Type": "instant",
                "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": specification, "Overrides": [pool]}],
                "TargetCapacitySpecification": {"TotalTargetCapacity": count, "DefaultTargetCapacityType": "spot"},
                "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
            }
        )
        return [self._ec2.instances.known(each) for part in answer["Instances"] for each in part["InstanceIds"]]

    def _types(self, name: str) -> tuple[str, ...]:
        """With `own_types`, an order of the types that no other run has: then no two share a call."""
        if not self.plan.own_types:
            return ()
        left, order, number = [*TYPES, "m5.xlarge", "c5.xlarge"], list[str](), int(name.removeprefix("run-"))
        while left:
            number, which = divmod(number, len(left))
            order.append(left.pop(which))
        return tuple(order)

    # ---- what goes wrong

    def _break_things(self) -> None:
        plan, faults = self.plan, self.plane.faults
        self.crash, self.away = plan.crash, plan.away
        self.plane.throttle.enabled = plan.throttle
        self._ec2.instances.describe_lag_s = plan.describe_lag_s
        self.plane.events.loss, self.plane.events.doubling = plan.lost, plan.events_doubled
        if plan.lost_answers:
            faults.lose_answer("CreateFleet", times=None, chance=plan.lost_answers)
            faults.lose_answer("SendMessageBatch", times=None, chance=plan.lost_answers)
        if plan.refused:
            for code, status in (
                ("InternalError", 500),
                ("RequestLimitExceeded", 503),
                ("InsufficientInstanceCapacity", 500),
                ("BrandNewCode", 400),
            ):
                faults.refuse("CreateFleet", code, status=status, times=None, chance=plan.refused / 4, when=self._new)
            faults.refuse("DescribeInstances", "RequestLimitExceeded", status=503, times=None, chance=plan.refused)
            faults.refuse("SendMessageBatch", "ServiceUnavailable", status=503, times=None, chance=plan.refused / 4)
        if plan.closed:
            self._change_weather()
        self._in(plan.calm_s, self._calm_down)

    def _new(self, params: Any) -> bool:
        """EC2 may refuse what it has not done; what a token has launched it does not deny."""
        return ("CreateFleet", "", params["ClientToken"]) not in self._ec2.tokens._uses

    def _change_weather(self) -> None:
        if self.timeline.now() - self.began >= self.plan.calm_s:
            return
        pools = [Pool(kind, zone, Market.SPOT) for kind in TYPES for zone in ZONES]
        closed = set(self._ec2.weather.shortage(self.plan.closed, pools))
        for pool in [pool for pool in pools if pool not in closed][: self.plan.scarce]:
            self._ec2.weather.open(pool, 5)
        self._in(20, self._change_weather)

    def _calm_down(self) -> None:
        self.crash = self.away = 0.0
        self.plane.faults.clear()
        self.plane.events.loss = 0.0
        for kind in TYPES:
            for zone in ZONES:
                self._ec2.weather.open(Pool(kind, zone, Market.SPOT))

    # ---- all the way through

    def _assigned(self, instance: str, run: str, attempt: int) -> None:
        of, known = (run, attempt), self._ec2.instances.known
        for other in self._machines[of]:
            if known(other).state in (State.PENDING, State.RUNNING):
                self.wrong.append(f"{run} #{attempt} has {other} and {instance} at once")
        self._machines[of].append(instance)
        self.launched.setdefault(of, known(instance).launched_at)

    # ---- agents

    def _claim(self, instance: Instance, run: str, attempt: int) -> bool:
        claim = records.Claim(instance.id, "token", self.timeline.now(), instance.type, instance.zone, "spot")
        if not self.objects.create(keys.claim(run, attempt), records.encode(claim)):
            return False
        if attempt > 1 and (run, attempt - 1) not in self._ending:
            self.wrong.append(f"{run} #{attempt} fences a healthy owner")
        self.owners[run, attempt] = instance.id
        return True

    def _boot(self, instance: Instance) -> None:
        if self.rng.random() < self.plan.stillborn and self.timeline.now() - self.began < self.plan.calm_s:
            self._in(self.rng.uniform(1, 60), lambda: self._gone(instance.id, Reason.SPOT_INTERRUPTION))
        elif self.rng.random() >= self.plan.hangs or self.timeline.now() - self.began >= self.plan.calm_s:
            self._in(self.rng.uniform(*self.plan.boot_s), lambda: self._up(instance, self.timeline.now()))

    def _up(self, instance: Instance, since: float) -> None:
        """It looks for its assignment, for ten minutes; then it turns itself off."""
        if instance.state is State.PENDING:
            self._ec2.instance_running(instance.id)
        if instance.state is not State.RUNNING:
            return
        data = self.objects.get(keys.assignment(instance.id))
        if data is not None:
            assigned = records.decode(records.Assignment, data, key=instance.id)
            if self._claim(instance, assigned.run, assigned.attempt):
                self._own(assigned.run, assigned.attempt)
                return
        elif self.timeline.now() - since < ASSIGNED_WITHIN_S:
            self._in(5, lambda: self._up(instance, since))
            return
        self._gone(instance.id, Reason.ITSELF)

    def _own(self, run: str, attempt: int) -> None:
        calm = self.timeline.now() - self.began >= self.plan.calm_s
        if not calm and self.rng.random() < self.plan.again:
            self._in(self.rng.uniform(5, 300), lambda: self._interrupt(run, attempt))

    def _interrupt(self, run: str, attempt: int) -> None:
        identity, rng, plan = self.owners[run, attempt], self.rng, self.plan
        self._ending.add((run, attempt))
        self.requested[run, attempt + 1] = self.timeline.now()
        if rng.random() < plan.without_notice:
            self._gone(identity, Reason.SPOT_INTERRUPTION)
            return
        self._ec2.interrupt_warning(identity, at=self.timeline.now() + 120)
        # The status may be seconds later than the request.
        status = records.Status(identity, "draining", self.timeline.now(), gone_at=self.timeline.now() + 120)
        self._in(rng.uniform(0, 2), lambda: self.objects.put(keys.status(run, attempt), records.encode(status)))
        if rng.random() >= plan.lost:
            for copy in range(rng.randint(1, plan.most_copies)):
                late = rng.uniform(0, plan.late_s) if copy else 0.0
                self._in(late, lambda: self._post(ResumeRequest(run, attempt + 1).encode()))
        if rng.random() >= plan.never_hands_over:
            self._in(rng.uniform(10, 115), lambda: self._hand_over(run, attempt, identity))
        self._in(120, lambda: self._gone(identity, Reason.SPOT_INTERRUPTION))

    def _post(self, body: str) -> None:
        self._posted += 1
        self._queue.send(body)

    def _hand_over(self, run: str, attempt: int, identity: str) -> None:
        snapshot, now = f"{attempt}-1", self.timeline.now()
        handover = records.Handover(identity, "interrupted", now, "exit 0", 0, True, 0, snapshot, "spot interruption")
        self.objects.create(keys.handover(run, attempt), records.encode(handover))

    def _gone(self, identity: str, reason: Reason) -> None:
        self._ec2.instance_gone(identity, reason)

    # ---- time

    def _in(self, seconds: float, act: Callable[[], None]) -> None:
        self._pending += 1

        def happen() -> None:
            self._pending -= 1
            act()

        self.timeline.call_at(self.timeline.now() + seconds, happen)

    @property
    def sent(self) -> int:
        """Messages that agents, EventBridge and the schedule sent: all but the launcher's bells."""
        told = [each["detail"].get("state", "terminated") for each in self.plane.events.history]
        return self._posted + told.count("terminated")

    @property
    def over(self) -> bool:
        return not (self._pending or self._queue.messages or any(each.at_work for each in self.environments))

    def _until_quiet(self) -> None:
        for each in self.environments:
            self.timeline.spawn(each.live)
        ends = self.timeline.call_at(self.timeline.now() + 6 * 3600, self._endless)
        self._look(ends.cancel)
        self.timeline.run()
        ends.cancel()

    def _rest(self, seconds: float) -> None:
        self.timeline.call_at(self.timeline.now() + seconds, self.timeline.stop)
        self.timeline.run()

    def _look(self, cancel: Callable[[], None]) -> None:
        """Ends the timeline once all is quiet, and everybody has seen it."""
        if self.over:
            self.timeline.call_at(self.timeline.now() + 5, self.timeline.stop)
        else:
            self.timeline.call_at(self.timeline.now() + 1, lambda: self._look(cancel))

    def _endless(self) -> None:
        bodies = [message.body for message in self._queue.messages.values()][:5]
        raise AssertionError(f"never quiet: {self._pending} pending, {len(self._queue.messages)} messages: {bodies}")

    def _sweep_on(self) -> None:
        if not self.over:
            self._sweep()
            self.timeline.call_at(self.timeline.now() + SWEEP_EVERY_S, self._sweep_on)

    def _sweep(self) -> None:
        """The schedule's message. Owners have been heard of lately, as agents see to."""
        now = self.timeline.now()
        for (run, attempt), identity in self.owners.items():
            if (run, attempt) not in self._ending:
                self.objects.put(keys.status(run, attempt), records.encode(records.Status(identity, "running", now)))
        self._post('{"sweep": {}}')

    # ---- what has come of it

    def _alive(self) -> list[Instance]:
        return [each for each in self._ec2.instances if each.state in (State.PENDING, State.RUNNING)]

    def _strangers(self) -> int:
        """Living instances that own nothing."""
        owners = set(self.owners.values())
        return sum(each.id not in owners for each in self._alive())

    def _lost(self) -> int:
        """Runs whose newest owner was taken, and nobody knows."""
        return sum(
            (run, attempt) in self._ending and (run, attempt + 1) not in self.owners for run, attempt in self.owners
        )

    def _verdict(self) -> Verdict:
        verdict = Verdict(list(self.wrong), strangers=self.strangers, unheard=self.unheard, passes=self.passes)
        newest: dict[str, int] = {}
        for run, attempt in self.owners:
            newest[run] = max(attempt, newest.get(run, 0))
        for run, attempt in newest.items():
            self._judge(run, attempt, verdict)
        alive, needed = {each.id for each in self._alive()}, {self.owners[each] for each in newest.items()}
        verdict.wrong += [f"{each} burns for nobody" for each in sorted(alive - needed)]
        left = [message.body for message in self._queue.messages.values()]
        dead = [message.body for message in self.plane.sqs.queue(DEAD).messages.values()]
        verdict.wrong += [f"in the queue: {body}" for body in left] + [f"dead letter: {body}" for body in dead]
        for identity, number in Counter(self.owners.values()).items():
            verdict.wrong += [f"{identity} owns {number} attempts"] if number > 1 else []
        launched = [(self.launched[each], asked) for each, asked in self.requested.items() if each in self.launched]
        verdict.hunted_s = sorted(there - asked for there, asked in launched)
        verdict.took_s = max(there for there, _ in launched) - min(asked for _, asked in launched)
        verdict.deaths = sum(self.deaths.values())
        verdict.unused = len(self._ec2.instances) - len(self.owners)
        return verdict

    def _judge(self, run: str, newest: int, verdict: Verdict) -> None:
        ended = sum((run, attempt) in self._ending for attempt in range(1, newest + 1))
        if (run, newest) in self._ending:
            verdict.wrong.append(f"{run} is lost after #{newest}")
        elif ended != newest - 1:
            verdict.wrong.append(f"{run} has {newest} attempts, of which {ended} were interrupted")
        elif self._ec2.instances.known(self.owners[run, newest]).state is not State.RUNNING:
            verdict.wrong.append(f"the owner of {run} #{newest} is dead")

    def close(self) -> None:
        self.timeline.close()


@contextmanager
def storm(plan: Plan) -> Iterator[Storm]:
    """The same each time for the same plan: chance that is not the storm's own is given its seed too."""
    chance, state = Random(plan.seed), random.getstate()
    random.seed(plan.seed)
    made = Storm(plan)
    with mock.patch.object(secrets, "token_hex", lambda size: f"{chance.getrandbits(8 * size):0{2 * size}x}"):
        try:
            yield made
        finally:
            made.close()
            random.setstate(state)
