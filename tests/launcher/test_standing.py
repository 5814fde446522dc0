"""How a launcher finds the last step of a hunt, whatever it was told about where to look."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spotrelay.launcher.standing import last

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
