"""The two forms of user data that make a stock image one of ours. Booted from by tests/e2e/twin/test_ways_in.py."""

from __future__ import annotations

from pathlib import Path

import yaml

SCRIPTS = Path(__file__).parents[2] / "scripts"
CLOUD_CONFIG = SCRIPTS / "examples/user-data/cloud-config.yaml"


def test_cloud_config_runs_the_bootstrap_script_as_it_is() -> None:
    """To the byte, and from where it knows itself to be user data. Otherwise there are two ways to install, and one of
    them is older."""
    text = CLOUD_CONFIG.read_text()
    document = yaml.safe_load(text)
    (file,) = document["write_files"]

    assert text.startswith("#cloud-config\n")
    assert (SCRIPTS / "bootstrap").read_text() == file["content"]
    assert [[file["path"]]] == document["runcmd"]
    assert file["path"].startswith("/var/lib/cloud/")
    assert 0o700 == int(file["permissions"], 8)


def test_forms_leave_room_for_a_run() -> None:
    """EC2 takes 16 KB. Otherwise who fills in a long command finds out at RunInstances."""
    for form in (SCRIPTS / "bootstrap", CLOUD_CONFIG):
        assert len(form.read_bytes()) <= 8 * 1024, form.name
