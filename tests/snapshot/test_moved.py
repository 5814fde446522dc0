"""What has moved between two looks, and how a manifest says so: by blocks alone, without a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from spotrelay.core import manifest
from spotrelay.core.manifest import Directory, Extent, File, Meta
from spotrelay.snapshot.index import Block, Draft, Stamp
from spotrelay.snapshot.still import NAMED, Restless, marked, moved

META, PACK = Meta(0o644, 1, 0, 0), "a" * 64


def file(path: str, state: str = "", size: int = 10) -> bytes:
    return manifest.row(File(path.encode(), META, size, (Extent(0, PACK, 0, size),), state), {PACK: 3})


def directory(path: str) -> bytes:
    return manifest.row(Directory(path.encode(), META), {})


def block(path: str, plain: bool = True, **rows: bytes) -> Block:
    draft = Draft(path, list(rows))
    for slot, row in enumerate(rows.values()):
        draft.enter(slot, row, Stamp(10, 1, 1, slot), manifest.size_of(row))
    draft.plain = plain
    return draft.close()


def test_what_is_as_it_was_has_not_moved() -> None:
    """Looked at anew or not. Otherwise no snapshot is ever of one moment."""
    here = {"": block("", d=directory("d"), f=file("f")), "d": block("d", g=file("d/g"))}
    again = {"": block("", d=directory("d"), f=file("f")), "d": here["d"]}

    assert [] == moved(here, here) == moved(here, again)


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ({"": {"f": file("f")}}, {"": {"f": file("f", size=11)}}, ["f"]),
        ({"": {"f": file("f")}}, {"": {}}, ["f"]),
        ({"": {}}, {"": {"f": file("f")}}, ["f"]),
        ({"": {"f": file("f")}}, {"": {"g": file("g"), "f": file("f")}}, ["g"]),
        (
            {"": {"d": directory("d")}, "d": {"f": file("d/f"), "g": file("d/g")}},
            {"": {}},
            ["d", "d/f", "d/g"],
        ),
        ({"": {}}, {"": {"d": directory("d")}, "d": {"f": file("d/f")}}, ["d", "d/f"]),
        ({"": {"f": file("f")}}, {"": {"f": directory("f")}, "f": {}}, ["f"]),
        (
            {"": {}},
            {"": {f"f{each}": file(f"f{each}") for each in range(30)}},
            sorted(f"f{each}" for each in range(30)),
        ),
    ],
    ids=["changed", "gone", "new", "new beside", "directory gone", "new directory", "another kind", "many"],
)
def test_what_is_not_in_both_or_not_as_it_was_has_moved(
    before: dict[str, dict[str, bytes]], after: dict[str, dict[str, bytes]], paths: list[str]
) -> None:
    """By its whole path, in order. Otherwise two halves of two checkpoints pass for one moment (P4)."""
    one, other = ({path: block(path, **rows) for path, rows in each.items()} for each in (before, after))

    assert paths == moved(one, other)


def test_the_very_same_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each look takes a million rows apart."""
    here = {"": block("", f=file("f"))}
    monkeypatch.delattr(Block, "entries")

    assert [] == moved(here, dict(here))


def test_a_file_that_could_not_be_read_as_it_was_has_moved() -> None:
    """Its row stays the same, be its block the same, too: what it says is of another moment."""
    kept = block("", plain=False, f=file("f", "kept"), g=file("g"))
    again = block("", plain=False, f=file("f", "kept"), g=file("g"))

    assert ["f"] == moved({"": kept}, {"": kept}) == moved({"": kept}, {"": again})


def test_files_that_move_are_called_so_and_nothing_else_is() -> None:
    """Each by its path, however equal the names. Otherwise the wrong file is doubted (P8)."""
    here = {
        "": block("", d=directory("d"), f=file("f"), g=file("g")),
        "d": block("d", f=file("d/f"), g=file("d/g")),
    }
    said = marked(here, ["d/g", "f", "d", "gone/h"])

    assert [directory("d"), file("f", "moving"), file("g")] == said[""].rows.splitlines(keepends=True)
    assert [file("d/f"), file("d/g", "moving")] == said["d"].rows.splitlines(keepends=True)


def test_what_is_not_marked_stays_the_very_same() -> None:
    """Otherwise each save beside a log takes a million files apart."""
    here = {"": block("", f=file("f")), "d": block("d", g=file("d/g"))}

    assert here["d"] is marked(here, ["f"])["d"]


def test_a_mark_changes_nothing_but_the_state() -> None:
    """And a state that is there stays. Otherwise sums and cuts no longer fit the rows, and the manifest is refused."""
    here = block("", d=directory("d"), f=file("f"), g=file("g", "kept"), l=b'{"kind":"symlink","path":"l"}\n')
    (said,) = marked({"": here}, ["f", "g", "l"]).values()

    assert [("d", len(directory("d")))] == list(said.cuts)
    assert (here.names, here.stamps, here.packs) == (said.names, said.stamps, said.packs)
    assert (2, 20) == (said.files, said.file_bytes)
    assert [file("f", "moving"), file("g", "kept")] == said.rows.splitlines(keepends=True)[1:3]
    assert here.rows.splitlines()[3] == said.rows.splitlines()[3]


@pytest.mark.parametrize("number", [1, NAMED, NAMED + 1, 1000])
def test_who_is_told_of_what_moves_reads_a_few_names(number: int) -> None:
    """And how many there are. Otherwise a line of the log has a million paths in it."""
    said = str(Restless([Path(f"f{each}") for each in range(number)]))
    named = said[said.index("(") + 1 : said.index(")")].split(", ")

    assert f"{number} paths" in said
    assert [f"f{each}" for each in range(min(number, NAMED))] + ["…"] * (number > NAMED) == named
