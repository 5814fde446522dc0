"""Which runs the sweep asks a machine for, and which it stops, when every word about them was lost."""

from __future__ import annotations

from spotrelay.core import keys, records
from support.estate import HOUR, MINUTE, Estate


def test_request_that_was_lost(estate: Estate) -> None:
    """The laptop wrote the run and died before it asked for the first attempt."""
    run = estate.open()
    estate.sweep()

    assert 1 == len(estate.live(run, 1))


def test_death_without_a_word(estate: Estate) -> None:
    """EC2's event never came. (P3)"""
    run = estate.open()
    estate.die(estate.owner(run, silent=HOUR))
    estate.sweep()

    assert 1 == len(estate.live(run, 2))


def test_death_of_an_instance_that_ec2_has_forgotten(estate: Estate) -> None:
    """The launcher was away for a day."""
    run = estate.open()
    estate.die(estate.owner(run))
    estate.advance(24 * HOUR)
    estate.sweep()

    assert 1 == len(estate.live(run, 2))


def test_notice_whose_request_was_lost(estate: Estate) -> None:
    """The owner was told to go and said so in its heartbeat: its successor boots while it saves."""
    run = estate.open()
    owner = estate.owner(run)
    estate.heard(owner, run, gone_in=100)
    estate.sweep()

    assert (True, 1) == (estate.lives(owner), len(estate.live(run, 2)))


def test_spot_request_that_is_marked(estate: Estate) -> None:
    """EC2 says it there too, when notice and event are both lost."""
    run = estate.open()
    owner = estate.owner(run, spot=True)
    estate.do(lambda: estate.plane.ec2.interrupt_warning(owner, at=estate.clock.now() + 120))
    estate.do(estate.queue.messages.clear)
    estate.sweep()

    assert (True, 1) == (estate.lives(owner), len(estate.live(run, 2)))


def test_hand_over_whose_request_was_lost(estate: Estate) -> None:
    """Of a kept instance: it stays, and its run goes on elsewhere."""
    run = estate.open(keep_alive=True)
    kept = estate.owner(run, silent=HOUR)
    estate.hand_over(run, 1, kept)
    estate.sweep()

    assert (True, 1) == (estate.lives(kept), len(estate.live(run, 2)))


def test_run_without_a_mark_whose_owner_goes(estate: Estate) -> None:
    """Nothing but its instance tells of it."""
    run = estate.unmarked()
    estate.owner(estate.open())
    estate.owner(run, silent=HOUR)
    estate.sweep()

    assert 1 == len(estate.live(run, 2))


def test_run_that_waits_for_capacity_is_left_to_its_bell(estate: Estate) -> None:
    """Each sweep would otherwise begin one hunt more for every run that waits. (In its fast first minute one may
    begin; the bells of both come to be one.)"""
    run, began = estate.open(), estate.clock.now()
    estate.do(estate.plane.ec2.pools.drain)
    estate.post(run, 1)
    for minute in range(20):
        while estate.clock.now() < began + minute * MINUTE:
            assert estate.sleep()
            estate.deliver()
        if minute < 5:
            estate.sweep()
    bells = estate.bodies()
    estate.sweep()

    assert 1 == len(bells)
    assert bells == estate.bodies()


def test_limit_of_a_run_at_work_cancels_it(estate: Estate) -> None:
    """Its agent sees the cancel object, saves, and records why. Of a run without such a limit nobody asks: that
    would cost ten times as much as the rest of the sweep."""
    dear, cheap, waiting, free = (estate.open(dollars=dollars) for dollars in (1, 1, 1, 0))
    for run in (dear, cheap, free):
        estate.owner(run)
    asked = []

    class Dollars:
        def over(self, run: str) -> records.Cancel | None:
            asked.append(run)
            return records.Cancel("limit", "limits.dollars = 1 is reached", 1.0) if run == dear else None

    estate.sweep(limits=Dollars())
    estate.sweep(limits=Dollars())

    assert records.Cancel("limit", "limits.dollars = 1 is reached", 1.0) == estate.read(
        records.Cancel, keys.cancel(dear)
    )
    assert (None, None) == tuple(estate.objects.get(keys.cancel(run)) for run in (cheap, waiting))
    assert {dear, cheap} == set(asked)
    assert 1 == len(estate.heard_of("run.cancelled"))


def test_limit_that_cannot_be_known_stops_nothing_else(estate: Estate) -> None:
    class Broken:
        def over(self, run: str) -> records.Cancel | None:
            raise ZeroDivisionError(run)

    estate.owner(estate.open(dollars=1))
    run = estate.open()
    estate.sweep(limits=Broken())

    assert 1 == len(estate.live(run, 1))
    assert ["limits"] == [each["what"] for each in estate.heard_of("needs.person")]
