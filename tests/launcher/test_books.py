"""May a run go on: what its past and its spec say together, from the objects that are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spotrelay.core import keys, records
from spotrelay.core.messages import ResumeRequest
from spotrelay.core.spec import Limits, Run, Spec
from spotrelay.launcher.books import STOPPED, Account, RunBooks
from spotrelay.launcher.ledger import Bill, Ledgers
from spotrelay.launcher.objects import Folder
from spotrelay.launcher.standing import Before, Standing

RUN = "demo"
NOW = 1_900_000_000.0


class DollarAnHour:
    def __init__(self, *, final: bool = True) -> None:
        self.final, self.looked_up = final, list[str]()

    def bill(self, market: str, instance_type: str, zone: str, start: float, end: float) -> Bill:
        return Bill((end - start) / 3600, self.final)

    def listed(self, instance_type: str) -> float | None:
        self.looked_up.append(instance_type)
        return 2.0


@dataclass
class Lived:
    """A run with attempts, one after the other, each of so many hours until now."""

    folder: Path
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self.objects = Folder(self.folder)
        self.spec = Spec(Run(RUN, ("true",), "/job"), limits=self.limits)
        self.objects.create(keys.spec(RUN), self.spec.encode())
        self.prices = DollarAnHour()
        self.books = RunBooks(self.objects, Ledgers(self.objects, self.prices, lambda: NOW), lambda: NOW)

    def attempt(self, number: int, *, since_h: float, until_h: float | None, ending: str = "handed over") -> None:
        """`until_h` hours ago it ended; None: it runs."""
        instance, at = f"i-{number:017x}", NOW - since_h * 3600
        claim = records.Claim(instance, "t", at, "m5.large", "us-east-1a", "spot")
        self.objects.create(keys.claim(RUN, number), records.encode(claim))
        heard = NOW if until_h is None else NOW - until_h * 3600
        kept_s = max(0.0, heard - at - 60)
        status = records.Status(instance, "running", heard, kept_s=kept_s)
        self.objects.put(keys.status(RUN, number), records.encode(status))
        if until_h is not None and ending == "handed over":
            own = f"{number}-0"
            handover = records.Handover(instance, "interrupted", heard, None, 0, True, 0, own, kept_s=kept_s)
            self.objects.create(keys.handover(RUN, number), records.encode(handover))

    def account(self, attempt: int, *, died: bool = False, cancel: bytes | None = None) -> Account:
        before = None
        if attempt > 1:
            before = Before(*(self._read(cls, key) for cls, key in _traces(attempt - 1).items()))
        standing = Standing(ResumeRequest(RUN, attempt), spec=self.spec, before=before, cancel=cancel)
        return self.books.account(standing, died=died)

    def end(self, attempt: int, *, died: bool = False, cancel: bytes | None = None) -> records.Cancel | None:
        return self.account(attempt, died=died, cancel=cancel).end

    def _read(self, cls: type, key: str) -> object:
        data = self.objects.get(key)
        return None if data is None else records.decode(cls, data, key=key)


def _traces(attempt: int) -> Mapping[type, str]:
    return {
        records.Claim: keys.claim(RUN, attempt),
        records.Handover: keys.handover(RUN, attempt),
        records.Status: keys.status(RUN, attempt),
    }


def test_first_attempt_may_be(tmp_path: Path) -> None:
    assert Lived(tmp_path, Limits(dollars=1, hours=1)).end(1) is None


@pytest.mark.parametrize(
    ("cancel", "expected"),
    [
        (b"", records.Cancel("stopped", STOPPED, NOW)),
        (b"enough", records.Cancel("stopped", STOPPED, NOW)),
        (
            records.encode(records.Cancel("limit", "limits.dollars = 4 is reached: 4.10 spent", 7.0)),
            records.Cancel("limit", "limits.dollars = 4 is reached: 4.10 spent", 7.0),
        ),
    ],
)
def test_cancel_is_passed_on_with_its_reason(cancel: bytes, expected: records.Cancel, tmp_path: Path) -> None:
    """The outcome says who stopped the run, a person or which limit."""
    assert expected == Lived(tmp_path).end(1, cancel=cancel)


def test_dollars_of_all_attempts_are_held_against_the_limit(tmp_path: Path) -> None:
    """Not those of the last one alone. Otherwise a run that is interrupted often enough costs what it likes."""
    run = Lived(tmp_path, Limits(dollars=5))
    run.attempt(1, since_h=10, until_h=7)
    run.attempt(2, since_h=6, until_h=5)
    assert run.end(3) is None

    run.attempt(3, since_h=4, until_h=2.75)
    assert records.Cancel("limit", "limits.dollars = 5 is reached: 5.25 spent", NOW) == run.end(4)


def test_crash_loop_ends_the_run(tmp_path: Path) -> None:
    """Machines that die under it, one after the other, with nothing to show. Otherwise it goes on until its hundredth
    attempt."""
    run = Lived(tmp_path, Limits(fruitless=3))
    run.attempt(1, since_h=9, until_h=8)
    for number in (2, 3):
        run.attempt(number, since_h=9 - number, until_h=8.5 - number, ending="died")
    assert run.end(4, died=True) is None

    run.attempt(4, since_h=2, until_h=1, ending="died")
    ended = run.end(5, died=True)
    assert ended is not None
    assert ended.message.startswith("limits.fruitless = 3 is reached: 3 attempts in a row")


def test_predecessor_that_still_saves_is_not_yet_counted(tmp_path: Path) -> None:
    """Told to go, alive, no hand-over: it may yet leave a snapshot. A ledger written now would deny it for ever."""
    run = Lived(tmp_path, Limits(fruitless=1))
    run.attempt(1, since_h=1, until_h=None)

    assert run.end(2, died=False) is None
    assert run.objects.get(keys.ledger(RUN, 1)) is None


@pytest.mark.parametrize(
    ("dollars", "told"), [(0, None), (3.01, None), (3, "limits.dollars = 3 is reached: 3.00 spent")]
)
def test_run_at_work_is_held_to_its_dollars(dollars: float, told: str | None, tmp_path: Path) -> None:
    """By what it has cost up to now, the attempt that runs included. Otherwise a machine that is never taken has no
    limit."""
    run = Lived(tmp_path, Limits(dollars=dollars))
    run.attempt(1, since_h=4, until_h=3)
    run.attempt(2, since_h=2, until_h=None)
    over = run.books.over(RUN)

    assert told == (None if over is None else over.message)
    assert over is None or "limit" == over.result


def test_run_that_is_not_there_is_not_over(tmp_path: Path) -> None:
    run = Lived(tmp_path)

    assert run.books.over("other") is None


def test_work_that_snapshots_keep_is_told(tmp_path: Path) -> None:
    """Of all attempts: it is not to be done again. Otherwise a run goes on demand though it is nearly finished."""
    run = Lived(tmp_path)
    run.attempt(1, since_h=9, until_h=8)
    run.attempt(2, since_h=5, until_h=3)

    assert 3 * 3600 - 2 * 60 == run.account(3).worked_s


def test_books_of_a_run_that_is_over_are_closed(tmp_path: Path) -> None:
    """What the last attempt cost is written as well, and the list prices to hold it against. Otherwise a receipt says
    "not known" of the attempt that finished the work."""
    run = Lived(tmp_path)
    run.attempt(1, since_h=10, until_h=7)
    run.attempt(2, since_h=6, until_h=1, ending="ended the run")

    assert run.books.settled(RUN, records.Outcome("succeeded", 2, NOW - 3600))
    ledger = run._read(records.Ledger, keys.ledger(RUN, 2))
    assert isinstance(ledger, records.Ledger)
    assert pytest.approx(8.0, abs=0.1) == ledger.dollars  # at most a minute more than it was
    assert ["m5.large"] == run.prices.looked_up


@pytest.mark.parametrize(("ago_h", "given_up"), [(0.1, False), (3.0, True)])
def test_books_wait_for_a_price_and_not_for_ever(ago_h: float, given_up: bool, tmp_path: Path) -> None:
    """A claim that is gone, a price list that is away: the run's mark stays for two hours. Otherwise a guess stands for
    ever, or the sweep looks at the run for ever."""
    run = Lived(tmp_path)

    assert given_up is run.books.settled(RUN, records.Outcome("succeeded", 2, NOW - ago_h * 3600))


def test_a_run_that_never_had_a_machine_has_no_books(tmp_path: Path) -> None:
    assert Lived(tmp_path).books.settled(RUN, records.Outcome("stopped", 0, NOW))
