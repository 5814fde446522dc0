"""A fact that several checks stand on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from spotrelay.doctor.known import Known, Missing


def test_it_is_asked_for_once() -> None:
    """However many want it at the same moment. Otherwise twenty checks ask twenty times who we are."""
    asked: list[int] = []
    fact, together = Known("it", lambda: asked.append(1) or "there"), Barrier(8)

    def want(_: int) -> str:
        together.wait()
        return fact.get()

    with ThreadPoolExecutor(8) as threads:
        assert {"there"} == set(threads.map(want, range(8)))
    assert [1] == asked


def broken() -> str:
    raise OSError("the reason")


def test_the_reason_is_one_checks_and_the_name_the_others() -> None:
    """Whose subject it is meets the reason, each time; all others learn what is missing."""
    fact = Known("the stack", broken)

    for _ in range(2):
        with pytest.raises(OSError, match="the reason"):
            fact.first_hand()
        with pytest.raises(Missing, match=r"^the stack$"):
            fact.get()


def test_what_is_missing_is_the_thing_at_the_bottom() -> None:
    """The image stands on the stack, the stack on credentials: those are missing, not the image."""
    stack = Known("the stack", Known("credentials", broken).get)
    image = Known("the image", stack.get)

    with pytest.raises(Missing, match=r"^credentials$"):
        image.get()
