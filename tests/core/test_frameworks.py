"""Which launcher a command begins with."""

from __future__ import annotations

import pytest

from spotrelay.core.frameworks import FRAMEWORKS, recognise


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["torchrun", "--standalone", "train.py"], "torchrun"),
        (["/opt/venv/bin/python3", "/opt/venv/bin/torchrun", "train.py"], "torchrun"),
        (["python", "-m", "torch.distributed.run", "train.py"], "torchrun"),
        (["env", "A=b", "torchrun", "train.py"], "torchrun"),
        (["sh", "-c", "cd job && torchrun --nproc-per-node 2 train.py"], "torchrun"),
        (["accelerate", "launch", "train.py"], "accelerate"),
        (["python", "train.py"], None),
        (["python", "train.py", "--launcher", "torchrun"], None),
        (["sh", "-c", "echo it's torchrun"], None),
        ([], None),
    ],
)
def test_recognised_by_how_it_is_called(command: list[str], name: str | None) -> None:
    """By itself, by its module, through env and a shell; not by what a program is told. Otherwise a rule for one
    launcher is held against another's exit code."""
    found = recognise(command)

    assert name == (found.name if found else None)


def test_every_row_says_where_it_is_from() -> None:
    """A fact without a source cannot be looked up again. Otherwise a row outlives what it was true of."""
    assert all("(" in framework.fact and ".py" in framework.fact for framework in FRAMEWORKS)
