"""The Lambda: a batch of messages in, the ones to be delivered again out.

    SPOTRELAY_STORE             s3://bucket/prefix, or file:///folder
    SPOTRELAY_QUEUE_URL         the queue that it is fed from, and rings
    SPOTRELAY_LAUNCH_TEMPLATE   name or id, and version; a fixed one: one that moves changes a request under its token
    SPOTRELAY_STACK             the value of the tag by which instances are ours
    SPOTRELAY_ZONES             us-east-1a,us-east-1b
    SPOTRELAY_TYPES             instance types for runs that name none
    SPOTRELAY_NOTIFY_…          where a person is told what happens (see `channels`); none: nowhere

A batch is taken together: what wants the same pools shares a call. A message that fails is reported by its id and comes
back alone; the others of its batch are done. One that never can succeed (garbage) fails each time and so ends in the
dead-letter queue, where an alarm tells a person. Waiting for capacity is no failure.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.messages import (
    Ignored,
    InstanceEnding,
    InstanceGone,
    ResumeRequest,
    Sweep,
    decode,
)
from spotrelay.launcher.bell import SqsBell
from spotrelay.launcher.books import RunBooks
from spotrelay.launcher.channels import open_channel
from spotrelay.launcher.crew import Threads
from spotrelay.launcher.ec2 import Ec2, Unanswered
from spotrelay.launcher.inventory import Inventory
from spotrelay.launcher.ledger import Ledgers
from spotrelay.launcher.objects import open_objects
from spotrelay.launcher.pace import Pace
from spotrelay.launcher.pools import Ground
from spotrelay.launcher.prices import open_prices
from spotrelay.launcher.succession import Succession
from spotrelay.launcher.sweep import Sweep as Sweeper
from spotrelay.launcher.telling import Teller

# When EC2 or the store was away for an event of EC2's.
AGAIN_S = 15
# A batch has ten messages, each with a handful of reads; more threads than that wait for Python, not for the store.
READERS, CALLERS = 16, 8
# A sweep's share of the function's minute: it looks at the clock between small portions, and the last takes a while.
SWEEP_S, ENDING_S = 45.0, 15.0


@dataclass(frozen=True, slots=True)
class Launcher:
    """What is kept warm between calls."""

    succession: Succession
    bell: SqsBell
    sweep: Sweeper
    now: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Ended:
    """EC2's word of an instance, and the message that brought it."""

    message: str
    instance: str
    body: str


_launcher: Launcher | None = None


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """SQS's event shape; the answer names failed messages (ReportBatchItemFailures)."""
    asked, failed, ended, sweeps = defaultdict[ResumeRequest, list[str]](list), set[str](), list[Ended](), False
    for record in event.get("Records", []):
        identity, body = str(record["messageId"]), record["body"]
        try:
            message = decode(body)
        except Exception as error:  # one bad message must not take the others with it
            failed.add(_failed(identity, error))
            continue
        match message:
            case ResumeRequest():
                asked[message].append(identity)
            case InstanceGone(instance=instance) | InstanceEnding(instance=instance):
                ended.append(Ended(identity, instance, body))
            case Sweep():
                sweeps = True
            case Ignored(what=what):
                log("event.ignored", what=what)
    if ended:
        failed |= _successors(ended, asked)
    if asked:
        failed |= _ensure(asked)
    if sweeps:
        _sweep(context)
    return {"batchItemFailures": [{"itemIdentifier": identity} for identity in sorted(failed)]}


def _successors(ended: Sequence[Ended], asked: defaultdict[ResumeRequest, list[str]]) -> set[str]:
    """Adds what they ask for to `asked`. The ids of events that are to come back."""
    try:
        found = _ready().succession.successors_of([each.instance for each in ended])
    except Exception as broken:
        found = [broken] * len(ended)
    failed = set[str]()
    for each, requests in zip(ended, found, strict=True):
        if isinstance(requests, StoreUnavailable | Unanswered):
            # Failed, it would come back after the visibility timeout, and five times at most.
            log("event.unanswered", instance=each.instance, error=str(requests))
            try:
                _ready().bell.again(each.body, AGAIN_S)
            except Exception as error:
                failed.add(_failed(each.message, error))
        elif isinstance(requests, Exception):
            failed.add(_failed(each.message, requests))
        else:
            for request in requests:
                asked[request].append(each.message)
    return failed


def _failed(identity: str, error: Exception) -> str:
    log("message.failed", id=identity, error=f"{type(error).__name__}: {error}")
    return identity


def _ensure(asked: dict[ResumeRequest, list[str]]) -> set[str]:
    """The ids of messages that are to come back."""
    try:
        errors = _ready().succession.ensure(asked)
    except Exception as broken:  # a broken deployment swallows nothing: everything stays in the queue
        errors = dict.fromkeys(asked, broken)
    failed = set[str]()
    for request, error in errors.items():
        # Of an attempt that several messages ask for, one stands for all.
        ids = [i for r, ids in asked.items() if (r.run, r.attempt) == (request.run, request.attempt) for i in ids]
        what = f"{type(error).__name__}: {error}"
        log("message.failed", ids=ids, run=request.run, attempt=request.attempt, error=what)
        failed.update(ids)
    return failed


def _sweep(context: Any) -> None:
    """What fails is logged: the next sweep comes anyway, and does it again."""
    left_s = context.get_remaining_time_in_millis() / 1000 if context is not None else SWEEP_S
    try:
        launcher = _ready()
        launcher.sweep.once(launcher.now() + min(SWEEP_S, left_s - ENDING_S))
    except Exception as error:  # whatever it is
        log("sweep.failed", error=f"{type(error).__name__}: {error}")


def log(event: str, **fields: Any) -> None:
    """One JSON line: what CloudWatch indexes, without a library in the zip."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def _ready() -> Launcher:
    """Clients are made once for each execution environment: a warm call costs about a millisecond."""
    global _launcher  # noqa: PLW0603 - that is how a Lambda keeps what is warm
    if _launcher is None:
        _launcher = from_environment(dict(os.environ))
    return _launcher


def from_environment(environment: dict[str, str]) -> Launcher:
    template, _, version = environment["SPOTRELAY_LAUNCH_TEMPLATE"].partition(":")
    ground = Ground(
        template=template,
        version=version or "1",
        zones=_words(environment.get("SPOTRELAY_ZONES", "")),
        types=_words(environment.get("SPOTRELAY_TYPES", "")),
        stack=environment.get("SPOTRELAY_STACK", "spotrelay"),
    )
    objects, ec2, readers = open_objects(environment["SPOTRELAY_STORE"]), Ec2(), Threads(READERS)
    bell = SqsBell(environment["SPOTRELAY_QUEUE_URL"], time.time)
    prices = open_prices(objects, environment["AWS_REGION"], log=log, now=time.time)
    books = RunBooks(objects, Ledgers(objects, prices, time.time), time.time)
    succession = Succession(
        objects,
        ec2,
        bell,
        ground,
        pace=Pace(time.time, bell.waiting),
        books=books,
        readers=readers,
        callers=Threads(CALLERS),
        log=log,
        now=time.time,
        sleep=time.sleep,
    )
    channel = open_channel(environment)
    teller = Teller(objects, channel, stack=ground.stack, log=log, now=time.time) if channel else None
    sweep = Sweeper(
        objects,
        Inventory(ground.stack),
        ec2,
        succession.ensure,
        stack=ground.stack,
        crew=readers,
        log=log,
        now=time.time,
        limits=books,
        teller=teller,
    )
    return Launcher(succession, bell, sweep)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
