"""The unit files, as systemd reads them, without booting anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
OURS = sorted(path.name for path in UNITS.glob("spotrelay-*.*") if path.is_file())
SYSTEM = next((path for path in map(Path, ("/usr/lib/systemd/system", "/lib/systemd/system")) if path.is_dir()), None)

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or SYSTEM is None, reason="no systemd-analyze here: apt-get install systemd"
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A root with this computer's own units and ours; the programs that they name are there."""
    assert SYSTEM is not None
    shutil.copytree(
        SYSTEM, tmp_path / "usr/lib/systemd/system", symlinks=True, ignore=shutil.ignore_patterns("*.wants")
    )
    etc = tmp_path / "etc/systemd/system"
    shutil.copytree(UNITS, etc)
    for program in ("opt/spotrelay/bin/spotrelay-agent", "bin/sh", "usr/bin/sh", "sbin/agetty"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", tmp_path / program)
    return tmp_path


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


def test_systemd_has_nothing_to_say_about_the_units(machine: Path) -> None:
    """No unknown word, no missing program, no cycle with what else boots. Otherwise systemd leaves something out, with
    a line in a journal that nobody reads, and the exit code 0."""
    done = analyze("verify", "--man=no", f"--root={machine}", *OURS, "serial-getty@ttyS0.service", "multi-user.target")

    assert (0, "") == (done.returncode, done.stderr)


def test_exposure_is_what_is_stated(machine: Path) -> None:
    """8.9 of 10: it runs anybody's program as anybody, and the unit says line by line what that forbids. Otherwise the
    sandbox shrinks, and nobody notices."""
    done = analyze("security", "--offline=true", f"--root={machine}", "spotrelay-agent.service")
    score = re.search(r"exposure level for spotrelay-agent.service: ([0-9.]+)", done.stdout)

    assert score is not None, done.stderr
    assert float(score[1]) <= 8.9


def test_plan_fits_into_the_time_that_the_unit_grants() -> None:
    """relay.SYSTEM_STOP_S ends before TimeoutStopSec. Otherwise systemd kills the last save."""
    from spotrelay.daemon import STOP_MARGIN_S
    from spotrelay.relay import SYSTEM_STOP_S

    stop = re.search(r"(?m)^TimeoutStopSec=(\d+)$", (UNITS / "spotrelay-agent.service").read_text())

    assert stop is not None
    assert SYSTEM_STOP_S + STOP_MARGIN_S <= float(stop[1])
