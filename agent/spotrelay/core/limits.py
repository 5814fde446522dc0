"""Whether a run may go on: the one place that holds [limits] against what was used up. No I/O, no clock.

Asked before a new attempt, and by the sweep for attempts that run. The agent itself holds `error_retries` (it knows how
the command ended) and `hours` while it runs, so that neither waits for a sweep.

A limit in dollars is only as good as the prices. Where nobody knows one (no permission to ask, a type that is not
listed), the dollars are those that are known, and the seconds without a price have a limit of their own: an hour, then
the run ends rather than spend what it cannot count. Its data is kept, and the message says what is missing.
"""

from __future__ import annotations

from spotrelay.core.records import Ledger
from spotrelay.core.spec import Spec

# Long enough for a price list that is away for a while, short enough for a machine of a hundred dollars an hour.
MOST_UNPRICED_S = 3600.0


def reached(spec: Spec, attempt: int, ledger: Ledger, now: float) -> str | None:
    """Why attempt `attempt` may not begin, or not go on; None: it may. `ledger`: of all attempts before it, or, of one
    that runs, through itself."""
    limits = spec.limits
    if attempt > limits.attempts:
        return f"limits.attempts = {limits.attempts} is reached"
    if 0 < limits.fruitless <= ledger.fruitless:
        return (
            f"limits.fruitless = {limits.fruitless} is reached: {ledger.fruitless} attempts in a row ended without "
            "notice and left no snapshot"
        )
    if limits.hours and ledger.began and now - ledger.began > limits.hours * 3600:
        return f"limits.hours = {limits.hours:g} is reached"
    return _money(limits.dollars, ledger) if limits.dollars else None


def _money(most: float, ledger: Ledger) -> str | None:
    unknown = f"the price of {ledger.unpriced_s / 3600:.1f} machine hours is not known"
    if ledger.dollars >= most:
        spent = f"limits.dollars = {most:g} is reached: {ledger.dollars:.2f} spent"
        return f"{spent}, and {unknown}" if ledger.unpriced_s else spent
    if ledger.unpriced_s > MOST_UNPRICED_S:
        return f"limits.dollars = {most:g} cannot be held: {ledger.dollars:.2f} spent, and {unknown}"
    return None
