"""A fact that several checks stand on: asked for once, by whichever comes first, while the others wait for the answer.

One check is about the fact itself and meets what really happened (`first_hand`); to all others it is there, or it is
Missing (`get`). That is how twenty checks without credentials become one finding.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Missing(Exception):
    """What a check stands on is not there; the text names it."""


class Known(Generic[T]):
    def __init__(self, name: str, ask: Callable[[], T]) -> None:
        self._name = name
        self._ask = ask
        self._lock = Lock()
        self._answer: list[T] = []
        self._error: Exception | None = None

    def first_hand(self) -> T:
        """Raises what asking raised, to everybody who asks this way."""
        with self._lock:
            if self._error is None and not self._answer:
                try:
                    self._answer.append(self._ask())
                except Exception as error:  # it is kept for whoever the fact is about
                    self._error = error
        if self._error is not None:
            raise self._error
        return self._answer[0]

    def get(self) -> T:
        """Raises Missing, with the name of what is missing at the bottom."""
        try:
            return self.first_hand()
        except Missing:
            raise
        except Exception as error:
            raise Missing(self._name) from error
