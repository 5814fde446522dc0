"""Row F, so short that it measures nothing: whose turn it is, and what is held against what."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import beside
from bench.contenders import Leanest, Ours
from bench.plan import Bench
from bench.site import Site
from bench.workloads import Sizes

STEPS = Path(__file__).parents[2] / "scripts" / "steps"


@pytest.mark.slow
def test_one_command_alone_and_beside_us(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command in all turns, slower than its neighbours by so much, alone as well as beside us. Otherwise a
    figure says how two processes differ, and nobody sees what of it is noise."""
    monkeypatch.setattr(beside, "TURN_S", 1.0)
    monkeypatch.setattr(beside, "PAIRS", 3)
    monkeypatch.setenv("PYTHONPATH", str(STEPS))
    here = Bench(site, tmp_path, Sizes(beside_bytes=100 << 20), 1, Ours(), Leanest(1), [])

    found = list(beside.slowed(here, tmp_path / "tree"))

    assert ["beside spotrelay", *["the command alone", "beside spotrelay"] * 2] == [sample.who for sample in found]
    ours, alone = found[0].figures, found[1].figures
    assert set(alone) == {name for name in ours if "slowed" in name}
    assert sum(sample.figures["MiB sent"] for sample in found if "MiB sent" in sample.figures) > 0


def test_slowed_is_held_against_both_neighbours() -> None:
    """What becomes slower all the time, for other reasons, is not slowed by us."""
    drifting = [dict.fromkeys(("computing", "computing, CPU", "writing", "writing, CPU"), n) for n in (1.0, 1.1, 1.2)]
    before, one, after = drifting

    assert pytest.approx([0.0] * 4) == list(beside._slowed(one, before, after).values())
    assert pytest.approx([10.0] * 4) == list(beside._slowed(one, before, before).values())
