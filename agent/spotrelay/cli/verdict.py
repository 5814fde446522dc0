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
    "ignores-sigterm", exit_code=41, text="It ignores the signal: it ran on until it had to be killed."
)
STATE_ELSEWHERE = Verdict(
    "state-elsewhere", exit_code=42, text="It starts over, and it wrote outside of the directory that is preserved."
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


def judge(report: Report, *, notice_s: float, instance_type: str) -> None:
    """Fills in `verdict`, `ok`, `exit_code`, `explanation`, `advice` and `save`."""
    report.save = _save(report.attempts, notice_s, instance_type)
    verdict = _verdict(report)
    report.verdict, report.exit_code, report.ok = verdict.name, verdict.exit_code, verdict is RESUMABLE
    report.explanation = verdict.text
    report.advice = _advice(report, verdict)


def _verdict(report: Report) -> Verdict:
    interrupted = [a for a in report.attempts if a.ended_by in ("notice", "sudden death")]
    continued = _continuations(report.attempts)
    if report.outcome is None or report.outcome.result != "succeeded":
        return FAILED
    if not interrupted:
        return NOT_INTERRUPTED
    if any(a.reacted is False for a in interrupted):
        return IGNORES_SIGTERM
    if False in continued:
        return STATE_ELSEWHERE if state_outside(report) else STARTS_OVER
    if report.save is not None and not report.save.fits:
        return TOO_SLOW
    return RESUMABLE if True in continued else CANNOT_TELL


def _continuations(attempts: list[AttemptReport]) -> list[bool | None]:
    """After notices, if there were any: what a sudden death costs depends on how often the program saves by itself."""
    pairs = [(before.ended_by, after.continued) for before, after in itertools.pairwise(attempts)]
    noticed = [continued for ended_by, continued in pairs if ended_by == "notice"]
    return noticed or [continued for _, continued in pairs]


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
    return SaveReport(size, instance_type, upload, needed, notice_s, needed <= notice_s)


def _advice(report: Report, verdict: Verdict) -> list[str]:
    """What to do next, most useful first."""
    outside = state_outside(report)
    unclean = [a for a in report.attempts if a.ended_by == "notice" and a.clean is False and a.reacted]
    advice = {
        STARTS_OVER.name: [
            "Save where you are into a file in the directory, and read it at the start.",
            "If it does continue, show it: --progress 'epoch (\\d+)'.",
        ],
        IGNORES_SIGTERM.name: [
            "Catch SIGTERM, write the checkpoint, exit. Or have it told by another signal: [interrupt] signal.",
            "If it checkpoints by itself, shorten the interval: that is what an interruption costs.",
        ],
        STATE_ELSEWHERE.name: [f"Write these below {report.directory} instead: {', '.join(outside[:5])}"],
        TOO_SLOW.name: ["Write a smaller checkpoint, or take an instance with a faster network (--instance-type)."],
        FAILED.name: ["Run the command by itself first; its output is above, or kept with --keep DIR."],
        NOT_INTERRUPTED.name: ["Interrupt it earlier: --interrupt-after 1s. Or give it more to do."],
        CANNOT_TELL.name: ["Show a number that grows: --progress 'epoch (\\d+)'."],
    }.get(verdict.name, [])
    if unclean:
        codes = sorted({str(a.end) for a in unclean})
        advice.append(f"It ended with {', '.join(codes)} after the signal, which counts as interrupted, not as clean.")
    if any(b.ended_by == "sudden death" and a.continued is False for b, a in itertools.pairwise(report.attempts)):
        advice.append("After a sudden death it started over: checkpoint now and then too, not at the signal only.")
    if outside and verdict is not STATE_ELSEWHERE:
        advice.append(f"Lost with each machine, being outside of the directory: {', '.join(outside[:5])}")
    return advice
