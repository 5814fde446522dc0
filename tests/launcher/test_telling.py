"""Who is told what of a run: each thing once, whoever dies in between, and at no price for what is over."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spotrelay.core import keys, records
from spotrelay.core.spec import Instance as On
from spotrelay.core.spec import Run, Spec
from spotrelay.launcher import news, telling
from spotrelay.launcher.channels import Webhook
from spotrelay.launcher.crew import Alone
from spotrelay.launcher.news import End
from spotrelay.launcher.objects import Folder
from spotrelay.launcher.sweep import Sweep
from spotrelay.launcher.telling import AGAIN_S, GIVEN_UP_S, Seen, Teller
from spotrelay.local.clock import ManualClock
from support.launcher_site import STACK, Died, Fuse, Site
from support.webhook import Hook, hook

RUN = "r"
STORY = [("resumed", 2), ("interrupted", 2), ("stuck", 3), ("resumed", 3), ("finished", 3)]


class Room:
    """Somebody who tells, a store, a webhook. `fuse` is on all that he writes, reads and sends."""

    def __init__(self, folder: Path, there: Hook) -> None:
        self.clock, self.objects, self.hook, self.fuse = ManualClock(), Folder(folder), there, Fuse()
        self.said: list[tuple[str, dict[str, Any]]] = []

    def teller(self, fuse: Fuse | None = None, stack: str = "spotrelay") -> Teller:
        """A new one, as in a cold environment."""
        on = (fuse or self.fuse).on
        channel = on(Webhook(f"{self.hook.url}/s3cret"))
        log = lambda event, **fields: self.said.append((event, fields))  # noqa: E731
        return Teller(on(self.objects), channel, stack=stack, log=log, now=self.clock.now)

    def claim(self, attempt: int) -> records.Claim:
        claim = records.Claim(f"i-{attempt:017x}", "token", self.clock.now(), "m5.large", "us-east-1a", "spot")
        self.objects.create(keys.claim(RUN, attempt), records.encode(claim))
        return claim

    def hand_over(self, attempt: int, reason: str = "interrupted", **fields: Any) -> None:
        over = records.Handover("i-1", reason, self.clock.now(), "exit code 1", 1, True, 0, None, **fields)
        self.objects.create(keys.handover(RUN, attempt), records.encode(over))

    def hunt(self, attempt: int, *, ago: float = 0.0, person: bool = False) -> None:
        now = self.clock.now()
        told = records.Hunt(attempt, 3, now - ago, now, "no capacity", "spot", ["m5.large: none"], person=person)
        self.objects.put(keys.hunt(RUN), records.encode(told))

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.said if name == event]


@pytest.fixture
def there() -> Iterator[Hook]:
    with hook() as found:
        yield found


@pytest.fixture
def room(tmp_path: Path, there: Hook) -> Room:
    return Room(tmp_path, there)


def story(room: Room) -> Iterator[Seen]:
    """What a sweep sees, one after the other, of a run with three attempts that waited for a person once."""
    room.claim(1)
    yield Seen(RUN, 1)
    room.hand_over(1, noticed_at=room.clock.now(), worked_s=60.0, kept_s=48.0)
    room.claim(2)
    yield Seen(RUN, 2)
    room.hunt(3, person=True)
    yield Seen(RUN, 2, waits=True)
    room.hand_over(2)
    room.claim(3)
    yield Seen(RUN, 3)
    yield Seen(RUN, 3, outcome=records.Outcome("succeeded", 3, room.clock.now(), 0))


def untiring(room: Room, seen: Seen, teller: Callable[[], Teller]) -> None:
    """Sweep after sweep, five minutes apart, until nothing is owed."""
    for _ in range(8):
        try:
            if teller().tell(seen):
                return
        except Died:
            pass
        room.clock.advance(300)
    raise AssertionError(f"{seen} is never told: {room.said}")


def test_each_is_told_once_in_its_order(room: Room, there: Hook) -> None:
    """By warm and by cold environments, again and again. Otherwise a person learns to look away."""
    warm = room.teller()
    for seen in story(room):
        for teller in (warm, room.teller(), warm):
            assert teller.tell(seen)
        warm.forget_others()

    assert STORY == there.events
    assert len(STORY) == len({body["id"] for body in there.bodies})


def test_nothing_is_lost_whenever_a_sweep_dies(tmp_path: Path, there: Hook) -> None:
    """Before and after each of its calls: then it is told by a later sweep, in its order, and twice only if the message
    had gone out. Otherwise a night's work waits for somebody who was never called."""
    doubles = 0
    for at, after in ((at, after) for at in itertools.count(1) for after in (False, True)):
        room = Room(tmp_path / f"{at}-{after}", there)
        there.bodies.clear()
        room.fuse = Fuse(at, after)
        for seen in story(room):
            untiring(room, seen, room.teller)
        if not room.fuse.blown:
            break
        more = len(there.events) - len(STORY)
        doubles += more
        assert list(dict.fromkeys(there.events)) == STORY, (at, after)
        assert more <= 1, (at, after, there.events)

    # Sent, but not heard that it was; or heard, and not written down.
    assert doubles == 2 * len(STORY)
    assert at > 30


@pytest.mark.parametrize("at", range(10, 40, 3))
def test_what_came_all_at_once_is_told_in_its_order(room: Room, there: Hook, at: int) -> None:
    """After an hour without sweeps, and the first of them dies. Told from the end, the older half would be lost."""
    *_, last = story(room)
    room.fuse = Fuse(at)
    untiring(room, last, room.teller)

    assert [("resumed", 2), ("resumed", 3), ("finished", 3)] == list(dict.fromkeys(there.events))


def test_two_at_once(room: Room, there: Hook) -> None:
    """SQS delivers a sweep twice now and then, and one may overlap the next. One of them tells."""
    *_, last = story(room)
    tellers = [room.teller(Fuse()) for _ in range(8)]
    start = threading.Barrier(len(tellers))

    def tell(teller: Teller) -> None:
        start.wait(60)
        teller.tell(last)

    threads = [threading.Thread(target=tell, args=(each,)) for each in tellers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    untiring(room, last, room.teller)

    assert [("resumed", 2), ("resumed", 3), ("finished", 3)] == sorted(there.events, key=lambda each: each[1:])
    assert 3 == len(there.events)


def test_what_is_in_hand_is_left_for_a_quarter_of_an_hour(room: Room, there: Hook) -> None:
    """Whoever began it may still be waiting for the answer. Afterwards he is dead."""
    room.claim(1), room.claim(2)
    room.fuse = Fuse(at=9, after=False)
    with pytest.raises(Died):
        room.teller().tell(Seen(RUN, 2))
    assert "send" == room.fuse.calls[-1]
    room.clock.advance(AGAIN_S - 1)
    assert not room.teller().tell(Seen(RUN, 2))
    room.clock.advance(1)

    assert room.teller().tell(Seen(RUN, 2))
    assert [("resumed", 2)] == there.events
    assert [{"told": keys.told(RUN, 2, "resumed"), "tries": 2}] == room.logged("notification.sent")


def test_webhook_that_is_away_is_asked_again(room: Room, there: Hook) -> None:
    """The run's end is told once it is back: nobody sees a run that is over by itself."""
    there.answers = [503, 503]
    over = Seen(RUN, 1, outcome=records.Outcome("failed", 1, room.clock.now(), 3, message="exit code 3"))
    untiring(room, over, room.teller)

    assert [("finished", 1)] == there.events
    assert [1, 2] == [each["tries"] for each in room.logged("notification.failed")]
    assert [] == room.logged("needs.person")
    assert "s3cret" not in str(room.said)


def test_webhook_that_is_gone_calls_a_person(room: Room, there: Hook) -> None:
    """By the log, and the alarm on it: by this way nobody can be told."""
    there.always = 404
    room.teller().tell(Seen(RUN, 1, outcome=records.Outcome("failed", 1, room.clock.now())))

    assert ["the webhook answers 404"] == [each["why"] for each in room.logged("needs.person")]


def test_a_channel_that_fails_is_left_alone_for_a_minute(room: Room, there: Hook) -> None:
    """With a thousand runs to tell of, a dead webhook costs a sweep one patience, not a thousand."""
    there.always = 503
    teller = room.teller()
    runs = [Seen(f"r-{n}", 1, outcome=records.Outcome("failed", 1, room.clock.now())) for n in range(20)]
    assert not any(teller.tell(each) for each in runs)
    assert 1 == len(there.paths)
    room.clock.advance(telling.SILENT_S)
    assert not teller.tell(runs[1])

    assert 2 == len(there.paths)


def test_it_is_given_up_after_a_day(room: Room, there: Hook) -> None:
    """Begun or not. Otherwise each run that ended meanwhile is looked at for ever."""
    there.always = 503
    begun, other = (Seen(run, 1, outcome=records.Outcome("failed", 1, room.clock.now())) for run in ("begun", "other"))
    teller = room.teller()
    assert not teller.tell(begun)
    assert not teller.tell(other)
    room.clock.advance(GIVEN_UP_S)
    asked = len(there.paths)

    assert teller.tell(begun)
    assert teller.tell(other)
    assert asked == len(there.paths)
    assert ["runs/begun/", "runs/other/"] == [each["told"][:11] for each in room.logged("notification.given_up")]


def test_it_costs_nothing_when_there_is_nothing_new(room: Room) -> None:
    """A run at work costs no request, however many attempts it has had; one that waits a single read. Otherwise being
    told costs more than the sweep."""
    for attempt in range(1, 6):
        room.claim(attempt)
        if attempt < 5:
            room.hand_over(attempt)
    warm, claim = room.teller(), room.claim(5)
    warm.tell(Seen(RUN, 5, claim)), warm.tell(Seen(RUN, 5, claim, waits=True))
    room.fuse.calls.clear()
    warm.tell(Seen(RUN, 5, claim))
    assert [] == room.fuse.calls
    warm.tell(Seen(RUN, 5, claim, waits=True))
    assert ["get"] == room.fuse.calls
    room.fuse.calls.clear()
    room.teller().tell(Seen(RUN, 5, claim))

    assert ["get"] == room.fuse.calls, "cold"


def test_old_attempts_are_no_news(room: Room, there: Hook) -> None:
    """Who wants to be told as of today does not hear of last week."""
    for attempt in (1, 2, 3):
        claim = room.claim(attempt)
        room.clock.advance(GIVEN_UP_S / 2)
    room.teller().tell(Seen(RUN, 3, claim))

    assert [("resumed", 3)] == there.events


def test_another_run_of_the_same_name(room: Room, there: Hook) -> None:
    """Somebody removed the first. What a warm environment remembers is not of this one."""
    warm = room.teller()
    for _ in range(2):
        room.claim(1)
        claim = room.claim(2)
        warm.tell(Seen(RUN, 2, claim))
        for key in room.objects.list(keys.run(RUN)):
            room.objects.delete(key)
        room.clock.advance(60)

    assert [("resumed", 2)] * 2 == there.events


def test_a_run_ends_twice(room: Room, there: Hook) -> None:
    """A person resumed it, and it got nowhere: of the same attempt, another end."""
    for _ in range(2):
        room.teller().tell(Seen(RUN, 1, outcome=records.Outcome("stopped", 1, room.clock.now())))
        room.clock.advance(60)

    assert [("finished", 1)] * 2 == there.events


def test_waiting_for_an_hour_is_told(room: Room, there: Hook) -> None:
    """A hunt of minutes is everyday; after an hour a person may want other types."""
    room.hunt(1, ago=news.WAITED_S - 1)
    room.teller().tell(Seen(RUN, 0, waits=True))
    assert [] == there.events
    room.clock.advance(1)
    room.teller().tell(Seen(RUN, 0, waits=True))
    room.hunt(2, person=True)  # of an attempt that is not the one that is wanted
    room.teller().tell(Seen(RUN, 0, waits=True))

    assert [("stuck", 1)] == there.events
    assert "has waited for a machine for 1.0 h: no capacity; m5.large: none" in there.bodies[0]["text"]


def test_words(room: Room) -> None:
    """Which run, what happened, why, what to do, and what to type: one message, read on a telephone."""
    at = 1_900_000_000.0
    claim = records.Claim("i-1", "t", at, "g5.xlarge", "us-east-1b", "spot")
    told = records.Handover(
        "i-1", "interrupted", at, "exit code 0", 0, True, 0, None, notice="spot: terminate", worked_s=70.4, kept_s=58.0
    )
    failed = records.Handover("i-1", "error", at, "exit code 3", 3, False, 1, None)
    going = records.Status("i-1", "draining", at, gone_at=at)
    over = records.Outcome("limit", 4, at, message="limits.dollars = 1 is reached")

    assert [
        "r: it goes on: attempt 2 began at 2030-03-17 17:46 UTC on spot g5.xlarge in us-east-1b. Before, attempt 1 was "
        "interrupted (spot: terminate), 12 s of its work are lost. Nothing to do.\nspotrelay status r",
        "attempt 1 was interrupted (spot: terminate), before its command had started",
        "attempt 1 failed: exit code 3",
        "attempt 1 was told that its machine goes",
        "attempt 1 broke off without a word",
        "attempt 1 had ended, and somebody had the run go on",
        "r: it has reached a limit at 2030-03-17 17:46 UTC, after 4 attempts: limits.dollars = 1 is reached. It goes "
        "on with a higher limit: spotrelay resume r\nspotrelay status r",
        "r: it succeeded at 2030-03-17 17:46 UTC, after 1 attempt, exit code 0. What it made: spotrelay pull r\n"
        "spotrelay status r",
    ] == [
        news.resumed("r", 2, claim, End(1, told)).text,
        str(End(1, replace(told, worked_s=0.0, kept_s=0.0))),
        str(End(1, failed)),
        str(End(1, None, going)),
        str(End(1)),
        str(End(1, concluded=True)),
        news.finished("r", over).text,
        news.finished("r", records.Outcome("succeeded", 1, at, 0)).text,
    ]


def test_a_person_had_it_go_on(room: Room, there: Hook) -> None:
    """Its last attempt was not interrupted: it had ended. And the stack is named where it is not the usual one."""
    room.claim(1), room.claim(2)
    room.objects.put(keys.past_outcome(RUN, 1, room.clock.now()), b"{}")
    room.teller(stack="other").tell(Seen(RUN, 2))

    assert "attempt 1 had ended, and somebody had the run go on" in there.bodies[0]["text"]
    assert there.bodies[0]["text"].endswith("\nspotrelay status r --stack-name other")


# ------------------------------------------------------------------------------------------------------- by the sweep


class Swept:
    """A site whose sweep tells."""

    def __init__(self, site: Site, there: Hook) -> None:
        self.site, self.said = site, list[str]()
        log = lambda event, **_: self.said.append(event)  # noqa: E731
        self.make = lambda: Sweep(
            site.objects,
            site.inventory,
            site.ec2,
            lambda requests: site.succession().ensure(requests),
            stack=STACK,
            crew=Alone(),
            log=log,
            now=site.clock.now,
            teller=Teller(site.objects, Webhook(there.url), stack=STACK, log=log, now=site.clock.now),
        )

    def sweep(self, times: int = 3) -> None:
        """By warm and cold environments, 5 minutes apart."""
        warm = self.make()
        for each in (warm, *(self.make() for _ in range(times - 2)), warm):
            each.once(self.site.clock.now() + 50)
            self.site.advance(300)

    def begin(self) -> str:
        run = "job"
        self.site.objects.put(keys.open_run(run), b"")
        self.site.objects.create(keys.spec(run), Spec(Run(run, ("true",), "/job"), instance=On()).encode())
        return run

    def beat(self, run: str, attempt: int, instance: str) -> None:
        status = records.Status(instance, "running", self.site.clock.now() + 3600)
        self.site.objects.put(keys.status(run, attempt), records.encode(status))


def test_a_run_from_its_beginning_to_its_end(site: Site, there: Hook) -> None:
    """What sweeps see of real machines that come and go is told as it is; a run that is over is looked at no more."""
    swept = Swept(site, there)
    run = swept.begin()
    first = site.owned(run, 1)
    swept.beat(run, 1, first)
    swept.sweep()
    assert [] == there.events

    site.hand_over(run, 1, first)
    site.kill(first)
    swept.sweep()
    assert [("interrupted", 1)] == there.events
    [second] = site.live(run, 2)
    assert site.boot(second)
    swept.beat(run, 2, second)
    swept.sweep()
    assert [("interrupted", 1), ("resumed", 2)] == there.events

    site.finish(run, 2)
    swept.sweep()
    assert [("interrupted", 1), ("resumed", 2), ("finished", 2)] == there.events
    assert site.objects.get(keys.open_run(run)) is None


def test_notice_is_told_while_the_machine_still_works(site: Site, there: Hook) -> None:
    """A person may want to look at it in its two minutes."""
    swept = Swept(site, there)
    run = swept.begin()
    instance = site.owned(run, 1)
    site.notice(run, 1, instance)
    swept.make().once(site.clock.now() + 50)

    assert [("interrupted", 1)] == there.events
    assert "attempt 1 was told that its machine goes" in there.bodies[0]["text"]


def test_a_dead_webhook_harms_no_run(site: Site, there: Hook) -> None:
    """Runs are asked for as ever, and the end of one stays to be told: its mark goes once it was."""
    there.always = 500
    swept = Swept(site, there)
    run = swept.begin()
    first = site.owned(run, 1)
    site.hand_over(run, 1, first)
    site.kill(first)
    swept.make().once(site.clock.now() + 50)
    assert 1 == len(site.live(run, 2))
    site.finish(run, 2)
    swept.sweep()
    assert site.objects.get(keys.open_run(run)) is not None
    assert "sweep.done" in swept.said
    there.always = 200
    site.advance(AGAIN_S)
    swept.sweep()

    assert [("finished", 2)] == there.events
    assert site.objects.get(keys.open_run(run)) is None
