"""What a script lacks is said in its framework's words, and follows from what happened."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spotrelay.cli import remedies, traces
from spotrelay.cli.report import AttemptReport, Report
from spotrelay.cli.traces import LIGHTNING, TORCH, TORCHRUN, TRANSFORMERS
from support import examples
from support.rehearsals import MISBEHAVING, Said, spotrelay


@pytest.mark.parametrize(
    ("command", "text", "paths", "expected"),
    [
        (["python", "train.py"], "`Trainer.fit` stopped: `max_epochs=6` reached.", [], LIGHTNING),
        (["python", "train.py"], "", ["lightning_logs/version_0/checkpoints/epoch=0.ckpt"], LIGHTNING),
        (["python", "train.py"], "{'loss': '4', 'grad_norm': '1.19', 'epoch': '2'}", [], TRANSFORMERS),
        (["python", "train.py"], "", ["out/checkpoint-20/trainer_state.json"], TRANSFORMERS),
        (["torchrun", "train.py"], "", [], TORCHRUN),
        (["python", "train.py"], "", ["model.pt"], TORCH),
        (["python", "train.py"], "a loss of 4 in epoch 2", ["results.json"], ""),
    ],
)
def test_a_framework_shows(command: list[str], text: str, paths: list[str], expected: str) -> None:
    """By what it prints and what it leaves. Otherwise the words are another library's."""
    assert expected == traces.framework(command, [text], paths)


def report(framework: str, *checkpoints: str, signs: tuple[str, ...] = ()) -> Report:
    attempts = [AttemptReport(1, "i-1"), AttemptReport(2, "i-2", signs=list(signs))]
    return Report(["train"], "/job", "full", framework=framework, checkpoints=list(checkpoints), attempts=attempts)


@pytest.mark.parametrize(
    ("framework", "saves", "reads"),
    [
        (LIGHTNING, "ModelCheckpoint(", 'ckpt_path="last"'),
        (TRANSFORMERS, "save_steps", "resume_from_checkpoint"),
        (TORCHRUN, "rank 0", "every rank"),
        (TORCH, "torch.save", "torch.load"),
        ("", "More:", "read it at the start"),
    ],
)
def test_no_checkpoint_is_another_fault_than_one_that_is_not_read(framework: str, saves: str, reads: str) -> None:
    """Otherwise a person adds the callback that is there already."""
    nothing = remedies.saves_nothing_or_reads_nothing(report(framework))
    unread = remedies.saves_nothing_or_reads_nothing(report(framework, "checkpoints/last.ckpt"))

    assert saves in nothing[0]
    assert reads in unread[0]
    assert "checkpoints/last.ckpt" in unread[0]
    assert remedies.GUIDE in nothing[-1]


@pytest.mark.parametrize(
    ("sign", "word"), [(traces.BROKEN, "os.replace"), (traces.WORKER, "worker"), (traces.KILLED_WORKERS, "torchrun")]
)
def test_each_complaint_has_its_remedy(sign: str, word: str) -> None:
    """And without one there is none. Otherwise it is said to everybody."""
    assert word in remedies.of_its_words(report("", signs=(sign,)))[0]
    assert [] == remedies.of_its_words(report(""))


def test_the_guide_is_there() -> None:
    """Otherwise the link leads nowhere."""
    path, title = remedies.GUIDE.split(', "')

    assert f"## {title.rstrip(chr(34))}" in (examples.ROOT / path).read_text()


async def rehearse(folder: Path, program: str, *words: str) -> Said:
    shutil.copy(MISBEHAVING / program, folder)
    arguments = [sys.executable, program, "40", "0.1"]
    return await spotrelay("rehearse", "--json", "--progress", r"step (\d+)", *words, "--", *arguments, cwd=folder)


async def test_a_checkpoint_that_is_not_read(tmp_path: Path) -> None:
    """It lies in the snapshot, and the program begins anew. Otherwise one looks for a missing save."""
    said = await rehearse(tmp_path, "never_reads.py", "--interrupt-after", "1s")

    assert "starts-over" == said.document["verdict"], said
    assert ["checkpoints/last.ckpt"] == said.document["checkpoints"]
    assert any("checkpoints/last.ckpt, and it began anew" in line for line in said.document["advice"])


async def test_a_checkpoint_that_is_cut_short(tmp_path: Path) -> None:
    """Killed within its write, the program fails on it for good, and is told why. Otherwise "exit code 1" is all."""
    words = ["--interrupt-after", "1500ms:no-notice", "--save-every", "300ms"]
    said = await rehearse(tmp_path, "half_written.py", *words)

    assert "failed" == said.document["verdict"], said
    assert any("cut short" in line for line in said.document["advice"]), said.document["advice"]


# What torch says of a cut file, and of a worker that a signal ended under it.
COMPLAINS = {
    traces.BROKEN: """
import torch
torch.save({"a": torch.zeros(1000)}, "a.pt")
open("b.pt", "wb").write(open("a.pt", "rb").read()[:-100])
torch.load("b.pt")
""",
    traces.WORKER: """
import os, signal, torch
class Slow(torch.utils.data.Dataset):
    def __len__(self): return 100
    def __getitem__(self, i):
        if i > 8: signal.pause()  # amid its third batch, as it is killed
        return i
if __name__ == "__main__":
    for i, _ in enumerate(torch.utils.data.DataLoader(Slow(), batch_size=4, num_workers=1)):
        if i == 1:
            children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
""",
}


@pytest.mark.slow
@pytest.mark.frameworks
@pytest.mark.parametrize("sign", COMPLAINS)
def test_what_torch_itself_says(tmp_path: Path, sign: str) -> None:
    """The signs are the library's own words. Otherwise they are ours, and nobody ever says them."""
    (tmp_path / "complains.py").write_text(COMPLAINS[sign])
    python = str(examples.frameworks() / "python")
    done = subprocess.run([python, "complains.py"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode
    assert [sign] == traces.signs(done.stderr)


@pytest.mark.slow
@pytest.mark.frameworks
@pytest.mark.parametrize(("without", "said"), [("callbacks", "left no checkpoint"), ("ckpt_path", 'ckpt_path="last"')])
async def test_lightning_without(tmp_path: Path, without: str, said: str) -> None:
    """The example, robbed of one argument: the advice names it. Otherwise the words fit no real script."""
    text = (examples.EXAMPLES / "lightning/train.py").read_text()
    # With OnExceptionCheckpoint, fit() takes ckpt_path="last" by itself.
    text = re.sub(r" *OnExceptionCheckpoint\(.*\),\n", "", text).replace(', ckpt_path="last"', "")
    if without == "callbacks":
        text = re.sub(r" *ModelCheckpoint\(.*\),\n", "", text).replace("logger=False", "enable_checkpointing=False")
    (tmp_path / "train.py").write_text(text)
    python = str(examples.frameworks() / "python")
    words = ["--json", "--progress", r"step (\d+)", "--interrupt-after", "3s"]
    report = await spotrelay("rehearse", *words, "--", "env", "PACE=0.1", python, "train.py", cwd=tmp_path)

    assert ("starts-over", LIGHTNING) == (report.document["verdict"], report.document["framework"]), report
    assert any(said in line for line in report.document["advice"]), report.document["advice"]
