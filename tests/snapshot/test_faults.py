"""A store that is not well, over real HTTP: what it held is saved and restored right, or refused; and it is left alone
after the deadline."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spotrelay.aws import download
from spotrelay.aws import store as aws_store
from spotrelay.aws.store import open_store
from spotrelay.core import keys
from spotrelay.core.errors import ManifestInvalid, PackCorrupt, SaveFailed
from spotrelay.snapshot import Snapshots
from support.faulty_s3 import FaultyS3, faulty_s3, first_time, now_and_then
from support.stores import FIRST, RUN
from support.tree import differences, tree

MIB = 1 << 20
SMALL = {str(number): os.urandom(999) for number in range(99)}
TREE = tree({"large": os.urandom(33 * MIB), "log": b"step 1 loss 0.1\n" * 200_000, "d/": SMALL})


@pytest.fixture
async def s3(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultyS3]:
    async with faulty_s3(monkeypatch) as fake:
        yield fake


def snapshots(directory: Path) -> Snapshots:
    return Snapshots(open_store("s3://bucket/prefix"), RUN, directory)


@pytest.mark.parametrize("fault", ["503", "drop"])
async def test_a_fifth_of_all_requests_fails(fault: str, s3: FaultyS3, here: Path, there: Path) -> None:
    """Refusals and broken connections cost time, not the snapshot. Otherwise the worst hour of a region is the one in
    which runs die."""
    TREE.write(here)
    s3.fault = now_and_then(fault, 0.2)

    async with asyncio.timeout(60):
        for _ in range(3):  # so that there are enough requests for a fifth
            s3.objects.clear()
            await snapshots(here).save(FIRST)
            await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)
    assert s3.met[fault] > 3


@pytest.mark.parametrize("method", ["PUT", "GET"])
@pytest.mark.parametrize("fault", ["503", "drop", "stall"])
async def test_every_object_fails_once(
    *, method: str, fault: str, s3: FaultyS3, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each object's first try fails, by each fault: the second one is whole. Otherwise half an object counts as one."""
    monkeypatch.setattr(download, "STALL_S", 0.5)
    monkeypatch.setattr(aws_store, "ATTEMPT_S", 2)
    TREE.write(here)
    s3.fault = first_time(fault, method)

    async with asyncio.timeout(60):
        await snapshots(here).save(FIRST)
        await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)
    assert len(s3.objects) == s3.met[fault]


async def test_a_flipped_bit_on_the_way(s3: FaultyS3, here: Path, there: Path) -> None:
    """What was damaged on its way down is fetched once more. Otherwise a bad switch ends a run whose bytes are well."""
    await snapshots(TREE.write(here)).save(FIRST)
    s3.fault = first_time("flip", "GET")

    await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)
    assert len(s3.objects) == s3.met["flip"]


@pytest.mark.parametrize(("what", "error"), [("packs", PackCorrupt), ("snapshots", ManifestInvalid)])
async def test_a_bit_that_is_always_flipped(
    what: str, error: type[Exception], s3: FaultyS3, here: Path, there: Path
) -> None:
    """What comes damaged each time is refused (P2). Otherwise the command goes on from bytes that nobody saved."""
    await snapshots(TREE.write(here)).save(FIRST)
    s3.fault = lambda request: "flip" if request.method == "GET" and f"/{what}/" in request.path else ""

    with pytest.raises(error):
        await snapshots(there).restore(FIRST)


@pytest.mark.parametrize("fault", ["503", "drop", "stall"])
async def test_nothing_is_asked_after_the_deadline(fault: str, s3: FaultyS3, here: Path) -> None:
    """A store that never gets well is left alone once the deadline has passed (P4). Otherwise a fenced attempt writes
    into its successor's time."""
    TREE.write(here)
    s3.fault = lambda _: fault

    for within_s in (0.5, 5, 50):  # on a computer that stands still, the shortest may pass before the first is asked
        with pytest.raises(SaveFailed, match="deadline"):
            await snapshots(here).save(FIRST, deadline=time.monotonic() + within_s)
        if s3.asked:
            break

    asked = len(s3.asked)
    await asyncio.sleep(0.5)  # longer than the first waits: whatever was left behind would show itself
    assert asked == len(s3.asked) > 0
    assert {} == s3.objects


@pytest.mark.parametrize("closed", [False, True])
async def test_a_restore_that_is_cancelled_leaves_no_thread_behind(
    *, closed: bool, s3: FaultyS3, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while nothing arrives, a restore returns at once, and nothing writes into the directory any more,
    though the connection was closed at the same moment. Otherwise the next restore shares the directory with a
    ghost."""
    shutdown = socket.socket.shutdown

    def was_closed(connection: socket.socket, how: int) -> None:
        shutdown(connection, how)
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    if closed:
        monkeypatch.setattr(socket.socket, "shutdown", was_closed)
    await snapshots(TREE.write(here)).save(FIRST)
    s3.fault = lambda request: "stall" if f"/{keys.packs(RUN)}" in request.path else ""
    restoring = asyncio.create_task(snapshots(there).restore(FIRST))
    async with asyncio.timeout(60):
        while not s3.met["stall"]:
            await asyncio.sleep(0.01)

    restoring.cancel()
    async with asyncio.timeout(60):
        with pytest.raises(asyncio.CancelledError):
            await restoring


async def test_a_thread_is_waited_for_however_often_one_is_cancelled() -> None:
    """Whoever cancels, and cancels again, gets an answer when the thread has put its bytes down. Otherwise it writes to
    a file that was closed meanwhile, whose number may be another's by then."""
    begun, may_end, written = threading.Event(), threading.Event(), list[int]()

    def take(chunk: memoryview) -> None:
        begun.set()
        may_end.wait(60)
        written.append(len(chunk))

    call = asyncio.create_task(download.Downloads(1).hand_over(memoryview(b"bytes"), lambda: take))
    await asyncio.to_thread(begun.wait, 60)
    for _ in range(3):
        call.cancel()
        await asyncio.wait([call], timeout=0.01)
    early = call.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert (False, [5]) == (early, written)
