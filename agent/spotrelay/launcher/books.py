"""May a run go on, and on which market: what its spec and its past say, asked before each new attempt."""

from __future__ import annotations

from collections.abc import Callable

from spotrelay.core import keys, records
from spotrelay.core.spec import Spec
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.standing import Records, Standing


class RunBooks:
    def __init__(self, objects: Objects, now: Callable[[], float]) -> None:
        self._records, self._now = Records(objects), now

    def end(self, standing: Standing, *, died: bool) -> records.Cancel | None:
        if standing.cancel is not None:
            told = records.Cancel.read(standing.cancel)
            return (
                told
                if told.message
                else records.Cancel("stopped", "a person stopped the run while no attempt was running")
            )
        assert standing.spec is not None
        limits, run = standing.spec.limits, standing.request.run
        if standing.request.attempt > limits.attempts:
            return records.Cancel("limit", f"limits.attempts = {limits.attempts} is reached")
        if limits.hours and self._now() - self._begun(run) > limits.hours * 3600:
            return records.Cancel("limit", f"limits.hours = {limits.hours:g} is reached")
        return None

    def market(self, spec: Spec, attempt: int, since: float, quota: bool) -> str:
        return spec.instance.market

    def _begun(self, run: str) -> float:
        first = self._records.read(records.Claim, keys.claim(run, 1))
        return first.at if first else self._now()
