"""After a restore: an unfinished checkpoint is out of the way, the one before it is back, and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spotrelay.checkpoints.folders import ASIDE
from spotrelay.checkpoints.mending import KEEP, PREVIOUS, SET_ASIDE, Mending
from spotrelay.core.keys import SnapshotId
from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots
from support import stores

WHOLE = b"PK\x05\x06" + b"\0" * 18  # a zip with nothing in it
LATER = b"PK\x03\x04 and then the machine died"
A_YEAR_S = 365 * 86400


@pytest.fixture
def store() -> Store:
    return stores.memory()


@pytest.fixture
def job(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    (folder / "checkpoints").mkdir(parents=True)
    return folder


def mending(store: Store, job: Path, attempt: int = 2) -> Mending:
    return Mending(job, store, stores.RUN, Snapshots(store, stores.RUN, job), attempt)


async def saved(store: Store, job: Path, *contents: bytes | None) -> list[SnapshotId]:
    """`checkpoints/last.ckpt` with each of these, a snapshot each; what there is then, newest first."""
    snapshots = Snapshots(store, stores.RUN, job)
    found = []
    for number, content in enumerate(contents):
        file = job / "checkpoints/last.ckpt"
        if content is not None:
            file.write_bytes(content)
            os.utime(file, ns=(10**18 + number, 10**18 + number))
        found.insert(0, (await snapshots.save(SnapshotId(1, number))).snapshot)
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_the_previous_one_is_back_as_it_was(store: Store, job: Path) -> None:
    """Of the newest snapshot that had it whole, with its time, its mode and its bytes. Otherwise the run starts over,
    or from something older than need be."""
    (job / "checkpoints/last.ckpt").touch(mode=0o640)
    ids = await saved(store, job, b"PK", WHOLE + b"", LATER[:7], LATER)
    file = job / "checkpoints/last.ckpt"
    os.utime(file)
    (line,) = await mending(store, job).mend(PREVIOUS, ids[1:], since=0)

    assert WHOLE == file.read_bytes()
    assert (10**18 + 1, 0o640) == (file.stat().st_mtime_ns, file.stat().st_mode & 0o777)
    assert LATER == (job / ASIDE / "2/checkpoints/last.ckpt.unfinished").read_bytes()
    assert [file.name] == names(job / "checkpoints")
    assert ["last.ckpt.unfinished"] == names(job / ASIDE / "2/checkpoints")
    assert "as snapshot 1-1 has it" in line
    assert f"set aside as {ASIDE}/2/checkpoints/last.ckpt.unfinished" in line


async def test_where_there_was_none_before(store: Store, job: Path) -> None:
    """A checkpoint with a name of its own, each time: it is out of the way, and that is all. Otherwise the newest, and
    broken, is found first."""
    await saved(store, job, None)
    (job / "checkpoints/epoch=3.ckpt").write_bytes(LATER)
    (line,) = await mending(store, job).mend(PREVIOUS, [SnapshotId(1, 0)], since=0)

    assert [] == names(job / "checkpoints")
    assert "it is back" not in line


async def test_a_folder_goes_as_one(store: Store, job: Path) -> None:
    """Otherwise the weights of one checkpoint meet the optimizer of another."""
    for step in (20, 40):
        folder = job / f"checkpoints/checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text("{}" if step == 20 else "")
    await mending(store, job).mend(PREVIOUS, [], since=0)

    assert ["checkpoint-20"] == names(job / "checkpoints")
    assert (job / ASIDE / "2/checkpoints/checkpoint-40.unfinished/trainer_state.json").exists()


@pytest.mark.parametrize(("how", "left"), [(SET_ASIDE, False), (KEEP, True)])
async def test_a_person_may_choose(store: Store, job: Path, how: str, left: bool) -> None:
    """Otherwise who knows better cannot say so."""
    ids = await saved(store, job, WHOLE, LATER)
    said = await mending(store, job).mend(how, ids[1:], since=0)

    assert left == (job / "checkpoints/last.ckpt").exists()
    assert left == (said == [])
    assert left == (not (job / ASIDE).exists())


async def test_what_is_older_than_the_run_is_not_ours(store: Store, job: Path) -> None:
    """A broken file that somebody brought along, in their data or their tests. Otherwise it is gone from its place."""
    file = job / "fixture.ckpt"
    file.write_bytes(LATER)
    began = file.stat().st_mtime + A_YEAR_S

    assert [] == await mending(store, job).mend(PREVIOUS, [], since=began)
    assert file.exists()


async def test_a_store_that_is_away_costs_the_second_step_only(store: Store, job: Path) -> None:
    """Otherwise a run waits for a nicety, or begins from the broken file after all."""
    await saved(store, job, WHOLE, LATER)
    (line,) = await mending(store, job).mend(PREVIOUS, [SnapshotId(1, 7), SnapshotId(0, 0)], since=0)

    assert not (job / "checkpoints/last.ckpt").exists()
    assert "it is back" not in line


async def test_twice_in_one_attempt(store: Store, job: Path) -> None:
    """An agent that was restarted meets the second unfinished file of its attempt. Otherwise the first is overwritten,
    and nothing is deleted here."""
    for text in (LATER, LATER[:9]):
        (job / "last.ckpt").write_bytes(text)
        await mending(store, job).mend(PREVIOUS, [], since=0)

    assert {LATER, LATER[:9]} == {path.read_bytes() for path in (job / ASIDE / "2").iterdir()}


async def test_a_link_in_the_way_is_not_followed(store: Store, job: Path, tmp_path: Path) -> None:
    """A snapshot may hold a link of that name. Otherwise files of the run land anywhere on the machine (P7)."""
    (tmp_path / "elsewhere").mkdir()
    (job / ASIDE).symlink_to(tmp_path / "elsewhere")
    (job / "last.ckpt").write_bytes(LATER)

    with pytest.raises(NotADirectoryError):
        await mending(store, job).mend(PREVIOUS, [], since=0)
    assert [] == names(tmp_path / "elsewhere")
