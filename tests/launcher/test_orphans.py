"""One instance, one run: what becomes of it, line by line of the tables in `orphans` and `unattended`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spotrelay.core import records
from spotrelay.launcher.inventory import Instance
from spotrelay.launcher.orphans import Evidence, Fate, Verdict, judge
from spotrelay.launcher.pools import FLEET_TAG, STACK_TAG
from spotrelay.launcher.unattended import Traces, missing

NOW = 1_800_000_000.0
MINUTE, HOUR = 60.0, 3600.0
ME, OTHER = "i-0123456789abcdef0", "i-0fedcba9876543210"
OURS = {STACK_TAG: "relay"}
OF_FLEET = {**OURS, FLEET_TAG: "f-0123456789abcdef0123"}
FLEET = records.Fleet("token", NOW, {}, ["a/1/0"])


def instance(age: float, *, state: str = "running", tags: dict[str, str] = OURS) -> Instance:
    return Instance(ME, state, NOW - age, tags)


def assigned(age: float, *, owner: str | None = None, state: str = "running") -> Evidence:
    claim = None if owner is None else records.Claim(owner, "token", NOW - age)
    return Evidence(instance(age, state=state), records.Assignment("a", 1), claim)


def owned(silence: float, *, over: bool = False, kept: bool = False, state: str = "running") -> Evidence:
    """By itself, since yesterday."""
    status = records.Status(ME, "running", NOW - silence)
    return replace(assigned(24 * HOUR, owner=ME, state=state), status=status, over=over, kept=kept)


def unassigned(age: float, *, tags: dict[str, str] = OF_FLEET, fleet: bool = True, state: str = "running") -> Evidence:
    return Evidence(instance(age, tags=tags, state=state), fleet=FLEET if fleet else None)


def foreign(tags: dict[str, str]) -> Evidence:
    return Evidence(instance(24 * HOUR, tags=tags))


CASES = [
    # whose it is
    (foreign({}), Verdict.FOREIGN),
    (foreign({STACK_TAG: "relay2"}), Verdict.FOREIGN),
    (foreign({FLEET_TAG: "f-0123456789abcdef0123"}), Verdict.FOREIGN),
    (replace(owned(2 * HOUR), instance=instance(HOUR, tags={})), Verdict.FOREIGN),
    # an owner that was heard of, whatever else is so
    (owned(0), Verdict.HEARD),
    (owned(14 * MINUTE), Verdict.HEARD),
    (owned(14 * MINUTE, over=True), Verdict.HEARD),
    (owned(14 * MINUTE, over=True, kept=True), Verdict.HEARD),
    (owned(14 * MINUTE, state="stopping"), Verdict.HEARD),
    (owned(14 * MINUTE, state="stopped"), Verdict.HEARD),
    (owned(-9 * MINUTE), Verdict.HEARD),  # its clock is ahead
    (assigned(14 * MINUTE, owner=ME), Verdict.HEARD),  # claimed, and no heartbeat yet
    (owned(-2 * HOUR), Verdict.SKEWED),
    # an owner that was not
    (owned(16 * MINUTE), Verdict.QUIET),
    (owned(29 * MINUTE), Verdict.QUIET),
    (owned(31 * MINUTE), Verdict.SILENT),
    (assigned(31 * MINUTE, owner=ME), Verdict.SILENT),
    (owned(16 * MINUTE, over=True), Verdict.DONE),
    (owned(16 * MINUTE, state="stopping"), Verdict.STOPPING),
    (owned(24 * HOUR, over=True, state="stopping"), Verdict.STOPPING),
    (owned(16 * MINUTE, state="stopped"), Verdict.STOPPED),
    # one that its run keeps
    (owned(16 * MINUTE, kept=True), Verdict.QUIET),
    (owned(31 * MINUTE, kept=True), Verdict.STUCK),
    (owned(24 * HOUR, kept=True, over=True), Verdict.KEPT),
    (owned(24 * HOUR, kept=True, over=True, state="stopped"), Verdict.KEPT),
    (replace(assigned(HOUR, owner=OTHER), kept=True), Verdict.LOST),  # only an owner can be kept
    # assigned, and not its owner
    (assigned(0), Verdict.COMING),
    (assigned(19 * MINUTE), Verdict.COMING),
    (assigned(21 * MINUTE), Verdict.STILLBORN),
    (assigned(4 * MINUTE, owner=OTHER), Verdict.COMING),
    (assigned(6 * MINUTE, owner=OTHER), Verdict.LOST),
    (assigned(0, state="stopped"), Verdict.STOPPED),
    (assigned(24 * HOUR, state="stopping"), Verdict.STOPPING),
    # not assigned
    (unassigned(-MINUTE), Verdict.COMING),
    (unassigned(59), Verdict.COMING),
    (unassigned(61), Verdict.WAITING),
    (unassigned(19 * MINUTE), Verdict.WAITING),
    (unassigned(21 * MINUTE), Verdict.UNWANTED),
    (unassigned(0, state="stopped"), Verdict.STOPPED),
    # its agent writes the assignment by itself: a person booted it, and gave it our tag
    (unassigned(19 * MINUTE, tags=OURS, fleet=False), Verdict.WAITING),
    (unassigned(21 * MINUTE, tags=OURS, fleet=False), Verdict.STRANGE),
    (unassigned(21 * MINUTE, tags=OURS, fleet=False, state="stopped"), Verdict.STRANGE),
    # the intent of its fleet is written before it is launched: if it is not there, this is not its store
    (unassigned(0, fleet=False), Verdict.STRANGE),
    (unassigned(24 * HOUR, fleet=False), Verdict.STRANGE),
    (unassigned(24 * HOUR, fleet=False, state="stopped"), Verdict.STRANGE),
]


@pytest.mark.parametrize(("evidence", "verdict"), CASES)
def test_each_case(evidence: Evidence, verdict: Verdict) -> None:
    """One wrong line ends somebody's work of days, or burns money for as long."""
    assert verdict is judge(evidence, "relay", NOW)


def test_every_verdict_has_a_case() -> None:
    assert set(Verdict) == {verdict for _, verdict in CASES}


def test_what_is_ended_never_has_an_owner_that_was_heard_of() -> None:
    """Over all cases, whatever their line says."""
    ended = [evidence for evidence, verdict in CASES if verdict.fate in (Fate.END, Fate.END_IF_FEW)]

    assert [] == [each for each in ended if each.owns and abs(NOW - each.heard_at) < 15 * MINUTE]


@pytest.mark.parametrize("off", [-10 * MINUTE, 10 * MINUTE], ids=["behind", "ahead"])
@pytest.mark.parametrize("so", [{}, {"over": True}, {"kept": True}, {"state": "stopping"}], ids=str)
def test_clock_that_is_ten_minutes_off_ends_no_owner(off: float, so: dict[str, Any]) -> None:
    """Ours or the instance's; and four of its heartbeats were lost besides. It saves, or publishes what a run of days
    has come to."""
    assert Verdict.HEARD is judge(owned(MINUTE + off, **so), "relay", NOW)


def traces(silence: float = 0.0, *, gone_at: float | None = None, over: bool = False, **so: bool) -> Traces:
    """Of attempt 3."""
    handover = records.Handover(ME, "interrupted", NOW, None, None, False, 0, None) if over else None
    status = records.Status(ME, "running", NOW - silence, gone_at)
    return Traces(3, records.Claim(ME, "token", NOW - HOUR), status, handover, **so)


@pytest.mark.parametrize(
    ("found", "attempt"),
    [
        (Traces(), 1),
        (Traces(coming=[1]), None),
        (Traces(coming=[2]), 1),
        (traces(there=True), None),
        (traces(HOUR, there=True), None),  # silent: ended first, or left for good reason
        (traces(over=True, there=True), 4),
        (traces(gone_at=NOW + 60, there=True), 4),
        (traces(there=True, marked=True), 4),
        (traces(2 * MINUTE), None),
        (traces(4 * MINUTE), 4),
        (replace(traces(4 * MINUTE), coming=[4]), None),
        (replace(traces(4 * MINUTE), coming=[3]), 4),
        (replace(traces(there=True, marked=True), coming=[4]), None),
        (replace(traces(), status=None), 4),
        (replace(traces(), status=None, claim=records.Claim(ME, "token", NOW - MINUTE)), None),
    ],
)
def test_which_attempt_is_missing(found: Traces, attempt: int | None) -> None:
    """A run that is not asked for waits for ever; one that is asked for beside a healthy owner costs bells."""
    assert attempt == missing(found, NOW)
