"""What to do next, to a person, the most useful first: it follows the verdict and names what was seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from spotrelay.cli import remedies, verdict
from spotrelay.cli.plan import Plan
from spotrelay.cli.report import Report

# A program that had less than this after SIGTERM may just have been slow.
_ENOUGH_S = 30.0
_SHOW = "--progress 'epoch (\\d+)'"


def give(report: Report, plan: Plan) -> None:
    """Fills in `advice`; after `verdict.judge`."""
    of_verdict = _OF_VERDICT.get(report.verdict)
    report.advice = [*(of_verdict(report, plan) if of_verdict else []), *_besides(report)]


def _starts_over(report: Report, plan: Plan) -> list[str]:
    advice = ["Save where you are into a file in the directory, and read it at the start."]
    advice += remedies.saves_nothing_or_reads_nothing(report)
    if plan.progress is None:
        advice.append(f"If it does continue, show which number grows: {_SHOW}.")
    return advice


def _ignores_sigterm(report: Report, plan: Plan) -> list[str]:
    advice = ["Catch SIGTERM, write the checkpoint, exit. Or choose another signal: [interrupt] signal in run.toml."]
    had = max((a.term_to_exit_s or 0.0 for a in report.attempts if a.reacted is False), default=0.0)
    if had < _ENOUGH_S:
        advice.append(f"If it does, and was only slow: it had {had:.1f} s, as --notice is {plan.notice_s:g} s.")
    if any(a.continued for a in report.attempts):
        advice.append("It does continue from what it saved by itself: what came after that is lost each time.")
    return advice


def _state_elsewhere(report: Report, plan: Plan) -> list[str]:
    if outside := verdict.state_outside(report):
        return [
            f"Write these below {report.directory} instead: {_some(outside)}",
            *remedies.writes_elsewhere(report),
        ]
    return ["It went on, yet left nothing in its directory. Find where it saves, and let it save there."]


def _too_slow(report: Report, plan: Plan) -> list[str]:
    return [
        "Write a smaller checkpoint, or only what changed.",
        "Or take an instance with a faster network: --instance-type says how it would do there.",
    ]


def _failed(report: Report, plan: Plan) -> list[str]:
    if report.outcome is None:
        return ["Give it less to do, or more time: --limit 2h."]
    if plan.strict_exit and any(a.ended_by == "notice" and a.clean is False for a in report.attempts):
        return ["Exit with 0 after SIGTERM, or leave out --strict-exit."]
    if any(a.oom_kills for a in report.attempts):
        return [remedies.MORE_MEMORY]
    if len(report.attempts) > 1:
        words = remedies.of_its_words(report)
        return words or ["Look at what it does with the files that an interrupted attempt leaves."]
    return ["Run the command by itself first, in a fresh copy of the directory."]


def _not_interrupted(report: Report, plan: Plan) -> list[str]:
    seen = report.attempts[0].seconds if report.attempts else None
    if not plan.moments or seen is None:
        return ["Interrupt it: --interrupt-after 10s."]
    advice = ["Interrupt it earlier: --interrupt-after 1s. Or give it more to do."]
    if plan.progress is not None and report.attempts[0].first is None:
        advice.insert(0, f"Nothing that it said matches --progress '{plan.progress.pattern}'.")
    return advice


def _cannot_tell(report: Report, plan: Plan) -> list[str]:
    interrupted = [a for a in report.attempts if a.ended_by != "itself"]
    if interrupted and all(a.changed is False for a in interrupted):
        left = ["It left its directory as it had found it: unless it saves on the network, it starts over."]
        return left + _count_shown(report, plan)
    return _count_shown(report, plan)


def _count_shown(report: Report, plan: Plan) -> list[str]:
    counted = [a for a in report.attempts if a.first is not None]
    if plan.progress is not None and not counted:
        return [f"Nothing that it said matches --progress '{plan.progress.pattern}'."]
    if not counted:
        return [f"Let it print a number that grows, and show which: {_SHOW}."]
    if any(a.end == "SIGTERM" for a in report.attempts) or all(a.first == a.last for a in counted[:1]):
        return [f"It had hardly begun: interrupt it later, --interrupt-after 20s, or show {_SHOW}."]
    return [f"Show which of its numbers tells where it is: {_SHOW}."]


_OF_VERDICT: dict[str, Callable[[Report, Plan], list[str]]] = {
    verdict.STARTS_OVER.name: _starts_over,
    verdict.IGNORES_SIGTERM.name: _ignores_sigterm,
    verdict.STATE_ELSEWHERE.name: _state_elsewhere,
    verdict.TOO_SLOW.name: _too_slow,
    verdict.FAILED.name: _failed,
    verdict.NOT_INTERRUPTED.name: _not_interrupted,
    verdict.CANNOT_TELL.name: _cannot_tell,
}


def _besides(report: Report) -> list[str]:
    """What is worth knowing whatever the verdict."""
    advice = []
    unclean = sorted({str(a.end) for a in report.attempts if a.ended_by == "notice" and a.clean is False and a.reacted})
    if unclean:
        advice.append(f"After the signal it ended with {', '.join(unclean)}: interrupted, but not clean. 0 would be.")
    deaths = [(b, a) for b, a in itertools.pairwise(report.attempts) if b.ended_by == "sudden death"]
    if any(after.continued is False for _, after in deaths):
        advice.append("After a sudden death it started over: checkpoint now and then too, not at the signal only.")
    if report.verdict != verdict.FAILED.name:
        advice += remedies.of_its_words(report)
    for attempt in report.attempts:
        advice += [f"Attempt {attempt.number}: {line}." for line in attempt.unfinished]
    if any(attempt.unfinished for attempt in report.attempts):
        advice.append("Write a checkpoint under another name and rename it when it is whole: then none is unfinished.")
    if 0 < report.interruptions.held < report.interruptions.planned:
        done, planned = report.interruptions.held, report.interruptions.planned
        advice.append(f"It ended before all was done: {done} of {planned} interruptions took place.")
    if report.isolation != "full" and report.ok:
        advice.append("Machines shared this computer's files here: that it needs none of them is not shown by this.")
    outside = verdict.state_outside(report)
    if outside and report.verdict != verdict.STATE_ELSEWHERE.name:
        advice.append(f"Lost with each machine, being outside of the directory: {_some(outside)}")
    return advice


def _some(paths: list[str], most: int = 5) -> str:
    return ", ".join(paths[:most]) + (f" and {len(paths) - most} more" if len(paths) > most else "")
