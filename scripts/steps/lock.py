"""The two lock files: requirements.lock, which the image installs, and scripts/dev.lock, that plus what development
and the demo need.

Two, because pip has no lock with parts: an image must not carry a test suite, and a developer's environment must be as
exact as the image's. The second is resolved under the first, so what both name is the same version. Both hold hashes
for every platform and Python (`uv pip compile --universal`), and no address: where packages come from is the machine's
own setting.

Whether they are current is seen without a network: their first line holds a hash of what pyproject.toml asks for.

    lock.py [--upgrade]      write both anew; needs a network, and fetches uv for it (a person who locks pays for it)
    lock.py --check          exit 1 and say why, where one is stale
    lock.py --fingerprint    a hash of all that decides what an installed spotrelay is, besides its own files
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "requirements.lock"
DEVELOPMENT = ROOT / "scripts" / "dev.lock"
UV = "uv>=0.7,<1"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--fingerprint", action="store_true")
    parser.add_argument("--upgrade", action="store_true")
    options = parser.parse_args()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if options.fingerprint:
        print(digest({"project": pyproject["project"], "setuptools": pyproject["tool"]["setuptools"]}))
        return 0
    if options.check:
        found = problems(asked(pyproject), IMAGE.read_text(), DEVELOPMENT.read_text())
        print("\n".join(found))
        return bool(found)
    write(asked(pyproject), pyproject["build-system"]["requires"], upgrade=options.upgrade)
    return 0


def asked(pyproject: dict[str, Any]) -> str:
    """A hash of everything in pyproject.toml that a lock answers."""
    project = pyproject["project"]
    return digest(
        [
            project["requires-python"],
            project["dependencies"],
            project.get("optional-dependencies", {}),
            pyproject["build-system"]["requires"],
        ]
    )


def digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def header(wanted: str) -> str:
    return f"# Answers {wanted} (pyproject.toml). Written by scripts/lock.\n"


def problems(wanted: str, image: str, development: str) -> list[str]:
    """Why the locks are not what scripts/lock would keep; empty when they are."""
    found = [
        f"{name} is older than pyproject.toml: run scripts/lock"
        for name, text in (("requirements.lock", image), ("scripts/dev.lock", development))
        if not text.startswith(header(wanted))
    ]
    differing = sorted({pin[0] for pin in set(PIN.findall(image)) - set(PIN.findall(development))})
    if differing:
        found.append(f"the locks differ in {', '.join(differing)}: run scripts/lock")
    return found


def write(wanted: str, build: list[str], *, upgrade: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        uv, build_requires = Path(folder) / "uv", Path(folder) / "build.in"
        build_requires.write_text("\n".join(build))
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--target", str(uv), UV]
        subprocess.run(pip, check=True)
        compile_ = [
            *(str(uv / "bin" / "uv"), "pip", "compile", "-q", "--universal", "--generate-hashes", "--no-header"),
            *("--no-emit-index-url", "--no-emit-find-links", "--no-annotate", *(["--upgrade"] if upgrade else [])),
        ]
        for lock, more in (
            (IMAGE, []),
            (DEVELOPMENT, ["--all-extras", "-c", "requirements.lock", str(build_requires)]),
        ):
            subprocess.run([*compile_, "pyproject.toml", *more, "-o", str(lock)], cwd=ROOT, check=True)
            lock.write_text(header(wanted) + re.sub(r"(?m)^# Answers .*\n", "", lock.read_text()))


if __name__ == "__main__":
    sys.exit(main())
