"""An attempt in this process: the real Attempt with a real store and a real command; its doorbell notes each ring."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spotrelay.attempt import Arrival, Attempt
from spotrelay.core import keys, records, spec
from spotrelay.core.keys import SnapshotId
from spotrelay.core.messages import ResumeRequest
from spotrelay.ports import Identity, Secrets, Store
from spotrelay.snapshot import Snapshots
from support.stores import memory

RUN = "demo"
ME = Identity("i-00000000000000001", "m5.large", "us-east-1a", "us-east-1", "spot")
OTHER = Identity("i-00000000000000002", "m5.large", "us-east-1b", "us-east-1", "spot")


class Doorbell:
    """ports.ResumeQueue. `posts`: what was asked for, noted when the call begins; it returns once `answers` is set."""

    def __init__(self) -> None:
        self.posts: list[ResumeRequest] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def post(self, request: ResumeRequest) -> None:
        self.posts.append(request)
        await self.answers.wait()


def made(
    folder: Path,
    *,
    store: Store | None = None,
    number: int = 1,
    command: Sequence[str] = ("true",),
    queue: Doorbell | None = None,
    identity: Identity = ME,
    wall: float | None = None,
    secrets: Secrets | None = None,
    left: records.Status | None = None,
    **tables: Any,
) -> Attempt:
    """`wall`: what the clock shows, for ever; `tables`: more of the spec."""
    run = {"name": RUN, "command": list(command), "directory": str(folder / "job"), **tables.pop("run", {})}
    run_spec = spec.parse({"run": run, "save": {"every_s": 0}, **tables}, source="test")
    (folder / "job").mkdir(exist_ok=True)
    return Attempt(
        Arrival(store or memory(), queue or Doorbell(), run_spec, number, secrets),
        identity,
        output=folder / f"{RUN}-{number}.log",
        environment={"PATH": os.environ["PATH"]},
        wall=time.time if wall is None else lambda: wall,
        clock=time.monotonic,
        left=left,
    )


async def claimed(store: Store, number: int, *, by: Identity = OTHER, at: float | None = None) -> None:
    claim = records.Claim(by.instance_id, "token", time.time() if at is None else at)
    await store.create(keys.claim(RUN, number), records.encode(claim))


async def based(store: Store, number: int, snapshot: str | None = None) -> None:
    base = records.Base(snapshot, time.time(), OTHER.instance_id)
    await store.create(keys.base(RUN, number), records.encode(base))


async def handed_over(store: Store, number: int, *, errors: int = 0) -> None:
    handover = records.Handover(OTHER.instance_id, "interrupted", time.time(), None, None, False, errors, None)
    await store.create(keys.handover(RUN, number), records.encode(handover))


async def ended(store: Store, result: str = "succeeded") -> None:
    await store.create(keys.outcome(RUN), records.encode(records.Outcome(result, 1, time.time())))


async def snapshot(store: Store, folder: Path, name: SnapshotId, **files: str) -> None:
    """A committed snapshot with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text)
    await Snapshots(store, RUN, folder).save(name)
