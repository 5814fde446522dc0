"""The demo's training job: interrupted at any moment, in any way, it ends in the weights of a run left alone."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

TRAIN = Path(__file__).parents[2] / "scripts" / "examples" / "digits" / "train.py"
EPOCHS = 12
# 288 steps in 12 s: on a busy machine, too, it is interrupted long before its end.
PACE = 1

pytest.importorskip("sklearn", reason="the example needs the extra `demo`")


# Runs the job, and sends it the signal as the line of its first epoch is out: no computer is too slow for that.
TOLD_BETWEEN_EPOCHS = """
import builtins, os, runpy, signal, sys
say = print
def told(line, **how):
    say(line, **how)
    if line.startswith("epoch 1 step 24 "):
        os.kill(os.getpid(), signal.SIGTERM)
builtins.print = told
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

Job = subprocess.Popen[str]
Start = Callable[..., Job]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts the job with its output directory and options; none of them outlives the tests."""
    with ExitStack() as started:

        def start_one(out: Path, *options: str, through: Sequence[str] = ()) -> Job:
            command = [sys.executable, *through, str(TRAIN), "--out", str(out), "--epochs", str(EPOCHS), *options]
            job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            started.enter_context(job)
            started.callback(job.kill)
            return job

        yield start_one


def finish(process: Job) -> tuple[int, str]:
    output, _ = process.communicate(timeout=180)
    return process.returncode, output


def interrupt(process: Job, number: int, *, within: float) -> tuple[int, str]:
    """Sends the signal at a random moment after the first line of output."""
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(random.uniform(0, within))
    process.send_signal(number)
    status, rest = finish(process)
    return status, first + rest


def digest(out: Path) -> str:
    return hashlib.sha256((out / "weights.npz").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("undisturbed")
    status, output = finish(start(out, "--pace", "0"))

    assert 0 == status, output
    return digest(out)


def test_weights_are_named_and_do_not_depend_on_the_pace(start: Start, tmp_path: Path, undisturbed: str) -> None:
    """The last line names the weights, which no pace changes. Otherwise the demo compares two different jobs."""
    status, output = finish(start(tmp_path, "--pace", "0.01", "--save-every", "0.05"))

    assert (0, f"done: weights.npz sha256 {undisturbed}") == (status, output.splitlines()[-1])
    assert f"epoch {EPOCHS} step {EPOCHS * 24} loss " in output
    assert {"weights.npz"} == {path.name for path in tmp_path.iterdir()}


def test_sigterm_saves_at_the_next_step_and_exits_0(start: Start, tmp_path: Path, undisturbed: str) -> None:
    """SIGTERM makes it save before the next step and exit 0, between two epochs, too. Otherwise an epoch is lost each
    time; or, where one ends, the samples are shuffled twice.
    """
    status, output = finish(start(tmp_path, "--pace", "0", through=["-c", TOLD_BETWEEN_EPOCHS]))

    assert (0, "interrupted: saved epoch 1 step 24") == (status, output.splitlines()[-1])
    assert 0 == finish(start(tmp_path, "--pace", "0"))[0]
    assert undisturbed == digest(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_interrupted_many_times_it_ends_in_the_same_weights(
    start: Start, tmp_path: Path, undisturbed: str, number: signal.Signals
) -> None:
    """Wherever it is stopped, asked or killed, the weights are the same bit for bit. Otherwise a spot instance's price
    is another model, and nobody can say which.
    """
    endings = []
    for _ in range(4):
        endings.append(interrupt(start(tmp_path, "--pace", str(PACE), "--save-every", "0.02"), number, within=0.3)[0])
    status, output = finish(start(tmp_path, "--pace", "0"))

    assert {0 if number is signal.SIGTERM else -number} >= set(endings), output
    assert 0 == status, output
    assert "resumed at epoch" in output
    assert undisturbed == digest(tmp_path)


@pytest.mark.slow
def test_interrupted_at_every_kind_of_moment(start: Start, tmp_path: Path, undisturbed: str) -> None:
    """Endings at random moments of either kind, start-up and the last save among them, change no bit. Otherwise
    the one bad moment is found by a user.
    """
    for _ in range(24):
        process = start(tmp_path, "--pace", "0.1", "--save-every", "0.01")  # 1.2 s, and about one to start up
        time.sleep(random.uniform(0, 2))  # not to wait for anything: the moment is what is drawn
        process.send_signal(random.choice([signal.SIGTERM, signal.SIGKILL]))
        _, output = finish(process)
        if "done: " in output:
            assert undisturbed == digest(tmp_path), output
    status, output = finish(start(tmp_path, "--pace", "0"))

    assert (0, undisturbed) == (status, digest(tmp_path)), output


def test_a_checkpoint_cut_short_is_never_seen(start: Start, tmp_path: Path, undisturbed: str) -> None:
    """What a machine left that died while it saved is passed over. Otherwise the run ends in a traceback, each time."""
    _, output = interrupt(start(tmp_path, "--pace", str(PACE)), signal.SIGTERM, within=0.2)
    assert "interrupted: saved" in output
    (tmp_path / "checkpoint.npz.unfinished").write_bytes((tmp_path / "checkpoint.npz").read_bytes()[:1000])
    status, output = finish(start(tmp_path, "--pace", "0"))

    assert (0, undisturbed) == (status, digest(tmp_path)), output
