"""Spot or on demand: what the next machine of a run is asked for, and when that answer will change. No I/O, no clock.

    market = "on-demand"         on demand
    on_demand = "never"          spot, however long it takes
    on_demand = "after 30m"      spot, until this hunt has lasted so long; the next hunt begins with spot again
    on_demand = "finish_by"      spot, until the slack is used up; then on demand to the end

The slack is what is left until `finish_by` when the work still to be done and the way to a machine are taken off. The
rule is the safety net of "Can't Be Late" (Wu et al., NSDI'24): a machine that is taken costs no slack while it works,
so a run on spot stays there; the answer matters when a machine is sought. To seek spot is safe as long as one more
interruption could still be mended on demand: two ways to a machine, and what a death without notice throws back.
Slack only shrinks (nobody works more than an hour an hour), so a run that went on demand does not come back.

A quota is no lack of capacity: it does not pass by waiting, only when other machines end. So where on-demand instances
are allowed at all, a refusal for the spot quota shortens the wait to the minutes in which EC2 forgets those that ended.
"""

from __future__ import annotations

from typing import Literal

from spotrelay.core.spec import FINISH_BY, Spec

Market = Literal["spot", "on-demand"]

# The way to a machine: its boot (half a minute to two), the restore (16 GiB in about a minute at 2.5 Gbit/s), and some
# rounds of the hunt. Too long costs some dollars of on-demand price at the end of a run; too short, the deadline.
CHANGEOVER_S = 600.0
# An instance that ends counts against the spot quota for about a minute more. Five say that it is not that.
QUOTA_S = 300.0


def market(spec: Spec, *, since: float, now: float, worked_s: float, spot_quota_refused: bool = False) -> Market:
    """`since`: when this hunt began. `worked_s`: the work that the run's snapshots keep (`records.Ledger`).
    `spot_quota_refused`: the hunt's latest answer was that the spot quota is used up."""
    change = _on_demand_at(spec, since, worked_s, spot_quota_refused)
    # Not >=: "after 0s" asks for spot once, and at its first refusal for the other.
    return "on-demand" if spec.instance.market == "on-demand" or (change is not None and now > change) else "spot"


def next_change_at(
    spec: Spec, *, since: float, now: float, worked_s: float, spot_quota_refused: bool = False
) -> float | None:
    """When `market` will say on-demand, if nothing else happens; None: it does by now, or never will."""
    change = _on_demand_at(spec, since, worked_s, spot_quota_refused)
    return change if spec.instance.market == "spot" and change is not None and now <= change else None


def _on_demand_at(spec: Spec, since: float, worked_s: float, spot_quota_refused: bool) -> float | None:
    instance, change = spec.instance, None
    if instance.on_demand_after_s is not None:
        change = since + instance.on_demand_after_s
    elif instance.on_demand == FINISH_BY and instance.finish_at is not None:
        # A run that has worked for longer than it was said to has no estimate any more: then the deadline alone counts.
        left_s = max(0.0, instance.work_hours * 3600 - worked_s)
        change = instance.finish_at - left_s - 2 * CHANGEOVER_S - spec.save.every_s
    return min(change, since + QUOTA_S) if change is not None and spot_quota_refused else change
