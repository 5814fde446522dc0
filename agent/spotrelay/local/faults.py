"""What goes wrong on request: refusals, answers that never arrive, answers that arrive late.

The one that matters most is `lose_answer`: the instance is launched, the message sent, and the connection is reset
before the caller learns of it. Whatever then repeats the call must not double its effect, and only this proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spotrelay.local.wire import AwsError

Predicate = Callable[[Mapping[str, Any]], bool]


@dataclass(slots=True)
class _Fault:
    action: str
    times: int
    when: Predicate | None
    error: AwsError | None = None
    answer_lost: bool = False
    delay_s: float = 0.0

    def hits(self, action: str, params: Mapping[str, Any]) -> bool:
        return self.times > 0 and self.action == action and (self.when is None or self.when(params))


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What befalls an answer whose request has had its effect."""

    lost: bool = False
    delay_s: float = 0.0


class Faults:
    """Those asked for and not yet spent. `when` sees the request's parameters as boto3 names them; default: any."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []

    def refuse(
        self,
        action: str,
        code: str,
        *,
        status: int = 400,
        message: str = "",
        times: int = 1,
        when: Predicate | None = None,
    ) -> None:
        """Answer the next `times` calls of `action` with this error; they have no effect."""
        self._faults.append(_Fault(action, times, when, error=AwsError(code, message or code, status)))

    def lose_answer(self, action: str, *, times: int = 1, when: Predicate | None = None) -> None:
        """Let the call have its effect, then reset the connection."""
        self._faults.append(_Fault(action, times, when, answer_lost=True))

    def delay_answer(self, action: str, seconds: float, *, times: int = 1, when: Predicate | None = None) -> None:
        """Let the call have its effect at once and answer `seconds` later, if you like long after a client gave up."""
        self._faults.append(_Fault(action, times, when, delay_s=seconds))

    def clear(self) -> None:
        self._faults.clear()

    def before(self, action: str, params: Mapping[str, Any]) -> None:
        """Raises the AwsError that was asked for."""
        for fault in self._spend(action, params, refusals=True):
            assert fault.error is not None
            raise fault.error

    def after(self, action: str, params: Mapping[str, Any]) -> Aftermath:
        hits = self._spend(action, params, refusals=False)
        return Aftermath(any(fault.answer_lost for fault in hits), sum(fault.delay_s for fault in hits))

    def _spend(self, action: str, params: Mapping[str, Any], *, refusals: bool) -> list[_Fault]:
        hits = [f for f in self._faults if (f.error is not None) == refusals and f.hits(action, params)]
        # One refusal answers one call; a second one waits for the next.
        hits = hits[:1] if refusals else hits
        for fault in hits:
            fault.times -= 1
        self._faults = [f for f in self._faults if f.times > 0]
        return hits
