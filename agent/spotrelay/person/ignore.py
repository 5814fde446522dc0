"""What stays at home when a directory becomes a run's first snapshot.

1. `.spotrelayignore`, if there is one: a pattern a line, by the rules of [run] exclude (`snapshot/exclude.py`).
2. Otherwise what is of no use on another machine (USUAL): an environment built for this one, caches, git's history.
3. What [run] exclude says, here and on every machine.

The first two are for the laptop alone: what a run makes of such names on its machine is saved like anything else.
`.gitignore` is not heeded, on purpose: it names what is not to be committed, and that is checkpoints, data and logs,
the very things that a run reads and leaves. Whatever stays is told, never left out in silence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spotrelay.core.errors import UsageError
from spotrelay.snapshot.exclude import Exclusions

FILE = ".spotrelayignore"
USUAL = (
    ".git/",
    ".hg/",
    ".venv/",
    "venv/",
    "node_modules/",
    "__pycache__/",
    ".ipynb_checkpoints/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".tox/",
    ".DS_Store",
)


@dataclass(frozen=True, slots=True)
class Stays:
    """`patterns`: of what stays. `source`: who says so; "" for USUAL."""

    patterns: tuple[str, ...]
    source: str = ""


def patterns(directory: Path) -> Stays:
    """Raises UsageError for a file that cannot be read, or holds what is no pattern."""
    path = directory / FILE
    try:
        text = path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return Stays(USUAL)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", next_step="mend it, or remove it") from error
    lines = [line.strip() for line in text.splitlines()]
    found = tuple(line for line in lines if line and not line.startswith("#"))
    for number, line in enumerate(lines, 1):
        if line.startswith("!"):
            raise UsageError(f"{path}:{number}: {line}: nothing is taken back here", next_step="name what stays")
    try:
        Exclusions(found)
    except ValueError as error:
        raise UsageError(f"{path}: {error}", next_step="write one like *.tmp, cache/ or data/*.bin") from error
    return Stays(found, FILE)


def staying(directory: Path, excluded: Sequence[str]) -> Iterator[str]:
    """What there is of it, its outermost names, as paths below `directory`; a directory ends in /. Blocking."""
    exclusions, left = Exclusions(excluded), [""]
    while left:
        above = left.pop()
        try:
            entries = sorted(os.scandir(directory / above), key=lambda entry: entry.name)
        except OSError:
            continue  # the save says so
        for entry in entries:
            path, is_directory = f"{above}{entry.name}", entry.is_dir(follow_symlinks=False)
            if exclusions.excluded(path, is_directory):
                yield path + "/" * is_directory
            elif is_directory:
                left.append(f"{path}/")
