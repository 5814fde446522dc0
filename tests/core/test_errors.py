"""Every error has its place in the tree, its exit code and the next step."""

from __future__ import annotations

import re

import pytest

from spotrelay.core import errors
from spotrelay.core.errors import SpecError, SpotrelayError

CLASSES = {
    value.__name__: value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, SpotrelayError)
}
# "│   ├── CommandNotExecutable  126   (…": the depth by the column, the name, and the code where it has its own.
LINE = re.compile(r"^ {4}([│├└─ ]*)(\w+) +(\d+)?", re.MULTILINE)


def drawn() -> list[tuple[int, str, str | None]]:
    """The tree in the module's header: depth, name, code."""
    header = errors.__doc__ or ""
    return [(len(stem) // 4, name, code) for stem, name, code in LINE.findall(header) if name in CLASSES]


def test_drawn_tree_is_the_true_one() -> None:
    """People read the drawing. A class that is missing there, or hangs elsewhere, makes it a lie."""
    parents: dict[int, str] = {}
    for depth, name, code in drawn():
        parents[depth] = name
        if depth:
            assert CLASSES[parents[depth - 1]] is CLASSES[name].__base__, name
        if code:
            assert int(code) == CLASSES[name].exit_code, name
    assert set(CLASSES) == {name for _, name, _ in drawn()}


def test_drawn_codes_are_unique() -> None:
    """A script that starts us tells errors apart by them."""
    codes = [code for _, _, code in drawn() if code]

    assert sorted(set(codes)) == sorted(codes)


def test_text_is_what_happened_and_what_to_do() -> None:
    assert "the disk is full — free some space" == str(SpotrelayError("the disk is full", next_step="free some space"))
    assert "the disk is full" == str(SpotrelayError("the disk is full"))


def test_spec_error_shows_every_problem_on_its_line() -> None:
    assert "one\ntwo" == str(SpecError(["one", "two"]))
    assert ("one", "two") == SpecError(["one", "two"]).problems


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_error_of_any_kind_is_caught_as_one(name: str) -> None:
    """The command line catches SpotrelayError, and shows a traceback of nothing else."""
    assert issubclass(CLASSES[name], SpotrelayError)
    assert 0 < CLASSES[name].exit_code < 128
