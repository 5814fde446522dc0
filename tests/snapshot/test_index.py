"""What is known without reading: blocks and drafts, what a save that was cut off leaves, and what a store has lost.

All without a directory, so that each rule fails by itself; whole saves are in test_cut_off.py and test_save.py.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from spotrelay.core import manifest
from spotrelay.core.manifest import Directory, Extent, File, HardLink, Meta, Pack
from spotrelay.snapshot.index import NEVER, Begun, Block, Draft, Index, Stamp

META = Meta(0o644, 1, 0, 0)
PACKS = {digest * 64: Pack(digest * 64, 100, 60) for digest in "abcd"}
A, B, C, D = PACKS
NUMBERS = {digest: number for number, digest in enumerate(PACKS)}


def file(path: str, *packs: str, size: int = 10) -> bytes:
    extents = tuple(Extent(size * slot, pack, 0, size) for slot, pack in enumerate(packs))
    return manifest.row(File(path.encode(), META, size * len(packs), extents), NUMBERS)


def directory(path: str) -> bytes:
    return manifest.row(Directory(path.encode(), META), NUMBERS)


def stamp(number: int, size: int = 10) -> Stamp:
    return Stamp(size, number, number, number)


def draft(path: str, *entries: tuple[str, bytes, Stamp | None, int]) -> Draft:
    made = Draft(path, [name for name, *_ in entries])
    for slot, (_, row, stamped, size) in enumerate(entries):
        made.enter(slot, row, stamped, size)
    return made


def block(path: str, *entries: tuple[str, bytes, Stamp | None, int]) -> Block:
    return draft(path, *entries).close()


TWO = block("", ("f", file("f", A), stamp(1), 10), ("g", file("g", B, C), stamp(2, 20), 20))


def shown(what: Block) -> list[tuple[str, Stamp, bytes]]:
    return list(what.entries())


# --- blocks and drafts


def test_a_block_gives_back_what_was_entered() -> None:
    """And its sums. Otherwise an unchanged directory comes back as another one."""
    made = block("", ("d", directory("d"), stamp(3, 0), -1), ("f", file("f", B, A), stamp(1, 20), 20))

    assert [("d", stamp(3, 0), directory("d")), ("f", stamp(1, 20), file("f", B, A))] == shown(made)
    assert (("d", len(directory("d"))),) == made.cuts
    assert ((0, 1), 1, 20, True) == (made.packs, made.files, made.file_bytes, made.plain)
    assert [] == shown(block(""))


def test_packs_stand_in_order_and_an_empty_file_is_a_file() -> None:
    """Otherwise the same directory is another manifest, and a file less."""
    far = manifest.row(File(b"f", META, 20, (Extent(0, A, 0, 10), Extent(10, B, 0, 10))), {A: 9, B: 1})
    made = block("", ("e", file("e"), stamp(1, 0), 0), ("f", far, stamp(2, 20), 20))

    assert ((1, 9), 2, 20) == (made.packs, made.files, made.file_bytes)


def test_a_cut_is_where_a_directory_s_row_ends() -> None:
    """There its entries are written. Otherwise the manifest is out of order and is refused."""
    made = block(
        "", ("a", file("a", A), stamp(1), 10), ("d", directory("d"), stamp(2), -1), ("e", file("e"), stamp(3), 0)
    )
    ((name, end),) = made.cuts

    assert ("d", directory("d")) == (name, made.rows[len(file("a", A)) : end])


def test_a_name_that_vanished_is_in_no_block() -> None:
    """Nor its bytes in the sums."""
    made = draft("", ("f", file("f", A), stamp(1), 10), ("g", file("g", B), stamp(2), 10))
    made.drop(0)

    closed = made.close()

    assert [("g", stamp(2), file("g", B))] == shown(closed)
    assert ((1,), 1, 10) == (closed.packs, closed.files, closed.file_bytes)


def test_a_file_that_became_something_else_counts_no_more() -> None:
    """Entered anew under the same name. Otherwise the manifest's total is wrong, and nothing restores it."""
    made = draft("", ("f", file("f", A), stamp(1), 10))
    made.enter(0, directory("f"), stamp(2))

    assert (0, 0, ()) == (made.close().files, made.close().file_bytes, made.close().packs)


@pytest.mark.parametrize("order", [(None, stamp(2)), (stamp(1), None)], ids=["first", "last"])
def test_a_row_without_a_stamp_makes_its_block_looked_into(order: tuple[Stamp | None, Stamp | None]) -> None:
    """Whatever comes after it. Otherwise what may have changed unseen is never looked at again."""
    made = block("", *((str(slot), file(str(slot), A), each, 10) for slot, each in enumerate(order)))

    assert not made.plain
    assert NEVER in [each for _, each, _ in made.entries()]


def test_a_name_that_is_appended_has_no_stamp_yet() -> None:
    """A restore knows it when the file is there, and sets it."""
    made = Draft("", [])
    slots = [made.append("d", directory("d"), -1), made.append("e", file("e"), 0), made.append("f", file("f", A), 10)]
    closed = made.close()
    assert [NEVER] * 3 == [each for _, each, _ in closed.entries()]
    closed.set_stamp(1, stamp(7, 0))

    assert [0, 1, 2] == slots
    assert [NEVER, stamp(7, 0), NEVER] == [each for _, each, _ in closed.entries()]
    assert (2, 10) == (closed.files, closed.file_bytes)


# --- packs


def test_a_pack_has_one_number_for_ever() -> None:
    """Asked for by several threads at once, too. Otherwise rows name a pack that the manifest does not."""
    index, together = Index.of_packs({A: PACKS[A], B: PACKS[B]}), threading.Barrier(8)

    def ask(digest: str) -> int:
        together.wait(20)
        return index.number(digest)

    with ThreadPoolExecutor(8) as threads:
        new = list(threads.map(ask, [C, D] * 4))

    assert [new[0], new[1]] * 4 == new
    assert 4 == len({0, 1, new[0], new[1]})
    assert {A: 0, B: 1, C: new[0], D: new[1]} == {digest: index.number(digest) for digest in PACKS}


def test_after_a_save_only_packs_that_rows_use_are_known() -> None:
    """Others may go from the store at any time. Otherwise the next save relies on what is not there."""
    index = Index.of_packs(PACKS)
    after = index.succeeded_by({"": TWO})

    assert ({"": TWO}, {A, B, C}, {A: 0, B: 1, C: 2}) == (after.blocks, set(after.packs), after.numbers)
    assert after.number(D) == 4, "numbers are not used twice"
    assert ({}, {}) == (after.left, after.begun)


@pytest.mark.parametrize(
    ("gone", "here", "below"),
    [
        ([A], ["g"], ["h"]),
        ([C], ["f"], ["h"]),
        ([A, B], [], ["h"]),
        ([D], ["f", "g"], []),
        (["e" * 64], ["f", "g"], ["h"]),
    ],
)
def test_files_whose_packs_are_gone_are_read_again(gone: list[str], here: list[str], below: list[str]) -> None:
    """And no others. Otherwise a snapshot is committed that nothing can restore."""
    index = Index.of_packs(PACKS)
    index.blocks = {
        "": TWO,
        "d": block("d", ("e", directory("d/e"), stamp(4), -1), ("h", file("d/h", D), stamp(3), 10)),
    }

    index.forget(gone)

    assert PACKS.keys() - set(gone) == index.packs.keys() == index.numbers.keys()
    assert [here, ["e", *below]] == [[name for name, _, _ in found.entries()] for found in index.blocks.values()]
    assert [entry for entry in TWO.entries() if entry[0] in here] == shown(index.blocks[""])
    assert sum({"f": 10, "g": 20}[name] for name in here) == index.blocks[""].file_bytes
    assert (len(below), 10 * len(below)) == (index.blocks["d"].files, index.blocks["d"].file_bytes)
    assert [len(here) == 2, len(below) == 1] == [found.plain for found in index.blocks.values()]


# --- what a save that was cut off leaves


def taken_up(left: Block | Draft, *, has: str, before: Block | None = None) -> Block:
    """`has`: the store."""
    index = Index.of_packs(PACKS)
    index.packs = {digest: PACKS[digest] for digest in PACKS if digest[0] in has}
    index.blocks = {} if before is None else {"": before}
    index.left = {"": left}
    index.take_up()
    assert {} == index.left
    return index.blocks[""]


def test_a_block_whose_packs_are_all_there_counts_as_it_is() -> None:
    """Otherwise a million files that are known are taken apart and looked at one by one."""
    assert TWO is taken_up(TWO, has="abc")


@pytest.mark.parametrize(
    ("has", "names"), [("abc", ["f", "g"]), ("ab", ["f"]), ("ac", ["f"]), ("bc", ["g"]), ("d", [])]
)
@pytest.mark.parametrize("as_draft", [True, False], ids=["draft", "block"])
def test_believed_is_a_row_whose_every_pack_is_there(has: str, names: list[str], as_draft: bool) -> None:
    """One that was still on its way has not arrived. Otherwise nobody sends it any more."""
    rows = [("f", file("f", A), stamp(1), 10), ("g", file("g", B, C), stamp(2, 20), 20)]
    found = taken_up(draft("", *rows) if as_draft else block("", *rows), has=has)

    assert [(name, stamped, row) for name, row, stamped, _ in rows if name in names] == shown(found)
    assert sum(10 if name == "f" else 20 for name in names) == found.file_bytes
    assert not found.plain or (has == "abc" and not as_draft)


def test_in_place_of_a_row_that_is_not_believed_the_one_before_stays() -> None:
    """With its own stamp: it says what is kept if the file cannot be read. Otherwise a file that is written all the
    time is in no snapshot."""
    before = block("", ("f", file("f", A), stamp(1), 10), ("gone", file("gone", A), stamp(8), 10))
    found = taken_up(
        draft("", ("f", file("f", B), stamp(2), 10), ("g", file("g", C), stamp(3), 10)), has="a", before=before
    )

    assert [("f", stamp(1), file("f", A))] == shown(found)
    assert (1, 10, False) == (found.files, found.file_bytes, found.plain)


def test_a_name_that_was_not_yet_read_keeps_the_row_before() -> None:
    """Cut off between the listing and the read. Otherwise it is read and sent again, though nothing of it changed."""
    before = block("", ("f", file("f", A), stamp(1), 10))

    assert [("f", stamp(1), file("f", A))] == shown(taken_up(draft("", ("f", b"", None, -1)), has="a", before=before))


def test_nor_is_the_one_before_believed_without_its_packs() -> None:
    before = block("", ("f", file("f", A), stamp(1), 10))

    assert [] == shown(taken_up(draft("", ("f", file("f", B), stamp(2), 10)), has="cd", before=before))


def test_the_newer_of_two_that_are_believed_counts() -> None:
    """Otherwise what was sent is read again."""
    before = block("", ("f", file("f", A), stamp(1), 10))

    assert [("f", stamp(2), file("f", B))] == shown(
        taken_up(draft("", ("f", file("f", B), stamp(2), 10)), has="ab", before=before)
    )


def test_a_name_without_a_row_is_looked_at_again() -> None:
    """It had been listed, and not yet read; what is no file needs no pack."""
    rows = [("d", directory("d"), stamp(4), -1), ("f", b"", None, -1)]
    link = manifest.row(HardLink(b"l", b"f"), NUMBERS)
    found = taken_up(draft("", *rows, ("l", link, stamp(5), -1)), has="")

    assert [("d", stamp(4), directory("d")), ("l", stamp(5), link)] == shown(found)
    assert (0, 0) == (found.files, found.file_bytes)


def test_of_a_large_file_the_windows_that_arrived_are_not_sent_again() -> None:
    """And each that did not is. Otherwise the file is put together from packs that nobody has."""
    index = Index.of_packs(PACKS)
    index.packs = {A: PACKS[A], B: PACKS[B]}
    arrived, lost = [(0, 0, 0, 10), (10, 1, 0, 10)], [(20, 1, 0, 10), (30, 2, 0, 10)]
    index.begun = {b"big": Begun(stamp(1), {((0, 20),): arrived, ((20, 40),): lost})}

    index.take_up()

    assert {b"big": Begun(stamp(1), {((0, 20),): arrived})} == index.begun
