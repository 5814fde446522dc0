"""What stays at home is what the person said, or what is of no use elsewhere; and it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from spotrelay.core.errors import UsageError
from spotrelay.person import ignore
from support.tree import tree

PROJECT = {
    ".git/": {"HEAD": b""},
    ".gitignore": b"checkpoints/\n*.pt\n",
    "checkpoints/": {"last.pt": b""},
    "src/": {"__pycache__/": {"a.pyc": b""}, "a.py": b""},
    "data.bin": b"",
}


def test_without_a_word_only_the_useless_stays(tmp_path: Path) -> None:
    """Not what git ignores: that is checkpoints and data. A run that is begun with one would start over."""
    tree(PROJECT).write(tmp_path)
    stays = ignore.patterns(tmp_path)

    assert "" == stays.source
    assert [".git/", "src/__pycache__/"] == list(ignore.staying(tmp_path, stays.patterns))


def test_a_file_says_it_all(tmp_path: Path) -> None:
    """In place of the usual, so that everything can be taken along."""
    tree({**PROJECT, ".spotrelayignore": b"# mine\n\n*.bin\n/checkpoints\n"}).write(tmp_path)
    stays = ignore.patterns(tmp_path)

    assert ".spotrelayignore" == stays.source
    assert ["checkpoints/", "data.bin"] == list(ignore.staying(tmp_path, stays.patterns))


def test_an_empty_file_keeps_nothing_here(tmp_path: Path) -> None:
    tree({**PROJECT, ".spotrelayignore": b""}).write(tmp_path)

    assert [] == list(ignore.staying(tmp_path, ignore.patterns(tmp_path).patterns))


@pytest.mark.parametrize("text", [b"!keep.bin\n", b"ok\n/\n", b"a\0b\n"])
def test_what_it_cannot_mean_is_refused(tmp_path: Path, text: bytes) -> None:
    """With the place. Otherwise a person believes that it is heeded."""
    (tmp_path / ".spotrelayignore").write_bytes(text)

    with pytest.raises(UsageError, match="spotrelayignore"):
        ignore.patterns(tmp_path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".spotrelayignore").mkdir()

    with pytest.raises(UsageError, match="mend it"):
        ignore.patterns(tmp_path)
