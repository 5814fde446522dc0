"""What a person is told of a run, in words: which run, what happened, why, what there is to do. No I/O, no clock.

interrupted   an attempt was broken off, and the run waits for another machine
resumed       another attempt began; it says how the one before ended. Who learns of both at once is told this alone
finished      the run is over, one way or another
stuck         it waits for something that only a person can change (needs-person), or for an hour (waiting)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from spotrelay.core import keys, records

# A hunt that takes longer is rare, and a person may want to give it other types, or on demand.
WAITED_S = 3600.0
# Reasons come from errors, and may be long. Discord refuses more than 2,000 characters in all.
LONGEST = 600
WHAT_NEXT = {
    "succeeded": "What it made: spotrelay pull {run}",
    "failed": "Its output says why: spotrelay logs {run}. It goes on, if you want: spotrelay resume {run}",
    "stopped": "It goes on, if you want: spotrelay resume {run}",
    "limit": "It goes on with a higher limit: spotrelay resume {run}",
}


@dataclass(frozen=True, slots=True)
class News:
    """`at`: when it happened, unix seconds, and with `key` which one it was: a run may be removed, and another be begun
    under its name. `stack`: where it is not the one that commands take by themselves."""

    key: str
    event: str
    run: str
    attempt: int
    at: float
    happened: str
    next: str
    stack: str = ""

    @property
    def subject(self) -> str:
        return f"spotrelay: {self.run} {self.event}"

    @property
    def command(self) -> str:
        return f"spotrelay status {self.run}{f' --stack-name {self.stack}' if self.stack else ''}"

    @property
    def text(self) -> str:
        return f"{self.run}: {self.happened}. {self.next}\n{self.command}"

    @property
    def document(self) -> dict[str, Any]:
        """For a webhook."""
        return {
            "text": self.text,
            "content": self.text,
            "id": self.key,
            "event": self.event,
            "run": self.run,
            "attempt": self.attempt,
            "at": self.at,
            "command": self.command,
        }


@dataclass(frozen=True, slots=True)
class End:
    """How an attempt ended, as far as it is known. `concluded`: with its run, which a person had go on."""

    attempt: int
    handover: records.Handover | None = None
    status: records.Status | None = None
    concluded: bool = False

    def __str__(self) -> str:
        name, handover = f"attempt {self.attempt}", self.handover
        if self.concluded:
            return f"{name} had ended, and somebody had the run go on"
        if handover is None:
            told = self.status is not None and self.status.gone_at is not None
            return f"{name} was told that its machine goes" if told else f"{name} broke off without a word"
        if handover.reason != "interrupted":
            return f"{name} failed: {_short(handover.message or handover.ended or handover.reason)}"
        notice = f" ({_short(handover.notice)})" if handover.notice else ""
        return f"{name} was interrupted{notice}{self._lost}{_also(handover.message)}"

    @property
    def _lost(self) -> str:
        handover = self.handover
        if handover is None or handover.worked_s is None:
            return ""
        if not handover.worked_s:
            return ", before its command had started"
        return f", {max(0.0, handover.worked_s - handover.kept_s):.0f} s of its work are lost"


def interrupted(run: str, end: End, at: float) -> News:
    nothing = "Nothing to do: it goes on as soon as there is a machine."
    return News(keys.told(run, end.attempt, "interrupted"), "interrupted", run, end.attempt, at, str(end), nothing)


def resumed(run: str, attempt: int, claim: records.Claim, end: End) -> News:
    where = f"{claim.market} {claim.instance_type}".strip() or claim.instance
    zone = f" in {claim.zone}" if claim.zone else ""
    happened = f"it goes on: attempt {attempt} began at {_clock(claim.at)} on {where}{zone}. Before, {end}"
    return News(keys.told(run, attempt, "resumed"), "resumed", run, attempt, claim.at, happened, "Nothing to do.")


def finished(run: str, outcome: records.Outcome) -> News:
    attempts = f"{outcome.attempt} attempt{'' if outcome.attempt == 1 else 's'}"
    code = "" if outcome.exit_code is None else f", exit code {outcome.exit_code}"
    reached = "it has reached a limit" if outcome.result == "limit" else f"it {_past(outcome.result)}"
    happened = f"{reached} at {_clock(outcome.at)}, after {attempts}{code}{_also(outcome.message)}"
    after = WHAT_NEXT.get(outcome.result, WHAT_NEXT["stopped"]).format(run=run)
    key = keys.told(run, outcome.attempt, "finished", outcome.at)
    return News(key, "finished", run, outcome.attempt, outcome.at, happened, after)


def stuck(run: str, hunt: records.Hunt, now: float) -> News | None:
    """None: it is looked for a machine, as it should be."""
    why = _short("; ".join([hunt.why, *hunt.errors[:2]]))
    if hunt.person:
        happened, after = f"attempt {hunt.attempt} cannot begin: {why}", "Somebody must change that; then it goes on."
        key = keys.told(run, hunt.attempt, "needs-person")
    elif now - hunt.since >= WAITED_S:
        hours = (now - hunt.since) / 3600
        happened = f"attempt {hunt.attempt} has waited for a machine for {hours:.1f} h: {why}"
        after = "Nothing is lost, and it goes on waiting. Other types, or on demand, may be had sooner."
        key = keys.told(run, hunt.attempt, "waiting")
    else:
        return None
    return News(key, "stuck", run, hunt.attempt, hunt.since, happened, after)


def _past(result: str) -> str:
    return f"was {result}" if result == "stopped" else result


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _also(message: str) -> str:
    return f": {_short(message)}" if message else ""


def _short(text: str) -> str:
    """On one line."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
