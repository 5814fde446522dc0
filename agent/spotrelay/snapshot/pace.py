"""How fast a save may go beside a running command. Without a pace it goes as fast as it can."""

from __future__ import annotations

from typing import Protocol


class Pace(Protocol):
    async def spend(self, nbytes: int) -> None:
        """Wait until so many bytes may be read, hashed and sent. Called before each slice and each pack."""
        ...

    def lower(self) -> None:
        """Lower the calling thread's priority. Called once in each thread that works for the save."""
        ...
