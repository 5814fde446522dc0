"""What goes wrong on request: refusals, answers that never arrive, answers that arrive late.

The one that matters most is `lose_answer`: the instance is launched, the message sent, and the connection is reset
before the caller learns of it. Whatever then repeats the call must not double its effect, and only this proves it.

A fault is for one action. It hits the next `times` calls (None: every call until `clear`), of those that `when` picks
by their parameters as boto3 names them, and of these a `chance` (0..1). That is drawn from a generator of its own, so
that it disturbs no id: one seed, one storm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any

from spotrelay.local.wire import AwsError

Predicate = Callable[[Mapping[str, Any]], bool]


@dataclass(slots=True)
class _Fault:
    times: float
    when: Predicate | None
    chance: float
    error: AwsError | None = None
    answer_lost: bool = False
    delay_s: float = 0.0

    def hits(self, params: Mapping[str, Any], rng: Random) -> bool:
        picked = self.times > 0 and (self.when is None or self.when(params))
        return picked and (self.chance >= 1 or rng.random() < self.chance)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What befalls an answer whose request has had its effect."""

    lost: bool = False
    delay_s: float = 0.0


NONE = Aftermath()


class Faults:
    """Those asked for and not yet spent, by action."""

    def __init__(self, seed: int = 0) -> None:
        self._faults: dict[str, list[_Fault]] = {}
        self._rng = Random(seed)

    def refuse(
        self,
        action: str,
        code: str,
        *,
        status: int = 400,
        message: str = "",
        times: int | None = 1,
        when: Predicate | None = None,
        chance: float = 1.0,
    ) -> None:
        """Answer calls of `action` with this error; they have no effect."""
        self._add(action, _Fault(_count(times), when, chance, error=AwsError(code, message or code, status)))

    def lose_answer(
        self, action: str, *, times: int | None = 1, when: Predicate | None = None, chance: float = 1.0
    ) -> None:
        """Let the call have its effect, then reset the connection."""
        self._add(action, _Fault(_count(times), when, chance, answer_lost=True))

    def delay_answer(
        self,
        action: str,
        seconds: float,
        *,
        times: int | None = 1,
        when: Predicate | None = None,
        chance: float = 1.0,
    ) -> None:
        """Let the call have its effect at once and answer `seconds` later, if you like long after a client gave up."""
        self._add(action, _Fault(_count(times), when, chance, delay_s=seconds))

    def clear(self) -> None:
        self._faults.clear()

    def before(self, action: str, params: Mapping[str, Any]) -> None:
        """Raises the AwsError that was asked for."""
        # One refusal answers one call; a second one waits for the next.
        for fault in self._faults.get(action, ()):
            if fault.error is not None and fault.hits(params, self._rng):
                self._spend(action, fault)
                # A new one each time: an exception that is raised for ever grows a traceback for ever.
                raise AwsError(fault.error.code, fault.error.message, fault.error.status)

    def after(self, action: str, params: Mapping[str, Any]) -> Aftermath:
        if action not in self._faults:
            return NONE
        hits = [fault for fault in self._faults[action] if fault.error is None and fault.hits(params, self._rng)]
        for fault in hits:
            self._spend(action, fault)
        return Aftermath(any(fault.answer_lost for fault in hits), sum(fault.delay_s for fault in hits))

    def _add(self, action: str, fault: _Fault) -> None:
        self._faults.setdefault(action, []).append(fault)

    def _spend(self, action: str, fault: _Fault) -> None:
        fault.times -= 1
        if fault.times <= 0:
            self._faults[action].remove(fault)
            if not self._faults[action]:
                del self._faults[action]


def _count(times: int | None) -> float:
    return inf if times is None else times
