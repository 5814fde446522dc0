"""Ctrl-C amid work: a person hears what was done by then, and what the same command does next. The exit code is 130.

A first one cancels the work at its next `await`. What must not be awaited for longer than a person waits (AWS's own
client, in a thread) is left behind: the process ends by `leave`, which waits for no thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def said_when_left(console: Console, words: str | Callable[[], str]) -> Iterator[None]:
    """`words`: as they are by then, where that changes."""
    try:
        yield
    except asyncio.CancelledError:
        console.print(words if isinstance(words, str) else words(), markup=False, soft_wrap=True)
        raise
