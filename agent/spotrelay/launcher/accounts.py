"""May a run go on, and on which market: what its spec allows, held against what it has used up.

Asked before each step of a hunt (`succession.Books`), and by the sweep for runs at work (`sweep.Limits`), which a limit
in dollars can end between two attempts' beginnings. A cancel comes first: a person's word, or a limit's that was found.
"""

from __future__ import annotations

from collections.abc import Callable

from spotrelay.core import keys, spec
from spotrelay.core.records import Cancel
from spotrelay.core.spec import FINISH_BY, Spec
from spotrelay.launcher.ledger import Ledgers, Prices
from spotrelay.launcher.limits import reached
from spotrelay.launcher.market import Market, market, next_change_at
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.standing import Standing

# Specs never change, and are remembered; a few kB each.
MOST_REMEMBERED = 10_000


class Accounts:
    """Used by many threads at once."""

    def __init__(self, objects: Objects, prices: Prices, now: Callable[[], float]) -> None:
        self._objects, self._now = objects, now
        self._ledgers = Ledgers(objects, prices, now)
        self._dollars: dict[str, Spec | None] = {}

    def end(self, standing: Standing, *, died: bool) -> Cancel | None:
        """Why the attempt that is asked for may not be; the message is never empty. `died`: the one before it is dead,
        and has said all it will. Raises StoreError, RecordInvalid."""
        if standing.cancel is not None:
            told = Cancel.read(standing.cancel)
            return told if told.message else Cancel(told.result, "stopped by a person", told.at)
        assert standing.spec is not None
        request, now = standing.request, self._now()
        used = self._ledgers.through(
            request.run, request.attempt - 1, died_at=now if died else None, traces=standing.before
        )
        return _limit(reached(standing.spec, request.attempt, used, now), now)

    def over(self, run: str) -> Cancel | None:
        """Which limit a run at work has reached. Only dollars are looked at: hours its agent holds itself, and the
        others cannot be reached by going on. Raises StoreError, RecordInvalid, SpecError."""
        limited = self._with_dollars(run)
        if limited is None:
            return None
        names = self._objects.folders(keys.attempts(run))
        attempt = max((int(name) for name in names if name.isdecimal()), default=0)
        now = self._now()
        return _limit(reached(limited, attempt, self._ledgers.through(run, attempt), now), now)

    def market(self, spec: Spec, attempt: int, since: float, quota: bool) -> Market:
        """On which market attempt `attempt` is sought. `quota`: EC2 said that the account may have no more spot."""
        worked_s = self._worked_s(spec, attempt)
        return market(spec, since=since, now=self._now(), worked_s=worked_s, spot_quota_refused=quota)

    def market_changes_at(self, spec: Spec, attempt: int, since: float, quota: bool) -> float | None:
        """When that will be on demand; None: it is, or will not be."""
        worked_s = self._worked_s(spec, attempt)
        return next_change_at(spec, since=since, now=self._now(), worked_s=worked_s, spot_quota_refused=quota)

    def _worked_s(self, spec: Spec, attempt: int) -> float:
        if spec.instance.market != "spot" or spec.instance.on_demand != FINISH_BY:
            return 0.0  # nobody asks
        return self._ledgers.through(spec.run.name, attempt - 1).worked_s

    def _with_dollars(self, run: str) -> Spec | None:
        """The spec of a run that has a limit in dollars."""
        if run not in self._dollars:
            key = keys.spec(run)
            data = self._objects.get(key)
            if data is None:
                return None
            found = spec.from_json(data, source=key)
            if len(self._dollars) >= MOST_REMEMBERED:
                self._dollars.clear()
            self._dollars[run] = found if found.limits.dollars else None
        return self._dollars.get(run)


def _limit(why: str | None, now: float) -> Cancel | None:
    return None if why is None else Cancel("limit", why, now)
