"""What launchers remember of pools for each other: by names in the store, for a while."""

from __future__ import annotations

from pathlib import Path

import pytest

from spotrelay.core import keys
from spotrelay.core.errors import StoreUnavailable
from spotrelay.launcher.notes import EVICTED, FRESH_S, SLOT_S, UNSUPPORTED, Notes
from spotrelay.launcher.objects import Folder
from spotrelay.launcher.pools import Place

POOL, OTHER = Place("m5.large", "us-east-1a"), Place("hpc7a.12xlarge", "us-east-1a")


class Clock:
    at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.mark.parametrize("note", SLOT_S)
def test_one_launcher_s_note_is_read_by_another_and_forgotten(tmp_path: Path, note: str) -> None:
    """A pool that evicted us yesterday may be the best one today."""
    clock = Clock()
    Notes(Folder(tmp_path), clock).write(note, POOL)
    other = Notes(Folder(tmp_path), clock)

    assert {POOL} == other.places(note)
    clock.at += SLOT_S[note]
    assert {POOL} == other.places(note)
    clock.at += SLOT_S[note]
    assert set() == other.places(note)


def test_note_of_the_other_kind_is_another(tmp_path: Path) -> None:
    notes = Notes(Folder(tmp_path), Clock())
    notes.write(EVICTED, POOL)
    notes.write(UNSUPPORTED["spot"], OTHER)

    assert [{POOL}, {OTHER}, set()] == [notes.places(note) for note in (EVICTED, *UNSUPPORTED.values())]


def test_storm_writes_and_reads_little(tmp_path: Path) -> None:
    """A thousand evictions from one pool are one object, and one listing each half minute."""

    class Counting(Folder):
        calls = 0

        def create(self, key: str, data: bytes) -> bool:
            Counting.calls += 1
            return super().create(key, data)

    clock, objects = Clock(), Counting(tmp_path)
    notes = Notes(objects, clock)
    for _ in range(1000):
        notes.write(EVICTED, POOL)
        notes.places(EVICTED)

    assert 1 == Counting.calls
    Notes(objects, clock).write(EVICTED, Place("c5.large", "us-east-1b"))
    assert {POOL} == notes.places(EVICTED)
    clock.at += FRESH_S
    assert 2 == len(notes.places(EVICTED))


def test_store_that_is_away_costs_only_the_memory(tmp_path: Path) -> None:
    """The hunt goes on without notes."""

    class Away(Folder):
        def create(self, key: str, data: bytes) -> bool:
            raise StoreUnavailable("away")

        def list(self, prefix: str) -> list[str]:
            raise StoreUnavailable("away")

    notes = Notes(Away(tmp_path), Clock())
    notes.write(EVICTED, POOL)

    assert set() == notes.places(EVICTED)


def test_names_that_are_no_notes_do_no_harm(tmp_path: Path) -> None:
    clock = Clock()
    prefix = keys.pool_notes(EVICTED, int(clock.at // SLOT_S[EVICTED]))
    for name in ("", "nonsense", "@", "a@b@c"):
        Folder(tmp_path).put(f"{prefix}{name}_", b"")

    assert 4 == len(Notes(Folder(tmp_path), clock).places(EVICTED))
