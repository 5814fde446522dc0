"""What the page's buttons do: the same as `spotrelay stop` and `spotrelay resume`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from spotrelay.cli.naming import by
from spotrelay.cli.place import Where
from spotrelay.core.errors import RunOver
from spotrelay.core.messages import ResumeRequest

if TYPE_CHECKING:
    from spotrelay.ports import BrowsableStore


class ByHand:
    """Fulfils ui.actions.Actions."""

    def __init__(self, where: Where, store: BrowsableStore) -> None:
        self._where, self._store = where, store

    @property
    def resumes(self) -> bool:
        return self._where.queue is not None

    async def stop(self, run: str) -> None:
        """Raises RunOver, RunNotOver, StoreError, QueueError."""
        from spotrelay.person.stop import stop  # noqa: PLC0415 - the page is there before these are

        bell = self._where.open_queue() if self.resumes else _Silent()
        said = await stop(self._store, bell, run, by=by(), at=time.time())
        if said.over:
            raise RunOver(f"{run} is over")

    async def resume(self, run: str) -> None:
        """Raises as `person.resume` does; UsageError where there is no queue."""
        from spotrelay.person.resume import resume  # noqa: PLC0415 - as above

        await resume(self._store, self._where.open_queue(), run, at=time.time())


class _Silent:
    """No bell: the launcher's sweep reads the word within five minutes."""

    async def post(self, request: ResumeRequest) -> None:
        pass
