"""From what was seen to the report: the records in the bucket, what the commands said, what the machines wrote."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from spotrelay.cli import counters, exits, traces, transcript
from spotrelay.cli.report import AttemptReport, Interruptions, OutcomeReport, OutsideWriteReport, Report
from spotrelay.cli.scene import Scene, Seen
from spotrelay.core import keys
from spotrelay.core.ends import Exited, Killed
from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import File, Manifest
from spotrelay.core.records import Handover
from spotrelay.snapshot import Snapshots


def gather(scene: Scene, *, run: str, store: Path, directory: Path, isolation: str) -> Report:
    """Everything but the verdict. `store`: the bucket's folder. `isolation`: "full", or why there was none."""
    report = Report(
        command=list(scene.plan.command),
        directory=str(directory),
        isolation=isolation,
        seconds=scene.seconds,
        attempts=[_attempt(seen, scene) for seen in scene.attempts],
    )
    texts = [
        transcript.whole(store / keys.log(run, seen.number), seen.computer.state / f"{run}-{seen.number}.log")
        for seen in scene.attempts
    ]
    for attempt, text in zip(report.attempts, texts, strict=True):
        attempt.output_tail = transcript.tail(text)
        attempt.signs = traces.signs(text)
    _count(report.attempts, texts, scene)
    report.outside_writes = _outside(scene.attempts) if isolation == "full" else None
    outside = [write.path for write in report.outside_writes or []]
    report.framework = traces.framework(scene.plan.command, texts, outside)
    held = sum(attempt.ended_by != "itself" for attempt in report.attempts)
    report.interruptions = Interruptions(planned=len(scene.plan.moments), held=held)
    if (last := scene.outcome) is not None:
        report.outcome = OutcomeReport(last.result, last.exit_code, last.message)
    return report


async def compare(report: Report, snapshots: Snapshots, attempts: Sequence[Seen]) -> None:
    """Fills in `changed`: an attempt that left its directory as it was has left its successor nothing there. And
    `checkpoints`: what an interrupted one left and had not brought along."""
    brought: set[str] | None = None
    for attempt, seen in zip(report.attempts, attempts, strict=True):
        if seen.base is not None and seen.base.snapshot and attempt.snapshot:
            ids = SnapshotId.parse(seen.base.snapshot), SnapshotId.parse(attempt.snapshot)
            manifests = [await snapshots.read_manifest(snapshot) for snapshot in ids]
            before, after = map(_contents, manifests)
            attempt.changed = before != after
            brought = _files(manifests[0]) if brought is None else brought
            if attempt.ended_by != "itself":
                new = traces.checkpoints(_files(manifests[1]) - brought)
                report.checkpoints = sorted({*report.checkpoints, *new})
    report.framework = report.framework or traces.framework([], [], report.checkpoints)


def _files(manifest: Manifest) -> set[str]:
    return {os.fsdecode(entry.path) for entry in manifest.entries if isinstance(entry, File)}


def _contents(manifest: Manifest) -> set[tuple[object, ...]]:
    """Names and bytes, but for what Python makes again by itself. Times change whenever somebody looks hard."""
    return {
        (type(entry), entry.path, getattr(entry, "extents", None), getattr(entry, "target", None))
        for entry in manifest.entries
        if b"__pycache__" not in entry.path
    }


def _attempt(seen: Seen, scene: Scene) -> AttemptReport:
    claim, handover, outcome, status = seen.claim, seen.handover, scene.outcome, seen.status
    final = outcome if outcome is not None and outcome.attempt == seen.number and handover is None else None
    noticed = seen.interrupted is not None and seen.interrupted.notice
    interrupted_by = "notice" if noticed else "sudden death"
    exit_code = handover.exit_code if handover else final.exit_code if final else None
    oom_kills = handover.oom_kills if handover else final.oom_kills if final else 0
    end = handover.ended if handover else f"exit code {exit_code}" if exit_code is not None else None
    timings = handover.timings if handover else {}
    # The same fields, under the same names, from whoever knows them last: a sudden death leaves no hand-over.
    saved = handover.saved_bytes if handover else status.last_save_bytes if status else None
    restored = handover.restored_bytes if handover else status.restored_bytes if status else None
    known = handover or status
    return AttemptReport(
        number=seen.number,
        instance=claim.instance,
        instance_type=claim.instance_type,
        zone=claim.zone,
        market=claim.market,
        ended_by="itself" if final or seen.interrupted is None else interrupted_by,
        end=end,
        exit_code=exit_code,
        meaning=_meaning(end, oom_kills, told="signal_to_exit_s" in timings, command=scene.plan.command),
        clean=handover.clean if handover else None,
        oom_kills=oom_kills,
        reacted=_reacted(handover) if noticed else None,
        term_to_exit_s=timings.get("signal_to_exit_s"),
        notice_to_term_s=timings.get("notice_to_signal_s"),
        save_s=timings.get("save_s"),
        saved_bytes=saved,
        restored_bytes=restored,
        snapshot=next((record.snapshot for record in (handover, final, status) if record is not None), None),
        unfinished=known.unfinished if known else [],
        seconds=(seen.computer.ended_at or scene.began + scene.seconds) - seen.computer.booted_at,
    )


def _meaning(end: str | None, oom_kills: int, *, told: bool, command: Sequence[str]) -> str:
    if end and oom_kills and end != str(Exited(0)):
        return "the kernel killed a process of it, or all, for want of memory"
    return exits.meaning(end, told=told, command=command) if end else ""


def _reacted(handover: Handover | None) -> bool | None:
    """To our signal. Whom the kernel killed had no say."""
    if handover is None or "signal_to_exit_s" not in handover.timings:
        return None
    if handover.ended == str(Killed(signal.SIGKILL)):
        return None if handover.oom_kills else False
    return True


def _count(attempts: Sequence[AttemptReport], texts: Sequence[str], scene: Scene) -> None:
    """Whether each attempt continued, where that is to be expected: it began from what its predecessor saved."""
    progress = scene.plan.progress
    counter = counters.by_expression(progress) if progress else counters.found_in(texts[0]) if texts else None
    if counter is None:
        return
    counted = [counter(text) for text in texts]
    for attempt, count in zip(attempts, counted, strict=True):
        attempt.first, attempt.last = (count.first, count.last) if count else (None, None)
    for index in range(1, len(attempts)):
        base = scene.attempts[index].base
        if base is not None and (base.snapshot or "").startswith(f"{index}-"):
            attempts[index].continued = counters.continued(counted[0], counted[index - 1], counted[index])


def _outside(attempts: Sequence[Seen]) -> list[OutsideWriteReport]:
    found: dict[tuple[str, str], OutsideWriteReport] = {}
    for seen in attempts:
        for write in seen.computer.outside or []:
            key = (str(write.path), write.kind)
            report = found.setdefault(key, OutsideWriteReport(*key, bytes=write.size, attempts=[]))
            report.attempts.append(seen.number)
            report.bytes = max(report.bytes, write.size)
    return sorted(found.values(), key=lambda write: write.path)
