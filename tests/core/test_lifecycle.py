"""The table, driven by any order of events, and the promises that hold over what comes out of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotrelay.core import events as ev
from spotrelay.core.events import Action, Event, Notice, Source
from spotrelay.core.keys import SnapshotId
from spotrelay.core.lifecycle import (
    DEFERRED,
    IGNORED,
    TABLE,
    Effect,
    IllegalTransition,
    Phase,
    Result,
    State,
    step,
)

NOTICE = Notice(Source.SPOT, Action.TERMINATE, 120.0)
ONE_OF_EACH: list[Event] = [
    NOTICE,
    ev.Withdrawn(Source.SPOT),
    ev.Saved(SnapshotId(1, 0)),
    *(kind() for kind in ev.KINDS if kind not in (Notice, ev.Withdrawn, ev.Saved)),
]
# What an effect, once begun, may report. Everything else comes from outside, whenever it likes.
REPORTS: dict[Effect, list[Event]] = {
    Effect.FIND_RUN: [ev.Assigned(), ev.TurnedAway()],
    Effect.CLAIM: [ev.Claimed(), ev.TurnedAway()],
    Effect.AWAIT_PREDECESSOR: [ev.PredecessorGone()],
    Effect.RESTORE: [ev.Restored(), ev.Failed(), ev.GaveUp()],
    Effect.SPAWN: [ev.Spawned(), ev.Failed(), ev.GaveUp()],
    Effect.BEGIN_SAVING: [ev.Succeeded(), ev.Failed(), ev.GaveUp()],
    Effect.DRAIN: [ev.Drained(), ev.GraceOver(), ev.Succeeded(), ev.Failed()],
    Effect.SAVE: [ev.Saved(SnapshotId(1, 0)), ev.SaveMissed()],
    Effect.HAND_OVER: [ev.HandedOver()],
    Effect.RECORD: [ev.Recorded(), ev.RecordMissed()],
    Effect.PUBLISH: [ev.Published()],
    Effect.STAY: [ev.NobodyCame()],
}
OUTSIDE: list[Event] = [NOTICE, ev.Rebalance(), ev.Withdrawn(Source.SPOT), ev.Fenced(), ev.Stopped(), ev.Halted()]


def run(events: list[Event]) -> tuple[State, list[Effect]]:
    state, done = State(), list[Effect]()
    for event in events:
        state, effects = step(state, event)
        done.extend(effects)
    return state, done


@pytest.mark.parametrize(
    ("told", "effects"),
    [
        ([ev.Stopped()], [Effect.DRAIN]),
        ([ev.Halted()], [Effect.KILL]),
        ([ev.Stopped(), ev.Halted()], [Effect.DRAIN, Effect.KILL]),
    ],
)
def test_a_stop_that_must_be_at_once_does_not_wait(told: list[Event], effects: list[Effect]) -> None:
    """The command is killed, not asked; what it had written is saved all the same, and the run has been stopped."""
    before, _ = run(WAY_IN)
    state, done = before, list[Effect]()
    for event in (*told, ev.GaveUp(), ev.Saved(SnapshotId(1, 0)), ev.Recorded()):
        state, more = step(state, event)
        done.extend(more)

    assert (Phase.PUBLISHING, Result.STOPPED) == (state.phase, state.result)
    assert [*effects, Effect.SAVE, Effect.RECORD, Effect.PUBLISH] == done


# A walk to a hand-over is a dozen steps, each with several ways to go.
THOROUGH = settings(max_examples=500)

WAY_IN: list[Event] = [
    ev.Booted(),
    ev.Assigned(),
    ev.Claimed(),
    ev.PredecessorGone(),
    ev.Restored(),
    ev.Spawned(),
]
WAY_IN_EFFECTS = [
    Effect.FIND_RUN,
    Effect.CLAIM,
    Effect.AWAIT_PREDECESSOR,
    Effect.RESTORE,
    Effect.SPAWN,
    Effect.BEGIN_SAVING,
]


def test_an_interruption_is_post_drain_save_hand_over_stay_leave() -> None:
    """The story, as a list. Any other order loses work or loses the successor."""
    events = [*WAY_IN, NOTICE, ev.Drained(), ev.Saved(SnapshotId(1, 0)), ev.HandedOver(), ev.NobodyCame()]

    state, done = run(events)

    expected = [
        *WAY_IN_EFFECTS,
        Effect.POST_RESUME,
        Effect.DRAIN,
        Effect.SAVE,
        Effect.HAND_OVER,
        Effect.STAY,
        Effect.LEAVE,
    ]
    assert expected == done
    assert Phase.LEAVING == state.phase


def test_success_is_saved_recorded_and_published_and_nobody_comes_after() -> None:
    """A run that ended well must not be started again."""
    events = [*WAY_IN, ev.Succeeded(), ev.Saved(SnapshotId(1, 0)), ev.Recorded(), ev.Published(), ev.NobodyCame()]

    state, done = run(events)

    assert [*WAY_IN_EFFECTS, Effect.SAVE, Effect.RECORD, Effect.PUBLISH, Effect.STAY, Effect.LEAVE] == done
    assert Result.SUCCEEDED == state.result


def test_a_notice_between_spawn_and_its_report_is_kept() -> None:
    """Lost, it would never come again: each notice is told once."""
    state, done = run([*WAY_IN[:-1], NOTICE, ev.Spawned()])

    assert Phase.DRAINING == state.phase
    assert [*WAY_IN_EFFECTS, Effect.POST_RESUME, Effect.DRAIN] == done


def test_a_notice_while_restoring_passes_the_run_on() -> None:
    """An interruption on the way in is an interruption, not an error."""
    state, done = run([*WAY_IN[:4], NOTICE])

    assert [Effect.POST_RESUME, Effect.ABANDON, Effect.HAND_OVER] == done[4:]
    assert not state.errored


def test_a_last_save_that_fails_after_success_is_no_success() -> None:
    """An outcome without its data would be a lie that nobody can repair."""
    _, done = run([*WAY_IN, ev.Succeeded(), ev.SaveMissed()])

    assert Effect.RECORD not in done
    assert [Effect.SAVE, Effect.POST_RESUME, Effect.HAND_OVER] == done[-3:]


def test_an_error_with_tries_left_is_saved_asked_for_and_handed_over() -> None:
    """The request comes after the save: nothing presses, and a successor that is early would only wait and cost."""
    state, done = run([*WAY_IN, ev.Failed(), ev.Saved(SnapshotId(1, 0)), ev.HandedOver(), ev.NobodyCame()])

    expected = [Effect.SAVE, Effect.POST_RESUME, Effect.HAND_OVER, Effect.STAY, Effect.LEAVE]
    assert expected == done[len(WAY_IN_EFFECTS) :]
    assert state.errored


@pytest.mark.parametrize("on_the_way", [[], [ev.Saved(SnapshotId(1, 0))]])
def test_a_notice_before_the_outcome_is_written_asks_for_a_successor(on_the_way: list[Event]) -> None:
    """An outcome, once written, makes the request void. Without one the work is done, and nobody would ever say so."""
    _, done = run([*WAY_IN, ev.Succeeded(), *on_the_way, NOTICE])

    assert [Effect.POST_RESUME, Effect.REPLAN] == done[-2:]


@pytest.mark.parametrize("phase", Phase)
def test_every_pair_is_a_row_or_names_itself(phase: Phase) -> None:
    """A pair that is in two places means two things; one that is in none is a bug that must say its name."""
    for event in ONE_OF_EACH:
        kind = type(event)
        places = [
            kind in TABLE[phase],
            kind in DEFERRED.get(phase, ()),
            kind in IGNORED[phase] and kind not in TABLE[phase],
        ]
        assert sum(places) <= 1 or phase is Phase.LEAVING
        if not any(places):
            state = State(phase=phase)
            with pytest.raises(IllegalTransition, match=f"{kind.__name__} while {phase.name}"):
                step(state, event)


class Driver:
    """Walks the table as the world might: outside events at any time, reports of what was begun, late and twice."""

    def __init__(self) -> None:
        self.state, self.done = State(), list[Effect]()
        self.begun: list[Effect] = []
        self.noticed = False

    def choose(self, data: st.DataObject) -> Event:
        """Mostly what was begun last reports, so that walks get far; else anything from outside, or late."""
        latest = next((REPORTS[effect] for effect in reversed(self.begun) if effect in REPORTS), [])
        late = [report for effect in self.begun for report in REPORTS.get(effect, [])]
        clock: list[Event] = [ev.DeadlinePassed()] if self.noticed else []
        pools = [latest, latest, latest, OUTSIDE + clock, late]
        return data.draw(st.sampled_from(data.draw(st.sampled_from([pool for pool in pools if pool]))))

    def take(self, event: Event) -> None:
        self.noticed = self.noticed or isinstance(event, Notice)
        try:
            self.state, effects = step(self.state, event)
        except IllegalTransition:
            return  # names itself and changes nothing: the driver, unlike the relay, also lies
        self.done.extend(effects)
        self.begun.extend(effects)


def anyhow(data: st.DataObject, steps: int = 40) -> tuple[Driver, list[tuple[Event, list[Effect]]]]:
    driver, trace = Driver(), list[tuple[Event, list[Effect]]]()
    driver.take(ev.Booted())
    for _ in range(steps):
        if driver.state.phase is Phase.LEAVING:
            break
        event = driver.choose(data)
        before = len(driver.done)
        driver.take(event)
        trace.append((event, driver.done[before:]))
    return driver, trace


@THOROUGH
@given(st.data())
def test_p1_nothing_is_spawned_without_a_claim_and_a_verified_restore(data: st.DataObject) -> None:
    driver, trace = anyhow(data)

    seen = [type(event) for event, _ in trace]
    for index, (_, effects) in enumerate(trace):
        if Effect.SPAWN in effects:
            assert ev.Claimed in seen[: index + 1]
            assert ev.Restored in seen[: index + 1]
    assert driver.done.count(Effect.SPAWN) <= 1


@THOROUGH
@given(st.data())
def test_p3_at_most_one_request_and_none_is_missing_at_a_hand_over(data: st.DataObject) -> None:
    driver, _ = anyhow(data)

    assert driver.done.count(Effect.POST_RESUME) <= 1
    if Effect.HAND_OVER in driver.done:
        assert driver.done.index(Effect.POST_RESUME) < driver.done.index(Effect.HAND_OVER)


@THOROUGH
@given(st.data())
def test_p3_a_noticed_owner_asks_for_a_successor_at_once(data: st.DataObject) -> None:
    """Unless the run is over, or somebody said stop: then nobody shall come."""
    _, trace = anyhow(data)

    posted = False
    state = State()
    for event, effects in [(ev.Booted(), []), *trace]:
        before = state
        try:
            state, _ = step(state, event)
        except IllegalTransition:
            continue
        owner = before.phase in (Phase.WAITING, Phase.RESTORING, Phase.RUNNING, Phase.SAVING, Phase.CONCLUDING)
        posted = posted or Effect.POST_RESUME in effects
        if owner and isinstance(event, Notice):
            assert posted


@THOROUGH
@given(st.data())
def test_p4_nothing_but_waiting_and_leaving_after_the_deadline(data: st.DataObject) -> None:
    _, trace = anyhow(data)

    kinds = [type(event) for event, _ in trace]
    if ev.DeadlinePassed in kinds:
        after = trace[kinds.index(ev.DeadlinePassed) :]
        asked = {effect for _, effects in after for effect in effects}
        late_start = {Effect.AWAIT_PREDECESSOR} if ev.Claimed in kinds[kinds.index(ev.DeadlinePassed) :] else set()
        assert asked <= {Effect.KILL, Effect.ABANDON, Effect.STAY, Effect.REPLAN, Effect.LEAVE} | late_start


@THOROUGH
@given(st.data())
def test_p5_left_to_itself_every_path_ends_the_instance(data: st.DataObject) -> None:
    """From wherever the world has driven it, once what is begun reports, the last effect is LEAVE."""
    driver, _ = anyhow(data, steps=data.draw(st.integers(0, 25)))

    for _ in range(40):
        if driver.state.phase is Phase.LEAVING:
            break
        for effect in reversed(driver.begun):
            reports = REPORTS.get(effect, [])
            accepted = [r for r in reports if type(r) in TABLE[driver.state.phase]]
            if accepted:
                driver.take(data.draw(st.sampled_from(accepted)))
                break

    assert Phase.LEAVING == driver.state.phase
    assert Effect.LEAVE == driver.done[-1]
    assert 1 == driver.done.count(Effect.LEAVE)


@THOROUGH
@given(st.data())
def test_doubled_events_change_nothing_more(data: st.DataObject) -> None:
    """SQS, EC2 and our own tasks say things twice. What was begun for it once is not begun again."""
    _, trace = anyhow(data)

    state = State()
    for event in [ev.Booted(), *(event for event, _ in trace)]:
        try:
            state, effects = step(state, event)
        except IllegalTransition:
            continue
        if state.phase in (Phase.LEAVING, Phase.ARRIVING):
            continue
        try:
            _, again = step(state, event)
        except IllegalTransition:
            continue
        once_only = set(effects) & set(again)
        assert once_only <= {Effect.REPLAN, Effect.SAVE_EARLY, Effect.KILL}
