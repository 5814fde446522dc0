"""The command's output, from the file it is written to into the store, while the command runs and at its end.

1. The log lies in the store as segments, immutable objects 0, 1, 2 …, which joined are the output. What there is after
   each period becomes the next segment, so a person sees lines seconds old, and a flood becomes full segments at once.
2. A segment's range is fixed before its first try and stays until the store has taken it. A try whose answer was lost
   is repeated with the same name and bytes, and found done: nothing lost, nothing doubled.
3. What the store has taken is given back to the disk by a hole in the file: a flood of a hundred gigabytes fills no
   disk. The command's descriptor appends, so it never writes there again.
4. A segment that is there with other bytes is another writer's, and that one owns the attempt: this one says so and
   ships no more.
5. A store that is slow, full or gone stops only the shipping: the file waits (P6).
6. The range in hand is noted in an attribute of the file, so an agent that was restarted goes on where it was.
7. The newest line is kept: it is what a person sees of the command's progress without reading its log.

A command may truncate its own output (`echo … > /dev/stderr` in a shell script does): then shipping goes on from the
file's new beginning, and what was truncated unshipped is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from spotrelay.core import keys
from spotrelay.core.errors import AlreadyExists, StoreError
from spotrelay.ports import Store

# Held in memory while it is sent. On the bench slices of 8 MiB move 1.5 GiB in 1.34 s, of 16 MiB in 1.15: for a log,
# half the memory is worth more.
SEGMENT_BYTES = 8 << 20
# 17,280 PUT a day, 9 cents, if the command never falls silent; every second would be 43, and no one reads so fast.
PERIOD_S = 5.0
KEEP_SIZE, PUNCH_HOLE = 1, 2  # linux/falloc.h
NOTE = "user.spotrelay.segment"
# What a heartbeat carries of it.
LONGEST_LINE = 200
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes `start` to `end` of the file; `start == end` as long as it is not fixed where it ends."""

    number: int
    start: int
    end: int


class OutputShipper:
    """Ships the file `path` (it may not be there yet) as the log of (run, attempt). One for each attempt."""

    def __init__(
        self,
        store: Store,
        run: str,
        attempt: int,
        path: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        period: float = PERIOD_S,
    ) -> None:
        self._store = store
        self._run = run
        self._attempt = attempt
        self._path = path
        self._segment_bytes = segment_bytes
        self._period = period
        self._segment = _noted(path)  # the next one
        self._overtaken = False
        self.shipped = 0  # bytes that this one brought into the store
        self.line = ""  # the newest that says something

    async def run(self) -> None:
        """Ship until cancelled. Raises nothing."""
        while True:
            await self._ship_patiently()
            await asyncio.sleep(self._period)

    async def finish(self, deadline: float | None) -> int:
        """Ship the rest, when the command has ended and `run` was cancelled. Returns the bytes that are in the store.

        Tries again until `deadline` (seconds of the loop's clock), after which nothing more is written. Without a
        deadline, an error of the store is final: its own retries have had their time.
        """
        try:
            async with asyncio.timeout_at(deadline):
                await (self._ship_all() if deadline is None else self._ship_patiently())
        except (StoreError, OSError) as error:  # OSError: TimeoutError too
            log.warning("output.incomplete", error=repr(error), shipped=self.shipped)
        return self.shipped

    async def _ship_patiently(self) -> None:
        """All that is there now, whatever the store says meanwhile."""
        waiting = False
        while True:
            try:
                await self._ship_all()
            except (StoreError, OSError) as error:
                if not waiting:
                    log.warning("output.waiting", error=repr(error), shipped=self.shipped)
                waiting = True
            else:
                if waiting:
                    log.info("output.resumed", shipped=self.shipped)
                return
            await asyncio.sleep(self._period)

    async def _ship_all(self) -> None:
        while not self._overtaken:
            segment, data = await asyncio.to_thread(_read, self._path, self._segment, self._segment_bytes)
            if not data:
                return
            # Assigned here and not in the thread, which a cancelled `run` would leave at work beside `finish`.
            self._segment = segment
            await self._ship(segment, data)

    async def _ship(self, segment: Segment, data: bytes) -> None:
        key = keys.log_segment(self._run, self._attempt, segment.number)
        try:
            await self._store.create(key, data)
        except AlreadyExists:
            # Ours, if an earlier call was cancelled or failed after it had arrived.
            self._overtaken = await self._store.get(key) != data
        if self._overtaken:
            log.error("output.overtaken", segment=segment.number, shipped=self.shipped)
            return
        self._segment = Segment(segment.number + 1, segment.end, segment.end)
        self.shipped += len(data)
        self.line = newest_line(data) or self.line
        await asyncio.to_thread(_release, self._path, segment)


def newest_line(data: bytes) -> str:
    """Of what ends in `data`, as a person may read it anywhere. A bar that redraws itself does so by \\r."""
    for line in reversed(re.split(rb"[\r\n]+", data[-4 * LONGEST_LINE :])):
        said = _ESCAPES.sub("", line.decode(errors="replace"))
        shown = "".join(sign for sign in said if sign.isprintable()).strip()
        if shown:
            return shown[:LONGEST_LINE]
    return ""


def _read(path: Path, segment: Segment, largest: int) -> tuple[Segment, bytes]:
    """The segment, its range now fixed, and its bytes; none when there is nothing new."""
    try:
        with path.open("rb") as file:
            segment = _fixed(segment, os.fstat(file.fileno()).st_size, largest)
            _note(path, segment)
            return segment, os.pread(file.fileno(), segment.end - segment.start, segment.start)
    except FileNotFoundError:
        return segment, b""


def _fixed(segment: Segment, size: int, largest: int) -> Segment:
    if size < segment.end:  # truncated
        segment = Segment(segment.number, 0, 0)
    if segment.start < segment.end:
        return segment
    return replace(segment, end=min(size, segment.start + largest))


def _note(path: Path, segment: Segment) -> None:
    """Where the file system has no attributes, a restarted agent finds its first segment taken, and ships no more."""
    with contextlib.suppress(OSError):
        os.setxattr(path, NOTE, json.dumps([segment.number, segment.start, segment.end]).encode())


def _noted(path: Path) -> Segment:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Segment(*json.loads(os.getxattr(path, NOTE)))
    return Segment(0, 0, 0)


def _release(path: Path, segment: Segment) -> None:
    """Give the segment's blocks back to the disk. Where the file system cannot, the file stays whole."""
    length = segment.end - segment.start
    with contextlib.suppress(OSError), path.open("r+b") as file:
        mode, offset = PUNCH_HOLE | KEEP_SIZE, ctypes.c_int64(segment.start)
        ctypes.CDLL(None).fallocate(file.fileno(), mode, offset, ctypes.c_int64(length))
