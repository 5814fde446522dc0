"""No tracked file names a place that only one machine has: this checkout's path, a person's home, or a package index.

Where packages come from is a machine's own setting. A file that names an index works for its author, and fails behind
a mirror or without a network.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What stands in brackets keeps this file from being its own first finding.
INDEX = re.compile(rb"pypi[.]org|pythonhosted[.]org|npmjs[.]org|--(?:extra-)?index[-]url\b|--trusted[-]host\b")
# Folders of every machine: a checkout just below one of them makes none of them private.
COMMON = {Path(p) for p in ("/", "/tmp", "/home", "/root", "/opt", "/srv", "/mnt", "/usr/src", "/var/tmp")}


def main() -> int:
    found = [f"{name}:{line}: {what}" for name in tracked() for line, what in findings(ROOT / name)]
    print("\n".join(found))
    return bool(found)


def tracked() -> list[str]:
    # safe.directory: the checkout may well be somebody else's; listing its files runs nothing of theirs.
    git = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    names = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in names if (ROOT / name).is_file()]


def findings(file: Path) -> Iterator[tuple[int, str]]:
    private = re.compile(b"|".join(re.escape(f"{place}/".encode()) for place in private_places()))
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        for pattern, what in ((private, "a path of this machine"), (INDEX, "a package index")):
            if match := pattern.search(line):
                yield number, f"{what}: {match[0].decode(errors='replace')}"


def private_places() -> list[Path]:
    around = (ROOT.parent, Path(os.environ.get("HOME", "/")))
    return [ROOT, *(place for place in around if place not in COMMON)]


if __name__ == "__main__":
    sys.exit(main())
