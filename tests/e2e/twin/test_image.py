"""What is in the image: packer/acceptance.toml, held against what packer wrote, and against what boots of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.twin import image as images
from support.twin import rootfs
from support.twin.image import Built
from support.twin.stage import TwinStage
from support.twin.wheels import index, wheels

ROOT = Path(__file__).parents[3]
ACCEPTANCE: dict[str, Any] = tomllib.loads((ROOT / "packer" / "acceptance.toml").read_text())
MIB = 1 << 20
# What install.sh writes to.
OURS = ("opt", "etc/spotrelay", "etc/systemd", "etc/chrony", "usr/local")
NOT_STARTED = "etc/systemd/system/spotrelay-agent.service.d/not.conf"
# What the first boot of any Debian leaves there, and each later one anew.
PLACES = ("opt", "usr", "etc", "var/lib/spotrelay", "root", "home")


def added(built: Built) -> Iterator[tuple[str, os.stat_result]]:
    """Every file that the image has and its base has not, or has otherwise."""
    for place in PLACES:
        for folder, _, files in os.walk(built.added / place):
            for name in files:
                path = Path(folder) / name
                status = path.lstat()
                if not stat.S_ISCHR(status.st_mode):  # overlayfs's word for a file that is gone
                    yield str(path.relative_to(built.added)), status


def content(built: Built) -> dict[str, str]:
    """Name → mode, owner, and hash of what is in it, or what it points at."""
    return {name: described(built.added / name) for name, _ in added(built)}


def described(path: Path) -> str:
    status = path.lstat()
    data = str(path.readlink()).encode() if stat.S_ISLNK(status.st_mode) else path.read_bytes()
    return f"{stat.S_IMODE(status.st_mode):o} {status.st_uid}:{status.st_gid} {hashlib.sha256(data).hexdigest()}"


def installed(root: Path) -> dict[str, str]:
    """The same of everything in the places that install.sh writes to."""
    found = (path for place in OURS for path in sorted((root / place).rglob("*")))
    return {str(path.relative_to(root)): described(path) for path in found if path.is_symlink() or not path.is_dir()}


def test_image_adds_what_its_list_says_and_nothing_else(image: Built) -> None:
    """Every file is below a place that the list names, with its owner and mode. Otherwise an image grows what nobody
    asked for."""
    owned = ACCEPTANCE["files"]
    strangers, wrong = [], []
    for name, status in added(image):
        rule = next((rule for rule in owned if name == rule["path"] or name.startswith(rule["path"] + "/")), None)
        if rule is None:
            strangers.append(name)
        elif (status.st_uid, status.st_gid) != (0, 0):
            wrong.append(name)
        elif stat.S_ISREG(status.st_mode) and f"{stat.S_IMODE(status.st_mode):04o}" not in rule["modes"]:
            wrong.append(f"{name} {stat.S_IMODE(status.st_mode):04o}")

    assert ([], []) == (strangers, wrong)


def test_image_has_nothing_that_it_must_not_have(image: Built) -> None:
    """No setuid, nothing that everybody may write, no key, no history, no cache, no pip. Otherwise each instance has
    what one machine left behind."""
    bad = []
    for name, status in added(image):
        loose = not stat.S_ISLNK(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH)
        forbidden = any(word in f"/{name}" for word in ACCEPTANCE["forbidden"])
        bad += [name] if loose or (forbidden and status.st_size) else []

    assert [] == bad


def test_image_is_small(image: Built) -> None:
    """At most 150 MB over its base. Otherwise each boot reads it from S3."""
    blocks = sum(status.st_blocks * 512 for _, status in added(image))

    assert blocks <= ACCEPTANCE["size"]["mib"] * MIB, f"{blocks / MIB:.0f} MiB"


def test_image_is_tagged_with_what_is_inside(image: Built) -> None:
    """Version and commit, as `spotrelay doctor` and a person look for them. Otherwise nobody knows what runs."""
    tags = {tag["Key"]: tag["Value"] for tag in image.ami["Tags"]}
    inside = (image.added / "etc/spotrelay/commit").read_text().strip()

    assert (inside, "0.1.0") == (tags["spotrelay:commit"], tags["spotrelay:version"])
    assert image.ami["Name"].startswith("spotrelay-debian-")


def test_two_builds_from_one_commit_hold_the_same_bytes(image: Built) -> None:
    """The image's own places, file by file, mode by mode. Otherwise "it works on yesterday's image" is an argument."""
    base = rootfs.base()
    with tempfile.TemporaryDirectory(prefix=".second-", dir=rootfs.CACHE) as folder:
        target = Path(folder) / "image"
        images.build(target, image.bundle, base, wheels(images.BASE[rootfs.SUITE][1]))
        second = content(Built((target / "layer", base), {}, image.bundle, ""))
    first = content(image)
    ours = {name for name in first if name.startswith(OURS)}

    assert len(ours) > 1000
    assert {name: first[name] for name in ours} == {name: second.get(name) for name in ours}


async def test_installing_again_changes_nothing(cloud: TwinStage) -> None:
    """Onto what was left half-way, and then onto what is whole: every script, with the same files in the end, to the
    byte, mode and time of what nobody had to touch. Otherwise a bootstrap that is tried again is another machine."""
    cloud.making.files = {NOT_STARTED: "[Unit]\nConditionPathExists=/no\n"}
    twin = await cloud.twin(cloud.boot(""))
    await twin.up()
    before = installed(twin.root)
    bundle = cloud.folder / "state" / "bundle"
    shutil.unpack_archive(cloud.built.bundle, bundle, filter="tar")
    await twin.run(
        "sh", "-c", "rm /opt/spotrelay/.complete /opt/spotrelay/bin/spotrelay; echo >> /etc/spotrelay/commit"
    )
    assert before != installed(twin.root)
    with index(wheels(images.BASE[rootfs.SUITE][1])) as packages:
        environment = images.pip_settings(await cloud.region.wire(packages))
        repaired = await twin.run("env", *environment, str(bundle / "packer/install.sh"))
        times = {name: (twin.root / name).lstat().st_mtime_ns for name in before if name.startswith("opt/")}
    again = await twin.run(str(bundle / "packer/install.sh"))

    assert (0, 0) == (repaired.status, again.status), repaired.output + again.output
    assert before == installed(twin.root)
    assert times == {name: (twin.root / name).lstat().st_mtime_ns for name in times}
    assert "already there" in again.output
    assert "already there" not in repaired.output


@pytest.mark.parametrize("program", ACCEPTANCE["programs"], ids=lambda program: str(program["run"][0]))
async def test_program_of_the_image_runs(program: dict[str, Any], cloud: TwinStage) -> None:
    """With the output that the list says, on a booted instance. Otherwise a file is there, and does not work."""
    cloud.making.files = {NOT_STARTED: "[Unit]\nConditionPathExists=/no\n"}
    twin = await cloud.twin(cloud.boot(""))
    await twin.up()
    said = await twin.run(*program["run"])

    assert 0 == said.status, said.output
    assert program["says"] in said.output
