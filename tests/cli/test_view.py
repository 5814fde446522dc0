"""What a person sees: the timeline while it goes on, the report at the end, in the width that there is."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from spotrelay.cli.moments import Moment
from spotrelay.cli.plan import Plan
from spotrelay.cli.report import AttemptReport, Interruptions, OutcomeReport, OutsideWriteReport, Report, SaveReport
from spotrelay.cli.scene import Scene, Seen
from spotrelay.cli.summary import print_report
from spotrelay.cli.view import Drawing, Stage
from spotrelay.core.records import Claim, Handover, Status
from spotrelay.local.cloud import Computer

PLAN = Plan(command=["train"], directory=Path("/job"), moments=[Moment(1.0)])
REPORT = Report(
    command=["train"],
    directory="/home/somebody/with/a/long/path/to/the/project",
    isolation="full",
    verdict="state-elsewhere",
    exit_code=42,
    explanation="It starts over on a new machine: what it wrote lies outside of its directory, where it is lost.",
    advice=["Write these below [/job] instead: " + ", ".join(f"/var/tmp/state/{n}" for n in range(9))],
    attempts=[
        AttemptReport(1, "i-1", "g4dn.12xlarge", ended_by="sudden death", saved_bytes=123_456_789),
        AttemptReport(
            2,
            "i-2",
            "c6i.large",
            ended_by="notice",
            end="exit code 143",
            exit_code=143,
            meaning="the signal itself ended it: it had no handler for it, or not yet",
            term_to_exit_s=12.5,
            saved_bytes=999_000,
            continued=True,
            first=12,
            last=19,
        ),
        AttemptReport(
            3, "i-3", "c6i.large", ended_by="itself", end="exit code 0", exit_code=0, continued=False, first=1
        ),
    ],
    outside_writes=[OutsideWriteReport(f"/var/tmp/state/{n}", "created", 10, [1]) for n in range(9)],
    outcome=OutcomeReport("succeeded", 0, ""),
    save=SaveReport(999_000, "g5.xlarge", 1.5, 18.5, 120.0, fits=True),
    interruptions=Interruptions(2, 2),
    seconds=61.5,
)


def printed(report: Report, width: int = 80) -> str:
    out = io.StringIO()
    print_report(report, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_report_fits_its_width_with_whole_words(width: int) -> None:
    """No line is longer than the terminal, no word is cut or broken. Otherwise the path to mend cannot be copied."""
    text = printed(REPORT, width)

    assert [] == [line for line in text.splitlines() if len(line.rstrip()) > width]
    assert "…" not in text
    assert all(f"/var/tmp/state/{n}" in text for n in range(9))
    for sentence in (REPORT.explanation, REPORT.attempts[1].meaning):
        assert all(word in text.split() for word in sentence.split())


def test_the_report_says_where_each_attempt_went_on() -> None:
    """From where it was to where it began again. Otherwise "yes" has to be believed."""
    text = printed(REPORT)

    assert "no, 19 → 1" in text
    assert "exit code 143" in text


def test_what_a_failing_command_said_last_is_shown_as_it_is() -> None:
    """Its own words, brackets and all. Otherwise the person runs it once more only to see the error."""
    words = ["Traceback [most recent call last]:", "  KeyError: '[bold]'"]
    failed = replace(REPORT, verdict="failed", attempts=[replace(REPORT.attempts[0], output_tail=words)])

    assert all(line in printed(failed) for line in words)
    assert "KeyError" not in printed(replace(failed, verdict="starts-over"))


def seen(number: int, began: float, **changes: object) -> Seen:
    claim = Claim(f"i-{number}", "token", began, "c6i.large", "us-east-1a", "spot")
    computer = Computer(instance=None, state=Path("/nowhere"), booted_at=began + 1)  # type: ignore[arg-type]
    attempt = Seen(number, claim, computer, status=Status(f"i-{number}", "running", began))
    for name, value in changes.items():
        setattr(attempt, name, value)
    return attempt


def stage_of_three() -> Scene:
    now = time.time()
    handover = Handover("i-1", "interrupted", now, "exit code 0", 0, True, 0, "1-0", saved_bytes=3_100_000)
    first = seen(1, now - 30, running_since=now - 28, interrupted_at=now - 22, interrupted=Moment(6), handover=handover)
    second = seen(2, now - 20, running_since=now - 17, interrupted_at=now - 12, interrupted=Moment(5, notice=False))
    for attempt, ended in ((first, now - 20), (second, now - 12)):
        attempt.computer.ended_at = ended
        attempt.computer.off.set()
    third = seen(3, now - 10, running_since=now - 8, interrupted_at=now - 2, interrupted=Moment(6))
    third.status = Status("i-3", "draining", now, last_save_bytes=3_100_000)
    return Scene(
        PLAN, now - 31, "draining", [first, second, third], stored=6_200_000, line="step 12 of 40 " + "x" * 300
    )


@pytest.mark.parametrize("width", [50, 80, 140])
def test_the_timeline_fits_its_width(width: int) -> None:
    """One line for each attempt, whatever the terminal. Otherwise the drawing scrolls away under itself."""
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None).print(Drawing(stage_of_three()))
    lines = out.getvalue().rstrip("\n").split("\n")

    assert 5 == len(lines)
    assert [] == [line for line in lines if len(line) > width]


def test_the_timeline_says_what_is_going_on() -> None:
    """The phase, the seconds left, what was saved, how each one ended, the newest line. Otherwise it is a clock."""
    out = io.StringIO()
    Console(file=out, width=110, force_terminal=True, color_system=None).print(Drawing(stage_of_three()))
    text = out.getvalue()

    for part in ("draining · 118 s left", "6.2 MB in the bucket", "exit code 0, saved 3.1 MB", "died without a word"):
        assert part in text
    assert "› step 12 of 40" in text
    assert "us-east-1a spot" in text


def test_without_a_terminal_each_change_is_one_line() -> None:
    """A log gets a line when something changes, and no control characters. Otherwise CI keeps ten drawings a second."""
    out = io.StringIO()
    scene = stage_of_three()
    with Stage(Console(file=out, width=80)) as stage:
        for what in ("draining", "draining", "saving"):
            scene.what = what
            stage.show(scene)

    assert ["attempt 3: draining", "attempt 3: saving"] == [
        line.split("  ")[-1] for line in out.getvalue().splitlines()
    ]
    assert "\x1b" not in out.getvalue()
