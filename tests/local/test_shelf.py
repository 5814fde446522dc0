"""The index under the Describe calls finds what a look at every row would find, whatever happened to the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from spotrelay.local.shelf import Shelf

COLOURS = ("red", "green")
# Each step adds a row, or does something to the row of this number: another colour, or away with it.
STEPS = st.lists(st.tuples(st.sampled_from(("add", *COLOURS, "remove")), st.integers(1, 12)), max_size=60)
WANTED = st.lists(
    st.tuples(st.sampled_from(("id", "colour", "tag:none")), st.sets(st.sampled_from(("1", "2", "7", *COLOURS)))),
    max_size=3,
)


@dataclass(eq=False)
class Row:
    number: int
    colour: str = "red"
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = str(self.number)


def marks(row: Row) -> Mapping[str, str]:
    return {"colour": row.colour}


def shelved(steps: list[tuple[str, int]]) -> tuple[Shelf[Row], dict[int, Row]]:
    """The shelf, and the same rows in a plain dictionary."""
    shelf, rows, count = Shelf("id", marks), {}, 0
    for what, number in steps:
        if what == "add":
            count += 1
            rows[count] = Row(count)
            shelf.add(rows[count], rows[count].id)
        elif number in rows and what == "remove":
            shelf.remove(rows[number], rows[number].id)
            del rows[number]
        elif number in rows:
            shelf.unmark(rows[number], marks(rows[number]))
            rows[number].colour = what
            shelf.mark(rows[number], marks(rows[number]))
    return shelf, rows


def matches(row: Row, wanted: list[tuple[str, set[str]]]) -> bool:
    values = {"id": row.id, "colour": row.colour, "tag:none": ""}
    return all(values[name] in each for name, each in wanted)


@given(STEPS, st.integers(0, 12), WANTED)
def test_what_matches_is_among_what_is_found(steps: list[tuple[str, int]], start: int, wanted: list):
    """In the order of launch, beyond the position, each once. Otherwise a page would skip a machine, and a clean-up
    that reads pages would leave it burning."""
    shelf, rows = shelved(steps)
    found = [row.number for row in shelf.after(start, wanted)]

    assert sorted(set(found)) == found
    assert all(number > start for number in found)
    assert [number for number, row in rows.items() if number > start and matches(row, wanted)] == [
        number for number in found if matches(rows[number], wanted)
    ]


def test_a_search_looks_at_the_fewest():
    """One colour of two, one id of all, nobody for a tag that nobody has. Otherwise ten thousand instances would be
    looked at for one."""
    shelf, _ = shelved([("add", 0)] * 6 + [("green", 2), ("green", 4)])

    def found(*wanted: tuple[str, set[str]]) -> list[int]:
        return [row.number for row in shelf.after(0, wanted)]

    assert [2, 4] == found(("colour", {"green"}))
    assert [5] == found(("colour", {"red"}), ("id", {"5"}))
    assert [] == found(("tag:run", {"digits"}))
    assert [1, 2, 3, 4, 5, 6] == found(("size", {"large"}))
