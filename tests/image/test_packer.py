"""The packer template and the scripts that it runs: read by the tools that read them, and built from in tests/e2e."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKER = ROOT / "packer"
TEMPLATE = PACKER / "spotrelay.pkr.hcl"
BASES = ("debian-12", "debian-13", "ubuntu-24.04", "amazon-linux-2023", "gpu")
SHELL = [
    *sorted(PACKER.glob("*.sh")),
    *(path for path in sorted((ROOT / "scripts").iterdir()) if path.is_file() and not path.suffix),
    ROOT / ".ci" / "run",
]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck here: apt-get install shellcheck")
def test_shellcheck_has_nothing_to_say() -> None:
    """Of every script, all of its findings. Otherwise a name with a space in it, or a failure in a pipe, waits for a
    machine where nobody looks."""
    done = subprocess.run(
        ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *SHELL],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout


@pytest.mark.parametrize("script", sorted(PACKER.glob("*.sh")), ids=lambda path: path.name)
def test_script_stops_at_its_first_failure(script: Path) -> None:
    """Each begins with its purpose and with set -euo pipefail. Otherwise half an installation is an image."""
    lines = script.read_text().splitlines()

    assert "#!/usr/bin/env bash" == lines[0]
    assert lines[1].startswith("# ")
    assert "set -euo pipefail" in lines


def test_installation_is_made_of_every_script() -> None:
    """install.sh calls each that there is. Otherwise one is written, and on no machine."""
    concerns = re.search("for concern in (.*); do", (PACKER / "install.sh").read_text())

    assert concerns is not None
    assert sorted(path.name for path in PACKER.glob("install-*.sh")) == sorted(
        f"install-{concern}.sh" for concern in concerns[1].split()
    )


@pytest.mark.skipif(shutil.which("packer") is None, reason="no packer here: apt-get install packer")
@pytest.mark.parametrize("base", BASES)
def test_packer_takes_the_template(base: str, tmp_path: Path) -> None:
    """For every base, by Debian's packer, without the lines that say they are newer. Otherwise a person finds out, with
    an instance that runs meanwhile."""
    (tmp_path / TEMPLATE.name).write_text(re.sub(r"(?m)^.*# since 1\.7\n", "", TEMPLATE.read_text()))
    variables = ["-var", f"base={base}", "-var", "commit=none", "-var", f"root={ROOT}"]
    done = subprocess.run(
        ["packer", "validate", *variables, str(tmp_path / TEMPLATE.name)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"},
    )

    assert 0 == done.returncode, done.stdout + done.stderr


def test_image_demands_tokens_and_is_encrypted() -> None:
    """IMDSv2 on the machine that builds and on those that boot, an encrypted disk, no key of the builder's. Otherwise
    the account's own rules refuse the image, or should."""
    template = TEMPLATE.read_text()

    for setting in (
        r'http_tokens +=+ "required"',
        r'imds_support += "v2.0"',
        r"encrypt_boot += true",
        r"ssh_clear_authorized_keys += true",
        r'"spotrelay:commit" +=',
        r'"spotrelay:version" +=',
    ):
        assert re.search(setting, template), setting


def test_bundle_of_one_commit_has_the_same_bytes(tmp_path: Path) -> None:
    """Twice made, once hashed. Otherwise nobody can tell what is on a machine."""
    said = [
        subprocess.run(
            [ROOT / "scripts" / "bundle", tmp_path / name], capture_output=True, text=True, check=True
        ).stdout
        for name in ("first", "second")
    ]

    assert said[0] == said[1]
    assert re.fullmatch(r"[0-9a-f]{64}  spotrelay-bundle\.tar\.gz\n", said[0])
