"""Lambda: a function's files under the real runtime client, in as many environments as its concurrency allows.

The client (`awslambdaric`) is what AWS runs: it imports the handler, asks for the next event, posts what came of it.
Around it, this does what Lambda does, above all when something goes wrong:

1. An environment starts when one is needed, is used again (latest first), and has one event at a time.
2. It has a minute to import the handler, then the function's timeout for each event. Too late: its whole process group
   is killed. A process that ends by itself fails its event with Runtime.ExitError. The next event gets a fresh one.
3. A handler that raises fails its event; the environment lives on.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spotrelay.local.lambda_environment import Environment, Invocation, Settings
from spotrelay.local.lambda_site import copy_task, link_packages, remove_task

__all__ = ["Function", "Invocation", "Settings"]


class Function:
    """`folder` is made and belongs to the function; its environments append their output to `log`."""

    def __init__(self, folder: Path, files: Iterable[tuple[str, Path]], settings: Settings, *, log: Path) -> None:
        self._folder, self._files, self._settings, self._log = folder, files, settings, log
        self._environments: set[Environment] = set()
        self._idle: list[Environment] = []
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._laid_out: asyncio.Future[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Have one environment ready. Optional: it is half a second that can pass beside something else."""
        # In a slot: an event that comes meanwhile waits for this environment and starts no other.
        async with self._slots:
            environment = await self._new_environment()
            self._idle.append(environment)
            await environment.ready()

    async def invoke(self, event: Mapping[str, Any]) -> Invocation:
        """Hand over one event, when one of `concurrency` environments is free. Raises nothing of the handler's."""
        async with self._slots:
            environment = await self._take() or await self._new_environment()
            try:
                return await environment.invoke(json.dumps(event).encode())
            finally:
                if environment.usable:
                    self._idle.append(environment)
                else:
                    await self._end(environment)

    async def close(self) -> None:
        """End all environments, at work or not, and remove the folder."""
        self._closed = True
        await asyncio.gather(*map(self._end, list(self._environments)))
        if self._laid_out is not None:
            await self._laid_out
            self._laid_out = None
            await asyncio.to_thread(self._clear)

    async def _take(self) -> Environment | None:
        while self._idle:
            environment = self._idle.pop()
            if environment.usable:
                return environment
            await self._end(environment)
        return None

    async def _new_environment(self) -> Environment:
        if self._laid_out is None and not self._closed:
            self._laid_out = asyncio.ensure_future(asyncio.to_thread(self._lay_out))
        if self._laid_out is not None:
            await asyncio.shield(self._laid_out)
        if self._closed:
            raise RuntimeError(f"function {self._settings.name} is closed")
        environment = Environment(self._settings, self._folder / "task", self._folder / "site", self._log)
        self._environments.add(environment)
        await environment.start()
        return environment

    async def _end(self, environment: Environment) -> None:
        await environment.close()
        self._environments.discard(environment)

    def _lay_out(self) -> None:
        copy_task(self._folder / "task", self._files)
        link_packages(self._folder / "site")

    def _clear(self) -> None:
        remove_task(self._folder / "task")
        shutil.rmtree(self._folder)
