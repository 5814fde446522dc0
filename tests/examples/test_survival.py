"""Every example, through three interruptions, ends in the result of a run that nobody disturbed.

A notice and a sudden death at moments that a seed draws, and between them a sudden death in the midst of a checkpoint's
write. Results are compared bit for bit.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.examples import OWN, Example, Survived, note, survive

STEP = r"step (\d+)"
BY_THEMSELVES = [
    Example("search", "*.json", {"PACE": "0.005"}, r"trial (\d+)", {"TRIALS": "2000"}, stop_count=400),
    # Each `mv` is a process, and counts from 1.
    Example("shell", "*.gz", {"PACE": "0.5"}, r"part (\d+)", stop_count=1),
    Example(
        "fortran",
        "state.bin",
        {"PACE": "1"},
        STEP,
        notice="12s",  # it goes on until it is killed
        verdict="ignores-sigterm",
        built=("gfortran", "-O2", "-static-libgfortran", "-o", "heat", "heat.f90"),
    ),
]
OF_FRAMEWORKS = [
    Example("pytorch", "checkpoint.pt", {"PACE": "0.1"}, STEP),
    Example("lightning", "last.ckpt", {"PACE": "0.1"}, STEP),
    Example("transformers", "trainer_state.json", {"PACE": "0.1"}, STEP, window=(1.0, 2.0)),
    Example("torchrun", "checkpoint.pt", {"PACE": "0.1"}, STEP),
]
ALL_TRIALS = Example("search", "*.json", {"PACE": "0.001"}, r"trial (\d+)", stop_count=4000, window=(3.0, 4.0))


def name(example: Example) -> str:
    return example.name


def assert_survived(example: Example, survived: Survived) -> None:
    note(example, survived)
    report = survived.report
    attempts = report["attempts"]
    words = [f"{a['ended_by']}, {a['end']}: " + "\n    ".join(a["output_tail"][-8:]) for a in attempts]
    seen = "\n".join([report["verdict"], report["explanation"], *words])
    assert ["notice", "sudden death", "sudden death", "itself"] == [a["ended_by"] for a in attempts], seen
    assert example.verdict == report["verdict"], seen
    assert "stopped in a write" == attempts[1]["output_tail"][-1], seen
    # After a death that came before the attempt's first save, nobody can tell.
    assert attempts[1]["continued"], seen
    assert False not in [a["continued"] for a in attempts[1:]], seen
    assert survived.undisturbed == survived.result, seen


@pytest.mark.parametrize("example", BY_THEMSELVES, ids=name)
async def test_a_job_that_is_no_training(example: Example, stop: Path, tmp_path: Path) -> None:
    """A search, a pipeline, a simulation that knows no signals: the same result. Otherwise the relay is for one kind of
    program only."""
    if example.built and shutil.which(example.built[0]) is None:
        pytest.skip(f"NOT TESTED: {example.name} needs {example.built[0]}, which is not here")
    assert_survived(example, await survive(example, OWN, tmp_path, stop=stop, seed=1))


@pytest.mark.slow
async def test_twenty_thousand_small_files(stop: Path, tmp_path: Path) -> None:
    """The search at its full size. Otherwise a run that leaves many files does not get out of its machine."""
    assert_survived(ALL_TRIALS, await survive(ALL_TRIALS, OWN, tmp_path, stop=stop, seed=1))


@pytest.mark.slow
@pytest.mark.frameworks
@pytest.mark.parametrize("example", OF_FRAMEWORKS, ids=name)
async def test_a_framework(example: Example, frameworks: Path, stop: Path, tmp_path: Path) -> None:
    """The same weights, bit for bit. Otherwise a spot instance's price is another model, and nobody can say which."""
    assert_survived(example, await survive(example, frameworks, tmp_path, stop=stop, seed=1))
