"""From what was seen to the verdict, its code, and what a person is told to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.cli import advice, exits, verdict
from spotrelay.cli.moments import Moment
from spotrelay.cli.plan import Plan
from spotrelay.cli.report import AttemptReport, Interruptions, OutcomeReport, OutsideWriteReport, Report

GIB = 1 << 30


def plan(**changes: Any) -> Plan:
    return Plan(command=["train"], directory=Path("/job"), moments=[Moment(1.0)], **changes)


def noticed(number: int = 1, **changes: Any) -> AttemptReport:
    """An attempt as it should be: told, it saved and ended."""
    told = {
        "ended_by": "notice",
        "end": "exit code 0",
        "exit_code": 0,
        "clean": True,
        "reacted": True,
        "term_to_exit_s": 1.0,
        "save_s": 0.1,
        "saved_bytes": 1000,
        "changed": True,
    }
    return AttemptReport(number, f"i-{number}", **{**told, **changes})


def died(number: int = 1, **changes: Any) -> AttemptReport:
    return AttemptReport(number, f"i-{number}", ended_by="sudden death", **changes)


def last(number: int = 2, **changes: Any) -> AttemptReport:
    return AttemptReport(
        number, f"i-{number}", **{"ended_by": "itself", "end": "exit code 0", "exit_code": 0, **changes}
    )


def judged(
    *attempts: AttemptReport, result: str | None = "succeeded", of: Plan | None = None, **changes: Any
) -> Report:
    report = Report(["train"], "/job", **{"isolation": "full", "outside_writes": [], **changes})
    report.attempts = list(attempts)
    report.outcome = OutcomeReport(result, 0, "the command ended with exit code 3") if result else None
    held = sum(attempt.ended_by != "itself" for attempt in attempts)
    report.interruptions = Interruptions(planned=max(1, held), held=held)
    verdict.judge(report, of or plan())
    advice.give(report, of or plan())
    return report


def elsewhere(path: str = "/tmp/checkpoint", kind: str = "created", size: int = 10) -> OutsideWriteReport:
    return OutsideWriteReport(path, kind, size, [1])


CASES = {
    "resumable": judged(noticed(), last(continued=True)),
    "starts-over": judged(noticed(), last(continued=False)),
    "ignores-sigterm": judged(noticed(reacted=False, end="SIGKILL"), last(continued=True)),
    "state-elsewhere": judged(noticed(), last(continued=False), outside_writes=[elsewhere()]),
    "too-slow": judged(noticed(saved_bytes=100 * GIB), last(continued=True)),
    "failed": judged(last(1, exit_code=3), result="failed"),
    "not-interrupted": judged(last(1)),
    "cannot-tell": judged(noticed(), last()),
}


def test_every_verdict_has_its_case() -> None:
    """Each name and code is reached, and only one is good. Otherwise a row of the README is never seen."""
    assert {v.name: v.exit_code for v in verdict.ALL} == {r.verdict: r.exit_code for r in CASES.values()}
    assert list(CASES) == [report.verdict for report in CASES.values()]
    assert ["resumable"] == [report.verdict for report in CASES.values() if report.ok]


@pytest.mark.parametrize("report", [r for r in CASES.values() if not r.ok], ids=lambda r: r.verdict)
def test_every_bad_verdict_comes_with_a_next_step(report: Report) -> None:
    """Whoever is told no is told what to do. Otherwise the verdict is a mark, not a help."""
    assert report.advice
    assert report.explanation


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (judged(noticed(reacted=False), last(exit_code=3), result="failed"), "failed"),
        (judged(noticed(reacted=False), last(continued=False)), "ignores-sigterm"),
        (judged(noticed(saved_bytes=100 * GIB), last(continued=False)), "starts-over"),
        (judged(noticed(saved_bytes=100 * GIB), last()), "too-slow"),
        (judged(noticed(), noticed(2, continued=True), last(3, continued=False)), "starts-over"),
    ],
)
def test_of_two_faults_the_one_to_mend_first(report: Report, expected: str) -> None:
    """What makes the other pointless goes before it. Otherwise a person shrinks a checkpoint that nothing reads."""
    assert expected == report.verdict


def test_a_sudden_death_alone_judges_only_where_there_was_no_notice() -> None:
    """What a sudden death costs depends on how often a program saves; with a notice it had its chance. Otherwise a
    program that saves at the signal, as it should, is said to start over."""
    mixed = judged(noticed(1), died(2, continued=True), last(3, continued=False))

    assert "resumable" == mixed.verdict
    assert any("sudden death" in line for line in mixed.advice)
    assert "starts-over" == judged(died(1), last(2, continued=False)).verdict


def test_noise_beside_the_work_is_no_state() -> None:
    """Caches that are made again and files that were deleted or are empty are not where the state went. Otherwise a
    person is sent after __pycache__."""
    noise = [
        elsewhere("/usr/lib/x/__pycache__/y.pyc"),
        elsewhere("/tmp/gone", "deleted"),
        elsewhere("/tmp/lock", size=0),
    ]

    assert "starts-over" == judged(noticed(), last(continued=False), outside_writes=noise).verdict


def test_what_is_written_elsewhere_and_not_needed_is_no_fault() -> None:
    """A log in /var/log beside a checkpoint in its place: resumable, and mentioned. Otherwise nobody may log."""
    report = judged(noticed(), last(continued=True), outside_writes=[elsewhere("/var/log/train.log")])

    assert "resumable" == report.verdict
    assert any("/var/log/train.log" in line for line in report.advice)


def test_without_isolation_what_went_on_from_nothing_found_its_state_elsewhere() -> None:
    """Machines that share a computer share /var/tmp: a program that leaves nothing in its directory and goes on is not
    resumable. Otherwise it passes in a container and starts over in the cloud."""
    refused = {"isolation": "refused", "outside_writes": None}

    assert "state-elsewhere" == judged(noticed(changed=False), last(continued=True), **refused).verdict
    passed = judged(noticed(changed=True), last(continued=True), **refused)
    assert "resumable" == passed.verdict
    assert any("shared" in line for line in passed.advice)
    # On a disk of its own it can only have been the network, and that is there on the next machine, too.
    assert "resumable" == judged(noticed(changed=False), last(continued=True)).verdict


def test_a_save_that_was_not_done_does_not_fit() -> None:
    """Small bytes do not help a save that never ended. Otherwise "fits" is said of what did not."""
    report = judged(noticed(save_s=None), last(continued=True))

    assert "too-slow" == report.verdict


@given(st.integers(0, 1 << 42), st.floats(0, 200), st.floats(1, 600))
def test_what_fits_does_so_with_everything_it_needs(size: int, exit_s: float, notice_s: float) -> None:
    """The program's share, the upload and the reserve are all within the notice, or it does not fit. Otherwise a
    person trusts two minutes that are three."""
    save = judged(noticed(saved_bytes=size, term_to_exit_s=exit_s), last(), of=plan(notice_s=notice_s)).save

    assert save is not None
    assert save.needed_s >= save.upload_s + exit_s
    assert save.fits == (save.needed_s <= notice_s)


@given(
    st.lists(
        st.builds(
            AttemptReport,
            number=st.just(1),
            instance=st.just("i-1"),
            ended_by=st.sampled_from(["notice", "sudden death", "itself"]),
            end=st.sampled_from([None, "exit code 0", "exit code 143", "SIGTERM", "SIGKILL"]),
            clean=st.sampled_from([None, True, False]),
            reacted=st.sampled_from([None, True, False]),
            changed=st.sampled_from([None, True, False]),
            continued=st.sampled_from([None, True, False]),
            first=st.sampled_from([None, 1.0]),
            last=st.sampled_from([None, 1.0, 2.0]),
            saved_bytes=st.sampled_from([None, 0, 100 * GIB]),
            term_to_exit_s=st.sampled_from([None, 0.5]),
        ),
        max_size=4,
    ),
    st.sampled_from([None, "succeeded", "failed", "stopped", "limit"]),
    st.sampled_from([None, re.compile("x")]),
)
def test_every_report_has_one_verdict(attempts: list[AttemptReport], result: str | None, progress: Any) -> None:
    """Whatever was seen there is a verdict, and it is good only for what succeeded, was interrupted, and is known to
    have continued. Otherwise exit code 0 means less than it says."""
    report = judged(*attempts, result=result, of=plan(progress=progress))

    assert report.verdict in {v.name for v in verdict.ALL}
    if report.ok:
        assert "succeeded" == result
        assert any(a.continued for a in attempts)
        assert any(a.ended_by != "itself" for a in attempts)
        assert all(a.reacted is not False for a in attempts if a.ended_by == "notice")


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (judged(last(1, exit_code=3), result="failed"), "did not succeed: the command ended with exit code 3"),
        (judged(noticed(), last(exit_code=3), result="failed"), "failed after it was interrupted"),
        (judged(noticed(), result=None, of=plan(limit_s=90)), "did not end within 90 s"),
    ],
)
def test_a_failure_says_when(report: Report, said: str) -> None:
    """Failing anyway, failing on the second machine, never ending: three things to look at. Otherwise "failed" sends a
    person to debug a program that runs."""
    assert "failed" == report.verdict
    assert said in report.explanation


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (judged(noticed(changed=False), last()), "as it had found it"),
        (judged(noticed(), last(), of=plan(progress=re.compile("nope"))), "Nothing that it said matches"),
        (judged(noticed(first=1, last=1), last(first=1, last=9)), "hardly begun"),
        (judged(noticed(clean=False, end="exit code 143"), last(continued=True)), "exit code 143"),
        (judged(noticed(reacted=False, term_to_exit_s=4.6), last(), of=plan(notice_s=12)), "it had 4.6 s"),
        (judged(noticed(), last(continued=True), outside_writes=[elsewhere()]), "/tmp/checkpoint"),
        (judged(noticed(clean=False), result="failed", of=plan(strict_exit=True)), "--strict-exit"),
        (judged(noticed(), last(exit_code=1, oom_kills=1), result="failed"), "more memory"),
    ],
)
def test_advice_names_what_was_seen(report: Report, said: str) -> None:
    """The number, the path, the option that it is about. Otherwise it is a proverb."""
    assert any(said in line for line in report.advice), report.advice


@pytest.mark.parametrize(
    ("end", "told", "said"),
    [
        ("exit code 0", True, "told"),
        ("SIGTERM", True, "no handler"),
        ("exit code 143", True, "no handler"),
        ("SIGKILL", True, "killed"),
        ("exit code 7", True, "a code of its own"),
        ("SIGKILL", False, "memory"),
        ("SIGTERM", False, "not ours"),
        ("exit code 127", False, "no such program"),
        ("exit code 7", False, ""),
    ],
)
def test_an_end_means_something(end: str, told: bool, said: str) -> None:
    """The same number means one thing after the signal and another without. Otherwise 143 is just a number."""
    assert said in exits.meaning(end, told=told)
    assert bool(said) == bool(exits.meaning(end, told=told))
