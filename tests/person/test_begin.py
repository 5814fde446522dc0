"""A run is begun once, whatever ends the beginning, and whoever else begins one of its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spotrelay.core import keys, spec
from spotrelay.core.errors import QueueError, RunExists
from spotrelay.core.keys import SnapshotId
from spotrelay.core.messages import ResumeRequest
from spotrelay.person import runs
from spotrelay.person.begin import Beginning, Begun, Origin
from spotrelay.person.wishes import Wish
from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots
from support.asking import Bell
from support.stores import RUN, Dies, Recording, dying, everything, failing, memory

WANTED = spec.parse({"run": {"name": RUN, "command": ["python", "train.py"], "directory": "/srv/demo"}}, source="test")
CHOSEN, NUMBERED = Wish(WANTED, named=True), Wish(WANTED, named=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)")
    return folder


async def begin(store: Any, bell: Bell, project: Path, wish: Wish = CHOSEN, *, by: str = "ada@laptop") -> Begun:
    return await Beginning(store, bell, wish, Origin(project, by)).run()


async def content(store: Store, run: str, target: Path) -> str:
    """Of the program, as the first attempt finds it."""
    snapshots = Snapshots(store, run, target)
    newest = max(await snapshots.list())
    assert 0 == newest.attempt
    await snapshots.restore(newest)
    return (target / "train.py").read_text()


async def test_the_order_is_what_it_is(project: Path) -> None:
    """Each line implies all before it, so that whoever finds the run finds all of it."""
    store = Recording(memory())
    await begin(store, Bell(), project)
    written = [key for key in store.written() if not key.startswith(keys.packs(RUN))]

    assert written == [
        keys.begun(RUN),
        keys.snapshot(RUN, SnapshotId(0, 0)),
        keys.open_run(RUN),
        keys.spec(RUN),
        keys.begun(RUN),
    ]
    assert keys.begun(RUN) not in await everything(store)


@pytest.mark.parametrize("wish", [CHOSEN, NUMBERED], ids=["chosen", "numbered"])
@pytest.mark.parametrize("arrived", [False, True])
async def test_dying_at_any_call_is_mended_by_the_same_command(
    project: Path, tmp_path: Path, wish: Wish, arrived: bool
) -> None:
    """One run, with the directory of now, and a bell. Nothing is left running that nobody knows of."""
    counting = Recording(memory())
    await begin(counting, Bell(), project, wish)
    for at in range(len(counting.calls) - arrived):
        kept, bell = memory(), Bell()
        (project / "train.py").write_text("print('first')")
        with pytest.raises(Dies):
            await begin(dying(kept, at, arrived=arrived), bell, project, wish)
        left = await everything(kept)
        assert keys.spec(RUN) in left or not bell.posts
        assert keys.open_run(RUN) in left or keys.spec(RUN) not in left
        whole = keys.spec(RUN) in left
        (project / "train.py").write_text("print('then')")
        begun = await begin(kept, bell, project, wish)

        assert (RUN, [RUN]) == (begun.name, await runs.names(kept)), at
        assert bell.posts[-1] == ResumeRequest(RUN, 1)
        assert keys.begun(RUN) not in await everything(kept)
        expected = "print('first')" if whole else "print('then')"
        assert expected == await content(kept, RUN, tmp_path / f"restored-{at}")


async def test_what_was_sent_is_not_sent_again(project: Path) -> None:
    """A gigabyte that has arrived before Ctrl-C has arrived."""
    store = memory()
    (project / "data.bin").write_bytes(bytes(range(256)) * 4000)
    denied = failing(store, QueueError("not now"), when=lambda _, key: key == keys.open_run(RUN))
    with pytest.raises(QueueError):
        await begin(denied, Bell(), project)
    begun = await begin(store, Bell(), project)

    assert begun.again
    assert begun.saved is not None
    assert (0, SnapshotId(0, 1)) == (begun.saved.new_bytes, begun.saved.snapshot)


async def test_a_name_that_is_taken(project: Path) -> None:
    """Refused where it was chosen, numbered where it was not; the run of that name is as it was."""
    store, bell = memory(), Bell()
    await begin(store, bell, project)
    before = await everything(store)
    with pytest.raises(RunExists, match="another name"):
        await begin(store, bell, project)

    assert before == await everything(store)
    assert ["demo-2", "demo-3"] == [(await begin(store, bell, project, NUMBERED)).name for _ in range(2)]


@pytest.mark.parametrize(
    "other", [{"by": "eve@desk"}, {"wish": Wish(replace(WANTED, limits=spec.Limits(hours=3)), True)}]
)
async def test_a_name_that_somebody_is_about_to_take(project: Path, other: Any) -> None:
    """Two directories would lie on top of each other, and the upper one would be run as the lower one's."""
    store = memory()
    with pytest.raises(QueueError):
        await begin(failing(store, QueueError("no"), when=lambda _, key: key == keys.open_run(RUN)), Bell(), project)
    before = await everything(store)
    with pytest.raises(RunExists, match="ada@laptop"):
        await begin(store, Bell(), project, **other)

    assert before == await everything(store)


async def test_a_bell_that_does_not_ring(project: Path) -> None:
    """The run is there, which is said; and the same command rings. Otherwise it is begun twice."""
    store, bell = memory(), Bell(broken=True)
    with pytest.raises(QueueError, match="within five minutes"):
        await begin(store, bell, project, NUMBERED)
    bell.broken = False
    begun = await begin(store, bell, project, NUMBERED)

    assert (RUN, True, None) == (begun.name, begun.again, begun.saved)
    assert [ResumeRequest(RUN, 1)] == bell.posts


async def test_what_stays_is_not_sent_and_not_forbidden_later(project: Path) -> None:
    """The laptop's environment stays; one that the run makes on its machine is part of the run."""
    store = memory()
    (project / ".venv").mkdir()
    (project / ".venv" / "python").write_text("")
    begun = await Beginning(store, Bell(), CHOSEN, Origin(project, "ada"), stays=[".venv/"]).run()
    manifest = await Snapshots(store, RUN, project).read_manifest(SnapshotId(0, 0))

    assert () == begun.spec.run.exclude
    assert {b"", b"train.py"} == {entry.path for entry in manifest.entries}
