"""What an agent that is started again knows of the work under those before it, and what it makes of a word that lies.

That a real one does, after a real kill, is in test_daemon.py.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from spotrelay import marker
from spotrelay.attempt import Attempt
from spotrelay.board import NAME, Board, Posted
from spotrelay.core import events as ev
from spotrelay.core import keys, records
from spotrelay.core.keys import SnapshotId
from spotrelay.departure import Departure
from spotrelay.history import History
from spotrelay.ports import Store
from spotrelay.takeover import Takeover
from support.attempts import ME, OTHER, RUN, claimed, made, snapshot
from support.stores import memory

CLAIMED = 1_000_000.0
NOW = CLAIMED + 600
# At work from 100 s after the claim on, for 400 s, of which a snapshot keeps 300.
SAID = records.Status(
    ME.instance_id, "running", CLAIMED + 500, snapshot="1-0", kept_s=300.0, running_since=CLAIMED + 100
)


async def begun(store: Store, said: records.Status | bytes | None) -> None:
    """As the first agent left it."""
    await claimed(store, 1, by=ME, at=CLAIMED)
    if said is not None:
        await store.put(keys.status(RUN, 1), said if isinstance(said, bytes) else records.encode(said))


def told(mine: Attempt) -> tuple[float | None, float]:
    """How long the command has worked and how much of that is kept, by the status."""
    status = mine.status("restoring")
    worked = None if status.running_since is None else status.at - status.running_since
    return None if worked is None else round(worked, 3), round(status.kept_s, 3)


@pytest.mark.parametrize(
    ("stored", "left", "expected"),
    [
        pytest.param(SAID, None, (400.0, 300.0), id="no board: a reboot took it away"),
        pytest.param(None, SAID, (400.0, 300.0), id="the store never heard"),
        pytest.param(SAID, replace(SAID, at=CLAIMED + 580, kept_s=450.0), (480.0, 450.0), id="the store was away"),
        pytest.param(SAID, replace(SAID, at=CLAIMED + 300, kept_s=9.0), (400.0, 300.0), id="an old board"),
        pytest.param(None, None, (None, 0.0), id="nothing"),
        pytest.param(b"{", None, (None, 0.0), id="damaged"),
        pytest.param(b"{", SAID, (400.0, 300.0), id="damaged, but for the board"),
        pytest.param(replace(SAID, running_since=None, kept_s=0.0), None, (None, 0.0), id="an older version"),
        pytest.param(replace(SAID, phase="restoring", running_since=None), None, (None, 0.0), id="never at work"),
        pytest.param(replace(SAID, instance=OTHER.instance_id), None, (None, 0.0), id="another machine's"),
        pytest.param(replace(SAID, kept_s=-1e9), None, (400.0, 0.0), id="kept less than nothing"),
        pytest.param(replace(SAID, kept_s=1e9), None, (400.0, 400.0), id="kept more than worked"),
        pytest.param(replace(SAID, running_since=-1e17), None, (500.0, 300.0), id="at work before the claim"),
        pytest.param(replace(SAID, running_since=1e17), None, (0.0, 0.0), id="at work in the future"),
        pytest.param(replace(SAID, at=1e17), None, (500.0, 300.0), id="said in the future"),
        pytest.param(replace(SAID, kept_s=math.nan), None, (None, 0.0), id="no number"),
    ],
)
async def test_what_an_agent_before_this_one_said_counts_on(
    stored: records.Status | bytes | None,
    left: records.Status | None,
    expected: tuple[float | None, float],
    tmp_path: Path,
) -> None:
    """The newer of its board and the store's status, within what can be: no work before the claim or after now, none
    kept that was not done. Otherwise an attempt is told as one that did nothing, or that did what it cannot have."""
    store = memory()
    await begun(store, stored)
    mine = made(tmp_path, store=store, wall=NOW, left=left)

    assert ev.Claimed() == await Takeover(mine).claim()
    assert expected == told(mine)


async def test_first_agent_of_an_attempt_has_nothing_before_it(tmp_path: Path) -> None:
    """Whatever lies around. Otherwise the work of a run of the same name is this one's."""
    mine = made(tmp_path, wall=NOW, left=SAID)
    await Takeover(mine).claim()

    assert (None, 0.0) == told(mine)


@pytest.mark.parametrize(("reboot", "kept_s"), [(False, 400.0), (True, 300.0)])
async def test_work_that_the_directory_lost_is_not_kept_by_the_next_snapshot(
    reboot: bool, kept_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that is taken up has all of the work, a restored one what its snapshot kept; and worked was all of
    it. Otherwise the work since the last save is counted twice, or never (P8)."""
    store = memory()
    await snapshot(store, tmp_path / "source", SnapshotId(0, 0), state="whole")
    await Takeover(made(tmp_path, store=store)).restore()
    await begun(store, SAID)
    if reboot:
        monkeypatch.setattr(marker, "BOOT_ID", tmp_path / "boot_id")
        (tmp_path / "boot_id").write_text("another")
    mine = made(tmp_path, store=store, wall=NOW)
    way_in, way_out = Takeover(mine), Departure(mine)
    assert [ev.Claimed(), ev.Restored(), ev.Spawned()] == [
        await way_in.claim(),
        await way_in.restore(),
        await way_in.spawn(),
    ]
    await mine.ended()
    await way_out.save()
    await way_out.hand_over(errored=False, notice="spot terminate")
    handover = await History(store, RUN).handover(1)

    assert handover is not None
    assert 0 < handover.kept_s - kept_s < 5
    assert pytest.approx(400 - kept_s) == (handover.worked_s or 0) - handover.kept_s
    await mine.close()


async def test_agent_that_goes_before_it_has_begun_again_hands_over_what_was_lost(tmp_path: Path) -> None:
    """A notice on its way in. Otherwise nobody knows what was lost, though it was written down."""
    store = memory()
    await begun(store, SAID)
    mine = made(tmp_path, store=store, wall=NOW)
    await Takeover(mine).claim()
    await Departure(mine).hand_over(errored=False, notice="spot terminate")
    handover = await History(store, RUN).handover(1)

    assert handover is not None
    assert (400.0, 300.0) == (handover.worked_s, handover.kept_s)


def test_board_has_what_was_on_it_before(tmp_path: Path) -> None:
    """Of this attempt alone, and also once this agent has posted. Otherwise its own first word hides what it needs."""
    Board(tmp_path).post(Posted("running", NOW, 1, RUN, 1, SAID))
    board = Board(tmp_path)
    board.post(Posted("arriving", time.time(), 2))

    assert [SAID, None, None] == [board.left(RUN, 1), board.left(RUN, 2), board.left("other", 1)]
    assert [None, None] == [Board(tmp_path).left(RUN, 1), Board(None).left(RUN, 1)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(asdict(Posted("running", NOW, 1, RUN, 1, SAID)) | {"status": {"at": "now"}}).encode(),
        json.dumps(asdict(Posted("running", NOW, 1, RUN, 1, SAID)) | {"run": "../x"}).encode(),
    ],
    ids=["empty", "no text", "deep", "status of another kind", "run that is none"],
)
def test_board_that_is_garbled_is_none(data: bytes, tmp_path: Path) -> None:
    """P6. Otherwise a file that nobody needs keeps the agent from its run."""
    (tmp_path / NAME).write_bytes(data)

    assert Board(tmp_path).left(RUN, 1) is None
