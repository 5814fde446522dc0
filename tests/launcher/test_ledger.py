"""What a run has used up: each attempt's own part, their sum, and that it is counted once whoever counts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotrelay.core import keys, records
from spotrelay.core.keys import SnapshotId
from spotrelay.core.records import Claim, Handover, Ledger, RecordInvalid, Status
from spotrelay.launcher.ledger import FREE_S, HEARD_S, LEAST_CHARGED_S, PRICES_WITHIN_S, Bill, Ledgers
from spotrelay.launcher.objects import Folder, Objects

RUN = "demo"
BEGAN = 1_800_000_000.0
DOLLAR_A_SECOND = 1.0


class Flat:
    """`ledger.Prices`: a dollar a second, for whatever. `asked`: what was asked for."""

    def __init__(self, *, known: bool = True, final: bool = True) -> None:
        self.known, self.final = known, final
        self.asked: list[tuple[str, str, str, float, float]] = []

    def bill(self, market: str, instance_type: str, zone: str, start: float, end: float) -> Bill:
        self.asked.append((market, instance_type, zone, start - BEGAN, end - BEGAN))
        return Bill((end - start) * DOLLAR_A_SECOND if self.known else None, self.final)


@dataclass
class Past:
    """What attempts left, by the seconds since the run began."""

    objects: Objects
    prices: Flat = field(default_factory=Flat)
    now: float = 1e6

    def claim(self, attempt: int = 1, at: float = 0.0, market: str = "spot") -> None:
        claim = Claim(f"i-{attempt:017x}", "token", BEGAN + at, "m5.large", "us-east-1a", market)
        assert self.objects.create(keys.claim(RUN, attempt), records.encode(claim))

    def status(self, attempt: int = 1, *, at: float, gone_at: float | None = None, **more: Any) -> None:
        gone = None if gone_at is None else BEGAN + gone_at
        status = Status(f"i-{attempt:017x}", "running", BEGAN + at, gone, **more)
        self.objects.put(keys.status(RUN, attempt), records.encode(status))

    def handover(self, attempt: int = 1, *, at: float, **more: Any) -> None:
        given = {"exit_code": 0, "clean": True, "errors": 0, "snapshot": None, "ended": None, **more}
        handover = Handover(f"i-{attempt:017x}", "interrupted", BEGAN + at, **given)
        assert self.objects.create(keys.handover(RUN, attempt), records.encode(handover))

    def snapshot(self, attempt: int = 1) -> None:
        assert self.objects.create(keys.snapshot(RUN, SnapshotId(attempt, 0)), b"manifest")

    def ledgers(self) -> Ledgers:
        """A launcher that remembers nothing."""
        return Ledgers(self.objects, self.prices, lambda: BEGAN + self.now)

    def through(self, attempt: int = 1, died_at: float | None = None) -> Ledger:
        return self.ledgers().through(RUN, attempt, died_at=None if died_at is None else BEGAN + died_at)

    def written(self, attempt: int = 1) -> Ledger | None:
        data = self.objects.get(keys.ledger(RUN, attempt))
        return None if data is None else records.decode(Ledger, data, key="")


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(Folder(tmp_path))


# --- one attempt


def test_before_the_first_attempt_nothing_is_used_up(past: Past) -> None:
    assert Ledger() == past.through(0)


@pytest.mark.parametrize(
    ("handover", "gone_at", "machine_s"),
    [
        pytest.param({"at": 5000, "notice": None}, None, 5000, id="by itself: until it handed over"),
        pytest.param({"at": 5000, "notice": "spot terminate"}, 5110, 5110, id="until EC2 takes it"),
        pytest.param({"at": 5000, "notice": "spot terminate"}, 4990, 5000, id="EC2 comes late"),
        pytest.param({"at": 5000, "notice": "system terminate"}, 5100, 5000, id="switched off"),
    ],
)
def test_attempt_that_handed_over(
    past: Past, handover: dict[str, Any], gone_at: float | None, machine_s: float
) -> None:
    """Its machine is paid until it ends, not until the agent has said its last word."""
    past.claim()
    past.status(at=4999, gone_at=gone_at)
    past.handover(**handover, snapshot="1-3", kept_s=4800.0, errors=1)
    ledger = past.through()

    assert machine_s == ledger.machine_s == ledger.dollars == ledger.at - BEGAN
    assert (1, BEGAN, 4800.0, 0, 1) == (ledger.attempt, ledger.began, ledger.worked_s, ledger.fruitless, ledger.errors)
    assert ledger == past.written()


@pytest.mark.parametrize(
    ("status", "died_at", "machine_s"),
    [
        pytest.param({"at": 5000}, 5010, 5010, id="EC2 says so at once"),
        pytest.param({"at": 5000}, 90_000, 5000 + HEARD_S, id="found out a day later"),
        pytest.param({"at": 5000, "gone_at": 5120}, 5100, 5100, id="taken while it saved"),
        pytest.param(None, 70, HEARD_S, id="died before its first heartbeat"),
        pytest.param({"at": 5000}, -5, 0, id="a clock that is behind"),
    ],
)
def test_attempt_that_died_without_a_word(
    past: Past, status: dict[str, Any] | None, died_at: float, machine_s: float
) -> None:
    """Until it was last heard of. Otherwise a death that is noticed late is paid for twice, and ends the run early."""
    past.claim()
    if status is not None:
        past.status(**status, kept_s=4500.0)
    ledger = past.through(died_at=died_at)

    assert machine_s == ledger.machine_s
    assert (4500.0 if status else 0.0) == ledger.worked_s
    assert ledger == past.written()


def test_attempt_that_runs_is_counted_until_now_and_not_written(past: Past) -> None:
    """The sweep asks what it has cost by now; in a minute it is more. Written, it would stay at that for ever."""
    past.claim()
    past.status(at=4990, kept_s=4200.0)
    past.now = 5000
    ledger = past.through()

    assert (5000, 5000, 4200, 0) == (ledger.machine_s, ledger.dollars, ledger.worked_s, ledger.fruitless)
    assert past.written() is None


def test_attempt_that_is_silent_is_counted_until_it_was_heard_of(past: Past) -> None:
    """It may be dead, and its death not known yet. Otherwise an hour that nobody pays for ends a run."""
    past.claim()
    past.status(at=1000)
    past.now = 9000

    assert 1000 + HEARD_S == past.through().machine_s
    assert past.written() is None


def test_attempt_that_nobody_claimed_uses_nothing(past: Past) -> None:
    assert Ledger() == past.through(1, died_at=7)
    assert past.written() is None


@pytest.mark.parametrize(
    ("market", "notice", "end_s", "charged"),
    [
        ("spot", "spot terminate", FREE_S - 1, False),
        ("spot", "spot terminate", FREE_S, True),
        ("spot", None, 600, True),
        ("spot", "system terminate", 600, True),
        ("on-demand", "scheduled retire", 600, True),
    ],
)
def test_first_hour_is_free_when_it_was_ec2_that_ended_it(
    past: Past, market: str, notice: str | None, end_s: float, charged: bool
) -> None:
    """And only then, and with the boot taken off the hour. Otherwise a run that is evicted early and often is ended by
    a limit for dollars that nobody charges, or goes on though they are."""
    past.claim(market=market)
    past.handover(at=end_s, notice=notice)

    assert (end_s if charged else 0) == past.through().dollars
    assert 0 == past.through().unpriced_s


def test_least_that_is_charged_is_a_minute(past: Past) -> None:
    """Of money, not of machine time."""
    past.claim(market="on-demand")
    past.handover(at=5)
    ledger = past.through()

    assert (5, LEAST_CHARGED_S) == (ledger.machine_s, ledger.dollars)
    assert [("on-demand", "m5.large", "us-east-1a", 0, LEAST_CHARGED_S)] == past.prices.asked


# --- attempts that lead to nothing


@pytest.mark.parametrize(
    ("handover", "status", "snapshot", "fruitless"),
    [
        pytest.param(None, {"at": 9}, False, 3, id="died without a word"),
        pytest.param(None, None, False, 3, id="died at once"),
        pytest.param({"at": 9, "notice": None}, None, False, 3, id="could not begin"),
        pytest.param({"at": 9, "notice": None, "snapshot": "2-7"}, None, False, 3, id="what others left"),
        pytest.param({"at": 9, "notice": None, "snapshot": "3-0"}, None, False, 0, id="its own snapshot"),
        pytest.param(None, {"at": 9, "snapshot": "3-0"}, False, 0, id="its heartbeat says so"),
        pytest.param(None, {"at": 9, "snapshot": "2-7"}, True, 0, id="saved after its last heartbeat"),
        pytest.param(None, {"at": 9, "gone_at": 99}, False, 2, id="taken before it could"),
        pytest.param({"at": 9, "notice": "spot terminate"}, None, False, 2, id="evicted before it could"),
    ],
)
def test_attempts_that_led_to_nothing_are_counted(
    past: Past, handover: dict[str, Any] | None, status: dict[str, Any] | None, snapshot: bool, fruitless: int
) -> None:
    """In a row: a snapshot is progress and ends it. An eviction is nobody's fault: it neither adds nor forgives.
    Otherwise a machine that always dies is replaced for ever, or bad weather ends a healthy run."""
    before = Ledger(2, BEGAN, BEGAN, fruitless=2)
    past.objects.create(keys.ledger(RUN, 2), records.encode(before))
    past.claim(3)
    if status is not None:
        past.status(3, **status)
    if handover is not None:
        past.handover(3, **handover)
    if snapshot:
        past.snapshot(3)

    assert fruitless == past.through(3, died_at=100).fruitless


def test_snapshots_of_other_attempts_are_not_its_own(past: Past) -> None:
    """1 is no 11."""
    past.claim()
    past.handover(at=9, notice=None, snapshot="11-0")
    past.snapshot(11)

    assert 1 == past.through().fruitless


# --- prices that cannot be had


def test_seconds_without_a_price_are_counted_apart(past: Past) -> None:
    """Not as free. Otherwise a limit in dollars is none where nobody knows the price."""
    past.prices.known = False
    past.claim()
    past.handover(at=600)
    ledger = past.through()

    assert (0.0, 600.0) == (ledger.dollars, ledger.unpriced_s)
    assert ledger == past.written()


def test_price_that_cannot_be_had_at_the_moment_is_waited_for(past: Past) -> None:
    """The ledger is not written, and the next one to ask gets it right; nor is what stands on it. Otherwise a minute
    without EC2's price list is missing from the sum for ever."""
    past.prices = Flat(known=False, final=False)
    past.claim(1)
    past.handover(1, at=600)
    past.claim(2, at=700)
    past.handover(2, at=1000)
    past.now = 1100
    assert 900 == past.through(2).unpriced_s
    assert [None, None] == [past.written(1), past.written(2)]

    past.prices = Flat()
    assert (900, 0) == (past.through(2).dollars, past.through(2).unpriced_s)
    assert [600, 900] == [ledger.dollars for n in (1, 2) if (ledger := past.written(n)) is not None]


def test_price_that_never_comes_is_not_waited_for_longer_than_an_hour(past: Past) -> None:
    """Otherwise each decision counts the run from its beginning again."""
    past.prices = Flat(known=False, final=False)
    past.claim()
    past.handover(at=600)
    past.now = 600 + PRICES_WITHIN_S + 1

    assert past.through() == past.written()


# --- once, whoever counts


class Watched:
    """Objects that note their calls; `before_create` comes in between."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.calls: list[str] = []
        self.before_create: Any = None

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append(name)
            if name == "create" and self.before_create is not None:
                act, self.before_create = self.before_create, None
                act()
            return getattr(self._objects, name)(*args)

        return call


def test_what_is_written_costs_one_read(past: Past) -> None:
    """However old the run. Otherwise the hundredth decision of a run costs what all before it did together."""
    for attempt in range(1, 6):
        past.claim(attempt, at=attempt * 1000)
        past.handover(attempt, at=attempt * 1000 + 500, snapshot=f"{attempt}-0")
    past.through(5)
    past.objects = Watched(past.objects)
    assert past.written(5) == past.through(5)
    assert ["get"] == past.objects.calls[1:]

    past.claim(6, at=6000)
    past.handover(6, at=6500, snapshot="6-0")
    past.objects.calls.clear()
    past.through(6)
    assert ["get"] * 5 + ["create"] == past.objects.calls


def test_of_two_launchers_the_first_one_s_word_is_both_s(past: Past) -> None:
    """One heard of the death at once, one an hour later. Otherwise the run's past depends on who looks."""
    past.claim()
    past.status(at=1000)
    watched, firsts = Watched(past.objects), list[Ledger]()
    watched.before_create = lambda: firsts.append(past.through(died_at=1005))
    second = Ledgers(watched, past.prices, lambda: BEGAN + 5000).through(RUN, 1, died_at=BEGAN + 4600)

    assert [second] == firsts
    assert 1005 == second.machine_s


def test_damaged_ledger_is_told(past: Past) -> None:
    """Not counted anew: it may have been written before something else was damaged or removed."""
    past.claim()
    past.objects.create(keys.ledger(RUN, 1), b"{")
    with pytest.raises(RecordInvalid, match=keys.ledger(RUN, 1)):
        past.through()


@dataclass(frozen=True)
class Part:
    """One attempt of a made-up past, and what it adds."""

    rest_s: float
    machine_s: float
    kept_s: float
    ending: str
    saved: bool

    def fruitless(self, before: int) -> int:
        return 0 if self.saved else before if self.ending == "noticed" else before + 1


PARTS = st.builds(
    Part,
    rest_s=st.floats(0, 1e4),
    machine_s=st.floats(FREE_S, 1e5),
    kept_s=st.floats(0, 1e5),
    ending=st.sampled_from(["noticed", "handed over", "died"]),
    saved=st.booleans(),
)


@contextmanager
def lived(parts: list[Part]) -> Iterator[tuple[Past, list[Ledger]]]:
    """A past of these attempts, and what the ledger through each must be."""
    with tempfile.TemporaryDirectory() as folder:
        past, expected, at = Past(Folder(Path(folder)), now=1e9), [Ledger()], 0.0
        for attempt, part in enumerate(parts, 1):
            before, at = expected[-1], at + part.rest_s
            past.claim(attempt, at=at)
            end, snapshot = at + part.machine_s, f"{attempt}-0" if part.saved else None
            left = {"kept_s": part.kept_s, "snapshot": snapshot}
            if part.ending == "died":
                past.status(attempt, at=end - HEARD_S, **left)
            else:
                past.handover(attempt, at=end, notice="spot terminate" if part.ending == "noticed" else None, **left)
            expected.append(
                Ledger(
                    attempt,
                    BEGAN + end,
                    BEGAN + parts[0].rest_s,
                    before.worked_s + part.kept_s,
                    before.machine_s + part.machine_s,
                    before.dollars + part.machine_s * DOLLAR_A_SECOND,
                    0.0,
                    part.fruitless(before.fruitless),
                    0,
                )
            )
            at = end
        yield past, expected


def values(ledger: Ledger) -> list[float]:
    return [getattr(ledger, name) for name in Ledger.__slots__]


def figures(ledger: Ledger) -> Any:
    """Within a millisecond: sums of seconds since 1970 differ in their last digits by the order of summing."""
    return pytest.approx(values(ledger), abs=1e-3)


@settings(deadline=None)
@given(parts=st.lists(PARTS, min_size=1, max_size=8), data=st.data())
def test_ledger_is_the_sum_of_its_parts_in_whatever_order_it_is_asked_for(
    parts: list[Part], data: st.DataObject
) -> None:
    """Each time by a launcher that remembers nothing; some attempts are never asked for, some twice, old ones late.
    Otherwise a lost message makes a run cheaper than it was."""
    order = data.draw(st.lists(st.integers(0, len(parts)), min_size=1, max_size=12))
    with lived(parts) as (past, expected):
        for attempt in order:
            # The caller knows of the death of the one it asks about; of older ones it is implied.
            found = past.through(attempt, died_at=1e9)

            assert figures(expected[attempt]) == values(found)
        for attempt in range(1, max(order) + 1):
            written = past.written(attempt)
            assert written is None or figures(expected[attempt]) == values(written)
