"""May a run go on: a person's word and the run's limits, held against its ledger.

Asked in two places. Before each new attempt, by the launcher, from what it has read already; and by the sweep, for an
attempt that runs: a limit of hours or dollars must not wait for the next interruption.

And once a run is over its books are closed, by the sweep: the last attempt's ledger is written, and list prices are
looked up for the types it ran on. Nobody waits for that; it is what a receipt is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spotrelay.core import keys, limits, records, spec
from spotrelay.launcher.ledger import PRICES_WITHIN_S, Ledgers
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.standing import Records, Standing

# A price that is not to be had holds a ledger up for half of that. What is missing then will not come.
SETTLED_WITHIN_S = 2 * PRICES_WITHIN_S
STOPPED = "a person stopped the run while no attempt was running"


@dataclass(frozen=True, slots=True)
class Account:
    """`end`: why the run may not go on. `worked_s`: the work that its snapshots keep."""

    end: records.Cancel | None
    worked_s: float


class RunBooks:
    """Each method raises StoreError, and RecordInvalid for what is damaged."""

    def __init__(self, objects: Objects, ledgers: Ledgers, now: Callable[[], float]) -> None:
        self._objects, self._ledgers, self._now = objects, ledgers, now
        self._records = Records(objects)

    def account(self, standing: Standing, *, died: bool) -> Account:
        """Before a new attempt. `died`: its predecessor is dead, and has said all it will."""
        assert standing.spec is not None
        run, attempt = standing.request.run, standing.request.attempt
        if standing.cancel is not None:
            told = records.Cancel.read(standing.cancel)
            return Account(told if told.message else records.Cancel(told.result, STOPPED, self._now()), 0.0)
        died_at = self._now() if died else None
        ledger = self._ledgers.through(run, attempt - 1, died_at=died_at, traces=standing.before)
        return Account(self._reached(standing.spec, attempt, ledger), ledger.worked_s)

    def over(self, run: str) -> records.Cancel | None:
        """Which limit a run that works has reached."""
        data = self._objects.get(keys.spec(run))
        attempts = [int(name) for name in self._objects.folders(keys.attempts(run)) if name.isdecimal()]
        if data is None or not attempts:
            return None
        specification, attempt = spec.from_json(data, source=keys.spec(run)), max(attempts)
        if not (specification.limits.hours or specification.limits.dollars):
            return None
        return self._reached(specification, attempt, self._ledgers.through(run, attempt))

    def settled(self, run: str, outcome: records.Outcome) -> bool:
        """Close the books of a run that is over. Whether that is done, or was tried for long enough."""
        if not outcome.attempt:
            return True
        self._ledgers.through(run, outcome.attempt, died_at=self._now())
        if self._objects.get(keys.ledger(run, outcome.attempt)) is None:
            return self._now() > outcome.at + SETTLED_WITHIN_S
        self._ledgers.look_up_list_prices(run, outcome.attempt)
        return True

    def _reached(self, specification: spec.Spec, attempt: int, ledger: records.Ledger) -> records.Cancel | None:
        message = limits.reached(specification, attempt, ledger, self._now())
        return None if message is None else records.Cancel("limit", message, self._now())
