"""What a person may ask for from the page. Whoever starts the page says how: it is what the commands do.

Stopping needs the store alone. Resuming needs the doorbell too, so where there is none the page does not offer it.
"""

from __future__ import annotations

from typing import Protocol


class Actions(Protocol):
    """Raises SpotrelayError, whose words the page shows."""

    @property
    def resumes(self) -> bool:
        """Whether `resume` can be asked for here."""
        ...

    async def stop(self, run: str) -> None:
        """Checkpoint, save, end. Returns when it has been asked for, not when it is done."""
        ...

    async def resume(self, run: str) -> None:
        """A run that is over goes on from its newest snapshot."""
        ...
