"""A receipt in words: the same in a terminal, on a page and in a picture (whose font has no arrows). What is not known
is "?", or is left out."""

from __future__ import annotations

from spotrelay.cli import told
from spotrelay.person.leg import DIED, ERROR, INTERRUPTED, WORKS, Leg
from spotrelay.person.receipt import Receipt, Sum


def headline(found: Receipt) -> str:
    state = found.result or "goes on"
    took = ""
    if found.began_at is not None and found.ended_at is not None:
        took = f" after {told.seconds(found.ended_at - found.began_at)}"
    number = len(found.legs)
    return f"{found.run}: {state}{took}, {number} attempt{'s' * (number != 1)}"


def leg(each: Leg) -> str:
    """How it ended and what that took."""
    parts = [_end(each)]
    if each.end == INTERRUPTED and each.saved_s is not None:
        parts.append(f"saved {told.seconds(each.saved_s)} after the notice")
    if each.again_s is not None:
        parts.append(f"running again after {told.seconds(each.again_s)}")
    if each.unstarted and each.end in (INTERRUPTED, ERROR, DIED):
        parts.append("nothing lost: it had not started" + ("" if each.lost_exactly else " when it was last heard of"))
    elif each.end != WORKS and each.lost_s is not None and (each.lost_s or each.end in (INTERRUPTED, DIED)):
        parts.append(f"lost {_bounds(each.lost_s, each)}")
    if each.restored_bytes is not None and each.began_from is not None:
        parts.append(f"began from {each.began_from} ({told.size(each.restored_bytes)})")
    parts.append("free: taken in its first hour" if each.free else _dollars(each.dollars))
    return " · ".join(part for part in parts if part)


def _end(each: Leg) -> str:
    return "died without a word" if each.end == DIED else each.end


def _bounds(least: float, each: Leg) -> str:
    if each.lost_exactly:
        return told.seconds(least)
    most = each.lost_most_s
    return f"at least {told.seconds(least)}" if most is None else f"{told.seconds(least)} to {told.seconds(most)}"


def _dollars(number: float | None) -> str:
    return "" if number is None else told.dollars(number)


def totals(found: Receipt) -> list[tuple[str, str]]:
    """Name and value."""
    rows = [
        ("worked", _sum(found.worked, told.seconds)),
        ("lost", _lost(found)),
        ("machines", _sum(found.machine, told.seconds)),
        ("cost", _sum(found.dollars, told.dollars)),
        ("on demand", _on_demand(found)),
        ("free hours", _free(found)),
        ("why", found.message),
        ("trouble", found.trouble),
    ]
    return [(name, value) for name, value in rows if value]


def _sum(total: Sum, tell: object) -> str:
    assert callable(tell)
    if not total.unknown:
        return str(tell(total.known))
    return f"{tell(total.known)}, and {told.UNKNOWN} for {total.unknown} attempt{'s' * (total.unknown != 1)}"


def _lost(found: Receipt) -> str:
    least = "at least " if any(not each.lost_exactly for each in found.legs) else ""
    return least + _sum(found.lost, told.seconds)


def _on_demand(found: Receipt) -> str:
    if found.on_demand.unknown == len(found.legs):
        return "not known: the bucket has no list price for these machines" if found.legs else ""
    same = f"{_sum(found.on_demand, told.dollars)} for the same machines and seconds"
    saved = found.saved_dollars
    return same if saved is None else f"{same}: {told.dollars(max(0.0, saved))} saved"


def _free(found: Receipt) -> str:
    if not found.free_legs:
        return ""
    worth = "" if found.free_dollars is None else f", {told.dollars(found.free_dollars)} on demand"
    number = f"{found.free_legs} attempt{'s' * (found.free_legs != 1)}"
    return f"{number} of {told.seconds(found.free_s)} not charged, taken in the first hour{worth}"
