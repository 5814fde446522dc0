"""Exclude patterns mean what exclude.py says, line by line; mount points are found where the kernel lists them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spotrelay.snapshot.exclude import EXCLUDED, MOUNT, Exclusions, mounts_below


@pytest.mark.parametrize(
    ("pattern", "matched", "not_matched"),
    [
        ("*.tmp", ["a.tmp", "d/e/a.tmp", ".tmp", "dir.tmp/"], ["a.tmp2", "A.TMP", "a.tmp/f"]),
        ("core", ["core", "d/core", "core/"], ["core2", "d/score"]),
        ("logs/*.txt", ["logs/a.txt", "logs/d/a.txt"], ["a.txt", "x/logs/a.txt"]),
        ("/cache", ["cache", "cache/"], ["d/cache"]),
        ("scratch/", ["scratch/", "d/scratch/"], ["scratch", "d/scratch"]),
        ("a/b/", ["a/b/"], ["a/b", "x/a/b/"]),
        ("data/**", ["data/x", "data/d/x"], ["data/", "data"]),
        ("[ab]?", ["a1", "d/b2"], ["c1", "a12"]),
        ("[!a]", ["b"], ["a"]),
        ("\udcff*", ["\udcffx"], ["x"]),
    ],
)
def test_patterns(pattern: str, matched: list[str], not_matched: list[str]) -> None:
    """A pattern excludes exactly what its line in the table says. Otherwise results are lost, or scratch is sent."""
    exclude = Exclusions([pattern])

    def why(spelled: str) -> str:
        return exclude.why(os.fsencode(spelled.rstrip("/")), spelled.endswith("/"))

    assert [EXCLUDED] * len(matched) == [why(path) for path in matched]
    assert [""] * len(not_matched) == [why(path) for path in not_matched]


def test_one_of_several_is_enough() -> None:
    """Patterns are independent of each other and of their order."""
    for patterns in (["*.a", "d/*", "e/"], ["e/", "d/*", "*.a"]):
        exclude = Exclusions(patterns)
        assert [EXCLUDED, EXCLUDED, EXCLUDED, ""] == [
            exclude.why(b"x.a", False), exclude.why(b"d/x", False), exclude.why(b"e", True), exclude.why(b"e", False)
        ]  # fmt: skip


@pytest.mark.parametrize("pattern", ["", "/", "//", "a\0b"])
def test_patterns_that_match_nothing(pattern: str) -> None:
    """A pattern that can match nothing is a mistake, and said to be one."""
    with pytest.raises(ValueError, match="matches nothing"):
        Exclusions([pattern])


def test_mounts_below(tmp_path: Path) -> None:
    """Only what lies below counts, with the kernel's octal escapes undone; not the directory itself."""
    run = tmp_path / "run"
    run.mkdir()
    lines = ["/", os.fspath(run), f"{run}/data", f"{run}/a\\040b", f"{run}-other/x"]
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("".join(f"36 35 98:0 / {point} rw - ext4 /dev/x rw\n" for point in lines))

    found = mounts_below(run, mountinfo)

    assert {b"data", b"a b"} == found
    assert MOUNT == Exclusions(mounts=found).why(b"data", True)
