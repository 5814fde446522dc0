"""A person is told what happened to a run: at least once, seldom twice, never lost. By the sweep alone.

    told/<n>-<event>.json made, create-only ──► sent ──► the same object, confirmed

1. Of two sweeps at once the one that made the object sends.
2. Whoever dies in between, or is not heard, leaves it unconfirmed: 15 minutes later it is sent again. So it may come
   twice, when the death was between sending and confirming.
3. What happened to one run is told in its order. So behind what was told, everything is told: to find out what is owed
   one goes back to the first that is.
4. A day later nothing is news: it is given up, and said so in the log. A run that is over stays marked as open until
   its end is told, and so at most for that day.
5. A channel that fails is left alone for a minute. The runs have had their turn by then: they lose nothing by it (P6).

What it costs, with everything told remembered: nothing for a run at work, and nothing for one that is over, however
many there were. For each event about ten small requests ($0.00002, most of it for two PUTs); for a run that waits for a
machine, one read of hunt.json a sweep; and an environment that starts cold reads one object for each open run that was
resumed within a day.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from spotrelay.core import keys, records
from spotrelay.launcher import news
from spotrelay.launcher.channels import Channel, Unsent
from spotrelay.launcher.news import End, News
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.standing import Records

# Three sweeps, and longer than any function lives: whoever began it is dead, or was refused.
AGAIN_S = 900.0
GIVEN_UP_S = 86_400.0
SILENT_S = 60.0
# The stack that commands take when none is named (`cli.account`).
USUAL_STACK = "spotrelay"


@dataclass(frozen=True, slots=True)
class Seen:
    """Of a run, by a sweep. `attempt`: the newest that was claimed, 0: none; `claim`: its claim, where it was read.
    `waits`: the next one is wanted. `outcome`: it is over."""

    run: str
    attempt: int
    claim: records.Claim | None = None
    waits: bool = False
    outcome: records.Outcome | None = None


class Teller:
    """Safe to ask from several threads, about different runs. Every method raises StoreError, RecordInvalid."""

    def __init__(
        self, objects: Objects, channel: Channel, *, stack: str, log: Callable[..., None], now: Callable[[], float]
    ) -> None:
        self._objects, self._channel, self._log, self._now = objects, channel, log, now
        self._stack = "" if stack == USUAL_STACK else stack
        self._records = Records(objects)
        self._settled: set[tuple[str, float]] = set()
        self._asked: set[tuple[str, float]] = set()
        self._silent_until = 0.0

    def tell(self, seen: Seen) -> bool:
        """Whether nothing is owed any more."""
        return all(self._is_told(each) for each in self._owed(seen))

    def forget_others(self) -> None:
        """What nobody asked for since the last time is of runs that are over."""
        self._settled &= self._asked
        self._asked = set()

    # --- what there is to tell

    def _owed(self, seen: Seen) -> Iterator[News]:
        """In the order in which it happened."""
        run, claim = seen.run, seen.claim or (self._claim(seen.run, seen.attempt) if seen.attempt else None)
        yield from self._resumptions(run, seen.attempt, claim)
        if seen.outcome is not None:
            yield from self._finish(run, seen.outcome)
        elif seen.waits:
            if claim is not None and not self._remembers(keys.told(run, seen.attempt, "interrupted"), claim.at):
                yield news.interrupted(run, self._end(run, seen.attempt), claim.at)
            hunt = self._records.read(records.Hunt, keys.hunt(run))
            if hunt is not None and hunt.attempt == seen.attempt + 1:
                found = news.stuck(run, hunt, self._now())
                yield from [found] if found is not None else []

    def _resumptions(self, run: str, attempt: int, claim: records.Claim | None) -> Iterator[News]:
        owed: list[tuple[int, records.Claim]] = []
        while attempt > 1 and claim is not None and self._now() - claim.at < GIVEN_UP_S:
            if self._is_settled(keys.told(run, attempt, "resumed"), claim.at):
                break
            owed.append((attempt, claim))
            attempt -= 1
            claim = self._claim(run, attempt)
        for number, own in reversed(owed):
            yield news.resumed(run, number, own, self._end(run, number - 1))

    def _finish(self, run: str, outcome: records.Outcome) -> Iterator[News]:
        """Of many, with a channel that fails, most are never begun: those are given up here."""
        one = news.finished(run, outcome)
        if self._now() - outcome.at < GIVEN_UP_S:
            yield one
        elif not self._is_settled(one.key, one.at):
            self._log("notification.given_up", told=one.key, tries=0)

    def _claim(self, run: str, attempt: int) -> records.Claim | None:
        return self._records.read(records.Claim, keys.claim(run, attempt))

    def _end(self, run: str, attempt: int) -> End:
        handover = self._records.read(records.Handover, keys.handover(run, attempt))
        if handover is not None:
            return End(attempt, handover)
        concluded = any(
            key.startswith(f"{keys.past_outcomes(run)}{attempt:05d}-")
            for key in self._objects.list(keys.past_outcomes(run))
        )
        return End(attempt, None, self._records.read(records.Status, keys.status(run, attempt)), concluded)

    # --- each of it once

    def _is_told(self, one: News) -> bool:
        """Told now, or earlier, or given up."""
        if self._is_settled(one.key, one.at):
            return True
        if self._now() < self._silent_until:
            return False
        mine = self._begin(one)
        return mine is not None and self._send(one, mine)

    def _remembers(self, key: str, at: float) -> bool:
        self._asked.add((key, at))
        return (key, at) in self._settled

    def _is_settled(self, key: str, at: float) -> bool:
        if self._remembers(key, at):
            return True
        told = self._records.read(records.Told, key)
        if told is None:
            return False
        given_up = told.confirmed_at is None and self._now() - told.since >= GIVEN_UP_S
        if given_up:
            self._log("notification.given_up", told=key, tries=told.tries)
        if told.confirmed_at is not None or given_up:
            self._settled.add((key, at))
            return True
        return False

    def _begin(self, one: News) -> records.Told | None:
        """None: somebody else is at it."""
        now, token = self._now(), secrets.token_hex(8)
        mine = records.Told(now, now, token)
        if self._objects.create(one.key, records.encode(mine)):
            return mine
        told = self._records.read(records.Told, one.key)
        if told is None or told.confirmed_at is not None or now - told.at < AGAIN_S:
            return None
        mine = replace(told, at=now, token=token, tries=told.tries + 1)
        self._objects.put(one.key, records.encode(mine))
        # Of two that do so at once, the one that wrote last.
        return mine if self._records.read(records.Told, one.key) == mine else None

    def _send(self, one: News, mine: records.Told) -> bool:
        try:
            self._channel.send(replace(one, stack=self._stack))
        except Unsent as error:
            self._silent_until = self._now() + SILENT_S
            event = "needs.person" if error.final else "notification.failed"
            self._log(event, what="notifications", told=one.key, tries=mine.tries, why=str(error))
            return False
        self._objects.put(one.key, records.encode(replace(mine, confirmed_at=self._now())))
        self._settled.add((one.key, one.at))
        self._log("notification.sent", told=one.key, tries=mine.tries)
        return True
