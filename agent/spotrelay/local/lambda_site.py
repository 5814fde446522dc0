"""The clean Python in which the launcher runs: boto3, Lambda's runtime client, and nothing else that is installed here.

On AWS the function has its own files and what the runtime brings. Here everything of the agent lies beside it, and an
import too many would go unnoticed until it is deployed. So the interpreter starts without its site-packages, and finds
two folders: the function's files, copied and read-only as in /var/task, and links to the packages of the closure of
{boto3, awslambdaric}. Links, as botocore alone has 2,000 files; and its compiled modules come along.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

_RUNTIME = ("boto3", "awslambdaric")


def link_packages(site: Path, names: Iterable[str] = _RUNTIME) -> None:
    """Fill the new folder `site` with links to the packages `names` and all that they require."""
    site.mkdir(parents=True)
    for package in _closure(names):
        for name in _top_level(package):
            (site / name).symlink_to(Path(str(package.locate_file(name))))


def _closure(names: Iterable[str]) -> Iterator[metadata.Distribution]:
    seen, ahead = set[str](), list(names)
    while ahead:
        name = re.sub(r"[-_.]+", "-", ahead.pop()).lower()
        if name not in seen:
            seen.add(name)
            package = metadata.distribution(name)
            yield package
            ahead += filter(None, map(_required, package.requires or []))


def _required(requirement: str) -> str | None:
    """The name in a line of requirements; None for extras, and for what another platform or Python would need."""
    name, _, marker = requirement.partition(";")
    match = re.match(r"[A-Za-z0-9._-]+", name)
    assert match is not None, requirement
    if "extra" in marker or (marker and not _installed(match[0])):
        return None
    return match[0]


def _installed(name: str) -> bool:
    return next(iter(metadata.distributions(name=name)), None) is not None


def _top_level(package: metadata.Distribution) -> set[str]:
    # RECORD by hand: `package.files` makes an object of each line and takes fifty times as long (50 ms for botocore).
    lines = (package.read_text("RECORD") or "").splitlines()
    names = {re.split(r"[/,]", line, maxsplit=1)[0] for line in lines}
    return names - {"", "..", "__pycache__"}


def copy_task(task: Path, files: Iterable[tuple[str, Path]]) -> None:
    """Lay out the function's files (name, source) in the new folder `task`, and take the right to write away."""
    task.mkdir(parents=True)
    for name, source in files:
        target = task / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o444)
    for folder in _folders(task):
        folder.chmod(0o555)


def remove_task(task: Path) -> None:
    for folder in _folders(task):
        folder.chmod(0o755)
    shutil.rmtree(task)


def _folders(task: Path) -> list[Path]:
    return [task, *(path for path in task.rglob("*") if path.is_dir())]
