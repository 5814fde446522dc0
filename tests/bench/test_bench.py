"""The bench itself, from its options to its table: every row, so small that it measures nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import held
from bench.contenders import Leanest, Ours
from bench.plan import Bench
from bench.site import Site
from bench.workloads import Sizes
from spotrelay.snapshot.snapshots import MEMORY_MIB

STEPS = Path(__file__).parents[2] / "scripts" / "steps"


def bench(*options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--json", "--runs", "1", "--smaller", "256", *options],
        env=os.environ | {"PYTHONPATH": str(STEPS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert 0 == done.returncode, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.slow
def test_everybody_moves_everything() -> None:
    """Rows A to D with us, the limit and the peer that the tests have. What came back was compared; each has its
    seconds, its memory and the requests that the server has seen.
    """
    found = bench("--rows", "A,B,C,D", "--only", "rclone")["rows"]
    moves = [f"{name} {way}" for name in "AB" for way in ("up", "down")]
    expected = {(row, who) for row in moves for who in ("spotrelay", "rclone", "the limit")}

    assert expected | {("C up", "spotrelay"), ("C up", "rclone")} == {(row["row"], row["who"]) for row in found}
    assert [] == [row for row in found if row["wrong"] or not min(row["wall_s"], row["cpu_s"], row["requests"])]
    requests = {row["who"]: row["requests"] for row in found if row["row"] == "B up"}
    # A request a file, whatever rclone asks besides; the index, and one piece.
    assert (True, 2) == (requests["rclone"] >= 20_000 // 256, requests["the limit"])


@pytest.mark.slow
def test_what_is_not_a_move_is_measured_too() -> None:
    """Nothing changed, and the last checkpoint: with the figures that they are about."""
    found = {row["row"]: row for row in bench("--rows", "E,G")["rows"] if row["who"] == "spotrelay"}

    assert [] == [row for row in found.values() if row["wrong"]]
    assert 1 == found["E"]["runs"]
    assert 1 <= found["G"]["figures"]["sent/changed"] < 2
    assert found["G"]["figures"]["wall/allowed"] > 0


@pytest.mark.slow
def test_a_store_that_is_not_well_is_survived() -> None:
    """Each fault once, and the deadline. It is also where the server's mischief meets our real client."""
    found = bench("--rows", "faults")["rows"]

    assert [] == [row for row in found if row["wrong"]]
    assert {"deadline"} < {row["row"] for row in found}


@pytest.mark.slow
def test_the_most_that_is_held_is_measured() -> None:
    """A file with holes, one without, many: each way, and held against what is allowed."""
    found = bench("--rows", "memory")["rows"]

    assert ["save", "restore"] * 3 == [row["row"].partition(",")[0] for row in found]
    assert [] == [row for row in found if row["wrong"]]
    assert all(0 < row["figures"]["MiB"] <= row["figures"]["MiB allowed"] for row in found)


def test_a_budget_that_is_broken_is_wrong(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held beyond the budget makes the row wrong, and so the bench fails. Otherwise the promise is one more
    figure in a table."""
    assert MEMORY_MIB == held.MEMORY_MIB
    monkeypatch.setattr(held, "MEMORY_MIB", -1024)  # less than nothing: the smallest tree is over it
    monkeypatch.setenv("PYTHONPATH", str(STEPS))
    sizes = Sizes(entries=200, sparse_bytes=8 << 20, dense_bytes=4 << 20)
    here = Bench(site, tmp_path, sizes, 1, Ours(), Leanest(1), [])

    found = list(held.held(here, tmp_path / "memory"))

    assert ["are allowed"] * 6 == [" ".join(sample.wrong)[-11:] for sample in found]


def test_a_row_that_does_not_exist_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--rows", "A,Z"],
        env=os.environ | {"PYTHONPATH": str(STEPS)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (2, True) == (done.returncode, done.stderr.endswith("no such row: Z\n"))
