"""The misbehaving examples misbehave as they say. Otherwise the verdict on them proves nothing."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples" / "misbehaving"
# So slow that a signal sent at step 3 arrives before the last, on a busy machine too; the tests leave open at which.
STEPS, PACE = "6", "0.2"


def run(name: str, directory: Path, *more: str, signal_at: int | None = None) -> tuple[int, list[str]]:
    """Runs an example, with SIGTERM when it prints step `signal_at`; its exit code and its lines."""
    command = [sys.executable, str(EXAMPLES / name), STEPS, PACE, *more]
    lines = []
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith(f"step {signal_at} "):
                process.send_signal(signal.SIGTERM)
    return process.returncode, lines


def steps(begin: int, end: int) -> list[str]:
    return [f"step {step} of {STEPS}" for step in range(begin, end + 1)]


def test_starts_over(tmp_path: Path) -> None:
    """It exits 0 on SIGTERM, leaves nothing, and begins at step 1 again."""
    status, lines = run("starts_over.py", tmp_path, signal_at=3)
    assert (0, steps(1, len(lines))) == (status, lines)
    assert (0, [*steps(1, 6), "done"]) == run("starts_over.py", tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_ignores_sigterm(tmp_path: Path) -> None:
    """It goes on after SIGTERM as if nothing had been; what it had saved it continues from."""
    assert (0, [*steps(1, 6), "done"]) == run("ignores_sigterm.py", tmp_path, signal_at=3)
    (tmp_path / "checkpoint").write_text("4")
    assert (0, [*steps(5, 6), "done"]) == run("ignores_sigterm.py", tmp_path)


@pytest.mark.parametrize("same_machine", [True, False])
def test_state_elsewhere(tmp_path: Path, same_machine: bool) -> None:
    """It continues where the other directory is still there, and starts over where it is not."""
    directory, elsewhere = tmp_path / "job", tmp_path / "elsewhere"
    directory.mkdir()
    status, lines = run("state_elsewhere.py", directory, str(elsewhere), signal_at=3)
    assert (0, steps(1, len(lines))) == (status, lines)
    assert [] == list(directory.iterdir())
    if not same_machine:
        elsewhere.rename(tmp_path / "gone")
    begin = len(lines) + 1 if same_machine else 1
    assert (0, [*steps(begin, 6), "done"]) == run("state_elsewhere.py", directory, str(elsewhere))


def test_never_reads(tmp_path: Path) -> None:
    """It leaves a checkpoint that is whole, exits 0 on SIGTERM, and begins at step 1 again."""
    status, lines = run("never_reads.py", tmp_path, signal_at=3)
    assert (0, steps(1, len(lines))) == (status, lines)
    with zipfile.ZipFile(tmp_path / "checkpoints/last.ckpt") as archive:
        assert str(len(lines)) == archive.read("step").decode()
    assert (0, [*steps(1, 6), "done"]) == run("never_reads.py", tmp_path)


def test_half_written(tmp_path: Path) -> None:
    """Ended at any step it is in the midst of its checkpoint, and fails on that from then on; a whole one it reads."""
    status, _ = run("half_written.py", tmp_path, signal_at=3)
    assert -signal.SIGTERM == status
    with pytest.raises((EOFError, pickle.UnpicklingError)):
        pickle.loads((tmp_path / "checkpoint.pkl").read_bytes())
    assert (1, []) == run("half_written.py", tmp_path)
    (tmp_path / "checkpoint.pkl").write_bytes(pickle.dumps({"step": 4}))
    assert (0, [*steps(5, 6), "done"]) == run("half_written.py", tmp_path)
