"""What an announcement means, in plain numbers: `now` is monotonic, `EC2` the unix time at now = 0."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core.announcements import (
    Announcement,
    Docket,
    Garbled,
    iso_time,
    rebalance,
    rfc_time,
    scheduled,
    spot_action,
)
from spotrelay.core.events import Action, Notice, Source, Withdrawn

EC2 = 1_700_000_000.0
WITHDRAWN = Withdrawn(Source.SPOT)


def terminate(at: float | None) -> list[Announcement]:
    return [Announcement(Action.TERMINATE, at)]


def notice(deadline: float, action: Action = Action.TERMINATE, source: Source = Source.SPOT) -> Notice:
    return Notice(source, action, deadline)


def after_peace(at: float = 0.0, source: Source = Source.SPOT) -> Docket:
    """A docket that saw nothing when it looked at `at`."""
    docket = Docket(source)
    assert docket.update([], at, EC2 + at) == []
    return docket


@pytest.mark.parametrize(
    ("what", "left", "expected"),
    [
        ("two minutes ahead, less the second that Date hides", 120.0, 119.0),
        ("seen late", 60.0, 59.0),
        ("the last second", 0.5, 0.0),
        ("clock skew: five minutes more", 420.0, 120.0),
        ("clock skew: five minutes less", -180.0, 119.0),
        ("clock skew: five minutes less, and seen late", -240.0, 119.0),
    ],
)
def test_deadline_is_ec2_s_within_what_aws_promises(what: str, left: float, expected: float) -> None:
    """The deadline follows EC2's time, and its promise where that cannot be. Otherwise a clock that is wrong ends the
    command at once, or lets it run until the machine is gone."""
    docket = after_peace()

    assert [notice(1.0 + expected)] == docket.update(terminate(EC2 + left), 1.0, EC2), what


@pytest.mark.parametrize(("at", "server_now"), [(None, EC2), (EC2 + 60, None), (None, None)])
def test_without_time_or_date_the_promise_is_the_deadline(at: float | None, server_now: float | None) -> None:
    """A notice whose time or whose Date cannot be read is a notice all the same: two minutes from when it is seen."""
    assert [notice(130.0)] == Docket(Source.SPOT).update(terminate(at), 10.0, server_now)


def test_time_in_the_past_after_an_outage_counts_from_the_last_look() -> None:
    """Two minutes without an answer, then a notice that is over by a second: the machine goes now, not in 120 s."""
    docket = after_peace(at=0.0)

    assert [notice(125.0)] == docket.update(terminate(EC2 + 124.0), 125.0, EC2 + 125.0)


def test_hibernation_has_begun() -> None:
    """`hibernate` gives no two minutes, whatever its time says, and its time may lie behind us at the first look."""
    hibernate = [Announcement(Action.HIBERNATE, EC2 - 5)]

    assert [notice(7.0, Action.HIBERNATE)] == Docket(Source.SPOT).update(hibernate, 7.0, EC2)


def test_notice_is_told_once() -> None:
    """What is shown at every look is told at the first. Otherwise the attempt drains again and again."""
    docket = after_peace()
    told = [docket.update(terminate(EC2 + 120), float(now), EC2 + now) for now in range(1, 60)]

    assert [[notice(120 - 1.0)]] + [[]] * 58 == told


def test_other_time_or_action_is_another_notice() -> None:
    """EC2 changed its mind: the new deadline is told, and nothing is withdrawn in between."""
    docket = after_peace()
    docket.update(terminate(EC2 + 120), 1.0, EC2 + 1)

    assert [notice(29.0)] == docket.update(terminate(EC2 + 30), 2.0, EC2 + 2)
    assert [notice(29.0, Action.STOP)] == docket.update([Announcement(Action.STOP, EC2 + 30)], 3.0, EC2 + 3)


def test_withdrawn_once_and_armed_again() -> None:
    """A notice that is gone is withdrawn once; the next one, and the same one shown again, is a notice. Otherwise the
    second interruption of an instance's life comes without warning."""
    docket = after_peace()
    docket.update(terminate(EC2 + 120), 1.0, EC2 + 1)

    assert [WITHDRAWN] == docket.update([], 2.0, EC2 + 2)
    assert [] == docket.update([], 3.0, EC2 + 3)
    assert [notice(119.0)] == docket.update(terminate(EC2 + 120), 4.0, EC2 + 4)
    assert [WITHDRAWN] == docket.update([], 5.0, EC2 + 5)
    assert [notice(519.0)] == docket.update(terminate(EC2 + 520), 400.0, EC2 + 400)


def test_notice_whose_time_passed_is_withdrawn_once_and_never_again_a_notice() -> None:
    """EC2 leaves the document there when it does not take the machine. Once the margin is over we live on: withdrawn,
    and the old document is dead, even after it was away. A new one is a notice."""
    docket = after_peace()
    docket.update(terminate(EC2 + 100), 1.0, EC2 + 1)

    assert [] == docket.update(terminate(EC2 + 100), 219.0, EC2 + 219)
    assert [WITHDRAWN] == docket.update(terminate(EC2 + 100), 219.1, EC2 + 219.1)
    assert [] == docket.update(terminate(EC2 + 100), 300.0, EC2 + 300)
    assert [] == docket.update([], 301.0, EC2 + 301)
    assert [] == docket.update(terminate(EC2 + 100), 302.0, EC2 + 302)
    assert [notice(419.0)] == docket.update(terminate(EC2 + 420), 303.0, EC2 + 303)


@pytest.mark.parametrize("age", [0.1, 10.0, 86400.0])
def test_left_over_at_the_first_look_is_no_notice(age: float) -> None:
    """An agent that starts finds the document of an interruption that never came: nothing. Otherwise it gives every
    run away as soon as it has it."""
    docket = Docket(Source.SPOT)

    assert [] == docket.update(terminate(EC2 - age), 0.0, EC2)
    assert [] == docket.update(terminate(EC2 - age), 1.0, EC2 + 1)
    assert [] == docket.update([], 2.0, EC2 + 2)


def test_hibernation_of_long_ago_is_left_over_too() -> None:
    """What an instance shows after it was woken up is no new hibernation."""
    assert [] == Docket(Source.SPOT).update([Announcement(Action.HIBERNATE, EC2 - 3600)], 0.0, EC2)


def test_maintenance_is_a_notice_when_it_is_near() -> None:
    """Days ahead it is silent, five minutes ahead it is told, once. Otherwise paid hours are thrown away, or the
    reboot comes as a surprise."""
    docket = Docket(Source.SCHEDULED)
    reboot = [Announcement(Action.REBOOT, EC2 + 86400)]
    told = [docket.update(reboot, now, EC2 + now) for now in (0.0, 86099.0, 86101.0, 86150.0)]

    assert [[], [], [notice(86399.0, Action.REBOOT, Source.SCHEDULED)], []] == told


def test_maintenance_without_a_date_waits() -> None:
    """Without EC2's time nobody knows whether it is near: no notice, until there is one."""
    docket = Docket(Source.SCHEDULED)
    stop = [Announcement(Action.STOP, EC2 + 200)]

    assert [] == docket.update(stop, 0.0, None)
    assert [notice(209.0, Action.STOP, Source.SCHEDULED)] == docket.update(stop, 10.0, EC2)


def test_maintenance_may_come_until_the_end_of_its_window() -> None:
    """An event can strike until NotAfter: only then, and the margin later, it is withdrawn."""
    docket = after_peace(source=Source.SCHEDULED)
    event = [Announcement(Action.REBOOT, EC2 + 100, until=EC2 + 1100)]
    assert [notice(99.0, Action.REBOOT, Source.SCHEDULED)] == docket.update(event, 1.0, EC2 + 1)

    assert [] == docket.update(event, 1218.0, EC2 + 1218)
    assert [Withdrawn(Source.SCHEDULED)] == docket.update(event, 1220.0, EC2 + 1220)


def test_one_of_two_events_canceled_withdraws_nothing() -> None:
    """While another event stands, the machine still goes."""
    docket = after_peace(source=Source.SCHEDULED)
    first, second = Announcement(Action.REBOOT, EC2 + 100), Announcement(Action.STOP, EC2 + 200)
    docket.update([first, second], 1.0, EC2 + 1)

    assert [] == docket.update([second], 2.0, EC2 + 2)
    assert [Withdrawn(Source.SCHEDULED)] == docket.update([], 3.0, EC2 + 3)


# --- documents


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, []),
        ('{"action": "stop", "time": "2023-11-14T22:13:20Z"}', [Announcement(Action.STOP, EC2)]),
        ('{"time":"2023-11-14T22:13:20Z","action":"hibernate","more":[]}', [Announcement(Action.HIBERNATE, EC2)]),
        ('{"action": "terminate", "time": "soon"}', terminate(None)),
        ('{"action": "terminate"}', terminate(None)),
        ('{"action": "terminate", "time": 7}', terminate(None)),
        ('{"action": "evaporate", "time": "2023-11-14T22:13:20Z"}', terminate(EC2)),
    ],
)
def test_spot_document_is_believed_when_half_of_it_can_be_read(text: str, expected: list[Announcement]) -> None:
    """A known action without a time, or a time with a new word, still says that the machine goes."""
    assert expected == spot_action(text)


EVENT = {"NotBefore": "14 Nov 2023 22:13:20 GMT", "Code": "instance-stop", "EventId": "e", "State": "active"}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([EVENT], [Announcement(Action.STOP, EC2)]),
        ([EVENT | {"NotAfter": "14 Nov 2023 22:13:21 GMT"}], [Announcement(Action.STOP, EC2, EC2 + 1)]),
        ([EVENT | {"Code": "system-maintenance"}], [Announcement(Action.REBOOT, EC2)]),
        ([EVENT | {"Code": "instance-retirement"}], [Announcement(Action.RETIRE, EC2)]),
        ([EVENT | {"Code": "unheard-of"}], [Announcement(Action.RETIRE, EC2)]),
        ([EVENT | {"State": "completed"}], []),
        ([EVENT | {"State": "canceled"}], []),
        ([7, {"NotBefore": []}, EVENT], [Announcement(Action.STOP, EC2)]),
    ],
)
def test_maintenance_document(events: list[Any], expected: list[Announcement]) -> None:
    """Events to come are read, settled ones are not, and one that is garbled hides no other."""
    assert expected == scheduled(json.dumps(events))


@pytest.mark.parametrize("read", [spot_action, scheduled, rebalance])
@pytest.mark.parametrize("text", ["", "null", "7", '"terminate"', "[[]]", '{"action": "termin', "<html>", "[" * 10**5])
def test_garbled_document_is_garbled_and_not_peace(read: Any, text: str) -> None:
    """A body that cannot be read is an error of its own. Were it peace, it would withdraw a notice that stands."""
    with pytest.raises(Garbled):
        read(text)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["terminate", EVENT]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["action", "time", "noticeTime", "NotBefore", "NotAfter", "Code", "State"]) | st.text(),
            inner,
        )
    ),
)


@pytest.mark.parametrize("read", [spot_action, scheduled, rebalance])
@given(document=ANY_JSON | st.text())
def test_no_document_raises_anything_but_garbled(read: Any, document: Any) -> None:
    """Whatever the service says, the reader reads it or names it garbled (P6)."""
    for text in (json.dumps(document), str(document)):
        try:
            read(text)
        except Garbled:
            continue


@given(
    text=st.text() | st.from_regex(r"\d{1,5}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[Z+-]?(\d{2}:?\d{2})?") | st.dates().map(str)
)
def test_no_text_breaks_the_readers_of_times(text: str) -> None:
    """A time that is none is None."""
    for read in (iso_time, rfc_time):
        assert isinstance(read(text), float | None)


@given(
    st.lists(
        st.tuples(
            st.floats(0.1, 200),
            st.none() | st.integers(-10, 10).map(lambda n: EC2 + 60 * n),
            st.none() | st.just(0.0) | st.sampled_from([-300.0, 300.0]),
        ),
        max_size=40,
    )
)
def test_whatever_is_shown_the_stream_alternates_and_keeps_the_promise(
    looks: list[tuple[float, float | None, float | None]],
) -> None:
    """Over any history of documents and clocks: no deadline before now or more than two minutes after it, no
    Withdrawn without a notice that stands, none twice."""
    docket, now, standing = Docket(Source.SPOT), 0.0, False
    for pause, at, skew in looks:
        now += pause
        server_now = None if skew is None else EC2 + now + skew
        for event in docket.update([] if at is None else terminate(at), now, server_now):
            if isinstance(event, Notice):
                assert now <= event.deadline <= now + 120
                standing = True
            else:
                assert standing
                standing = False
        assert not (standing and at is None)
