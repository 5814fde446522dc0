"""What a script lacks, in its framework's words: which argument, which callback, which call.

Each follows from what was seen (traces.py): checkpoints that lie in the snapshot and were not read are another fault
than none at all, and look the same from outside.
"""

from __future__ import annotations

from spotrelay.cli import traces
from spotrelay.cli.report import Report
from spotrelay.cli.traces import LIGHTNING, TORCH, TORCHRUN, TRANSFORMERS

MORE_MEMORY = (
    "It needs more memory than there was: choose instance types that have it ([instance] types in run.toml), or let it "
    "use less: a smaller batch, fewer workers."
)
GUIDE = 'scripts/examples/README.md, "My script is not resumable yet"'

_SAVES_NOTHING = {
    LIGHTNING: 'Lightning left no checkpoint: callbacks=[ModelCheckpoint("checkpoints", save_last=True), '
    'OnExceptionCheckpoint("checkpoints")].',
    TRANSFORMERS: 'The Trainer left no checkpoint: TrainingArguments("checkpoints", save_steps=500, '
    "enable_jit_checkpoint=True).",
    TORCHRUN: "No worker left a checkpoint: let rank 0 torch.save when any of them was told, and now and then.",
    TORCH: "It left no checkpoint: torch.save model, optimizer, scheduler and step when it is told, and now and then.",
}
_DOES_NOT_READ = {
    LIGHTNING: 'trainer.fit(model, ckpt_path="last")',
    TRANSFORMERS: "trainer.train(resume_from_checkpoint=get_last_checkpoint(output_dir))",
    TORCHRUN: "torch.load it on every rank before the first step",
    TORCH: "torch.load it before the first step, where it is there",
}
_WRITES_ELSEWHERE = {
    LIGHTNING: "Lightning writes below default_root_dir, or the dirpath of ModelCheckpoint: name a relative one.",
    TRANSFORMERS: "The Trainer writes below output_dir: name a relative one.",
}


def saves_nothing_or_reads_nothing(report: Report) -> list[str]:
    """It started over: did it have something to go on from?"""
    if report.checkpoints:
        how = _DOES_NOT_READ.get(report.framework, "read it at the start")
        return [f"Its checkpoint was there, {report.checkpoints[0]}, and it began anew: {how}.", _more()]
    words = _SAVES_NOTHING.get(report.framework)
    return [words, _more()] if words else [_more()]


def writes_elsewhere(report: Report) -> list[str]:
    words = _WRITES_ELSEWHERE.get(report.framework)
    return [words, _more()] if words else [_more()]


def of_its_words(report: Report) -> list[str]:
    """What it complained of after an interruption."""
    found = []
    after = [attempt for attempt in report.attempts if attempt.number > 1]
    if any(traces.BROKEN in attempt.signs for attempt in after):
        found.append(
            "It went on from a checkpoint that is cut short: write it under another name, and os.replace it when whole."
        )
    if any(traces.WORKER in attempt.signs for attempt in report.attempts):
        found.append(
            "A data loader's worker died before the program had saved: let it keep the signal's handler, or ignore "
            "SIGTERM in worker_init_fn."
        )
    if any(traces.KILLED_WORKERS in attempt.signs for attempt in report.attempts):
        found.append(
            "torchrun killed workers that had not ended: let them agree on where to stop, or give them longer, "
            "torchrun --shutdown-timeout."
        )
    return [*found, _more()] if found else []


def _more() -> str:
    return f"More: {GUIDE}."
