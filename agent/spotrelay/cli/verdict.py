"""From what was seen to what a person can act on.

The first that applies is the verdict; each has an exit code of its own:

    failed             44   the command itself failed, or never ended: nothing can be said about resuming
    not-interrupted    45   it was over before it could be interrupted
    ignores-sigterm    41   it had to be killed: what it did since its own last checkpoint is lost each time
    state-elsewhere    42   it starts over, and wrote files that a new machine does not have
    starts-over        40   it starts over each time
    too-slow           43   checkpoint and upload together do not fit into the notice
    cannot-tell        46   it went through, but its output does not show whether it continued
    resumable           0
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from spotrelay.cli import network
from spotrelay.cli.plan import Plan
from spotrelay.cli.report import AttemptReport, Report, SaveReport
from spotrelay.core import deadline


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    exit_code: int
    text: str


RESUMABLE = Verdict(
    "resumable", exit_code=0, text="It survives interruptions: each attempt went on where the one before it was."
)
STARTS_OVER = Verdict(
    "starts-over", exit_code=40, text="It starts over after an interruption: nothing it read told it where it was."
)
IGNORES_SIGTERM = Verdict(
    "ignores-sigterm", exit_code=41, text="It does not end on SIGTERM: it ran on until it had to be killed."
)
STATE_ELSEWHERE = Verdict(
    "state-elsewhere",
    exit_code=42,
    text="It starts over on a new machine: what it wrote lies outside of its directory.",
)
TOO_SLOW = Verdict(
    "too-slow", exit_code=43, text="It resumes, but its checkpoint does not get out of the machine in time."
)
FAILED = Verdict("failed", exit_code=44, text="The command did not succeed.")
NOT_INTERRUPTED = Verdict(
    "not-interrupted", exit_code=45, text="It ended before it was interrupted, so nothing was rehearsed."
)
CANNOT_TELL = Verdict(
    "cannot-tell", exit_code=46, text="It went through, but nothing in its output shows whether it continued."
)
ALL = (
    RESUMABLE,
    STARTS_OVER,
    IGNORES_SIGTERM,
    STATE_ELSEWHERE,
    TOO_SLOW,
    FAILED,
    NOT_INTERRUPTED,
    CANNOT_TELL,
)

# Written by interpreters and tools beside their work, and made again without a loss.
_NOISE = ("/__pycache__/", "/fontconfig/", "/matplotlib/", "/.nv/", "/ld.so.cache")


def judge(report: Report, plan: Plan) -> None:
    """Fills in `verdict`, `ok`, `exit_code`, `explanation` and `save`."""
    report.save = _save(report.attempts, plan.notice_s, plan.instance_type)
    verdict = _verdict(report)
    report.verdict, report.exit_code, report.ok = verdict.name, verdict.exit_code, verdict is RESUMABLE
    report.explanation = _failure(report, plan) if verdict is FAILED else verdict.text


def _verdict(report: Report) -> Verdict:
    interrupted = [a for a in report.attempts if a.ended_by != "itself"]
    continued = _continuations(report.attempts)
    applies = {
        FAILED: report.outcome is None or report.outcome.result != "succeeded",
        NOT_INTERRUPTED: not interrupted,
        IGNORES_SIGTERM: any(a.reacted is False for a in interrupted),
        STATE_ELSEWHERE: _is_elsewhere(report, continued),
        STARTS_OVER: False in continued,
        TOO_SLOW: report.save is not None and not report.save.fits,
        CANNOT_TELL: True not in continued,
        RESUMABLE: True,
    }
    return next(verdict for verdict in applies if applies[verdict])


def _continuations(attempts: list[AttemptReport]) -> list[bool | None]:
    """After notices, if there were any: what a sudden death costs depends on how often the program saves by itself."""
    pairs = [(before.ended_by, after.continued) for before, after in itertools.pairwise(attempts)]
    noticed = [continued for ended_by, continued in pairs if ended_by == "notice"]
    return noticed or [continued for _, continued in pairs]


def _is_elsewhere(report: Report, continued: list[bool | None]) -> bool:
    if report.isolation == "full":
        return False in continued and bool(state_outside(report))
    # Machines share this computer's files then: what went on, though no snapshot told it where, found that there.
    return any(before.changed is False and after.continued for before, after in itertools.pairwise(report.attempts))


def _failure(report: Report, plan: Plan) -> str:
    """Whether the command fails anyway, or because it was interrupted, is what a person wants to know first."""
    if report.outcome is None:
        return f"The command did not end within {plan.limit_s:g} s."
    if len(report.attempts) > 1:
        return f"The command failed after it was interrupted: {report.outcome.message}."
    return f"The command did not succeed: {report.outcome.message}."


def state_outside(report: Report) -> list[str]:
    """Paths outside of the directory that look as if somebody wanted to keep them."""
    return [
        write.path
        for write in report.outside_writes or []
        if write.kind != "deleted" and write.bytes and not is_noise(write.path)
    ]


def is_noise(path: str) -> bool:
    return any(noise in path for noise in _NOISE)


def _save(attempts: list[AttemptReport], notice_s: float, instance_type: str) -> SaveReport | None:
    saved = [a for a in attempts if a.ended_by == "notice" and a.saved_bytes is not None]
    if not saved:
        return None
    size = max(a.saved_bytes or 0 for a in saved)
    upload = network.upload_s(size, instance_type)
    needed = max(a.term_to_exit_s or 0.0 for a in saved) + upload + deadline.RESERVE_S
    # A last save that was not done even here, where it is a copy on one disk, is done nowhere.
    fits = needed <= notice_s and all(a.save_s is not None for a in saved)
    return SaveReport(size, instance_type, upload, needed, notice_s, fits)
