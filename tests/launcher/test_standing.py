"""Where a hunt stands: its last step, whatever was told about where to look, and the bell that it waits for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core import keys, records
from spotrelay.core.messages import ResumeRequest
from spotrelay.core.spec import Run, Spec
from spotrelay.launcher.decision import LATE_BELL_S, Lives, decide
from spotrelay.launcher.standing import Records, last
from support.memory import Memory

NUMBERS = st.integers(0, 100_000)


@given(NUMBERS, NUMBERS)
def test_last_step_is_found_from_anywhere(count: int, hint: int) -> None:
    """A step that was made and is not found would be made again, with another token: two machines for one attempt."""
    assert count - 1 == last(lambda step: step < count, hint)


@given(NUMBERS, NUMBERS)
def test_looks_are_few(count: int, hint: int) -> None:
    """Two where the hint is right, and never one for each step of a hunt of days."""
    looks = list[int]()
    last(lambda step: looks.append(step) or step < count, hint)

    assert len(looks) <= 4 + 2 * abs(count - 1 - hint).bit_length()
    assert hint != count - 1 or 2 == len(looks)


def paced(rings: int, now: float) -> str:
    """What becomes of a bell of an attempt that has no step yet, and waits for bell 3, due at 1000."""
    objects = Memory()
    objects.create(keys.spec("r"), Spec(Run("r", ("true",), "/job")).encode())
    hunt = records.Hunt(1, 0, 100.0, 500.0, "it waits for its turn", next_at=1000.0, rung=3)
    objects.put(keys.hunt("r"), records.encode(hunt))
    return decide(Records(objects).standing(ResumeRequest("r", 1, rings)), Lives({}), now).why


def test_copy_of_who_waits_for_its_turn_is_dropped() -> None:
    """The account's launches are used up, so it waits before it has made a step. In a storm that is an hour for
    thousands, and each copy that is let on keeps a chain of bells going: three times the messages and reads."""
    assert ["waiting"] * 3 == [paced(rings, now=900.0) for rings in (0, 1, 2)]


def test_bell_that_is_waited_for_is_no_copy() -> None:
    """Whatever the clocks say. Nor is one that comes when that bell must have been lost."""
    assert "first_step" == paced(3, now=900.0)
    assert "first_step" == paced(0, now=1000.0 + LATE_BELL_S)
