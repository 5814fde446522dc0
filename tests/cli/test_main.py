"""The way in and the ways out: help, version, and what is refused before anything begins, each with its exit code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import spotrelay
from spotrelay.cli import main as entry
from support.rehearsals import spotrelay as run


def outcome(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of `spotrelay WORDS`, in this process."""
    monkeypatch.setattr(sys, "argv", ["spotrelay", *words])
    return entry.run()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is also the working directory, and a place for temporary files."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_help_and_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No arguments show what there is; --version says which. Otherwise the first thing a person tries is an error."""
    assert outcome(monkeypatch) in (0, 2)
    assert "rehearse" in capsys.readouterr().out
    assert 0 == outcome(monkeypatch, "-h")
    assert 0 == outcome(monkeypatch, "--version")
    assert f"spotrelay {spotrelay.__version__}" in capsys.readouterr().out


async def test_shell_completion(tmp_path: Path) -> None:
    """A shell that asks gets the options. Otherwise completion is an option in --help and nothing more."""
    asked = {
        "_SPOTRELAY_COMPLETE": "complete_bash",
        "_TYPER_COMPLETE_ARGS": "spotrelay rehearse --inter",
        "COMP_WORDS": "spotrelay rehearse --inter",
        "COMP_CWORD": "2",
    }
    said = await run(cwd=tmp_path, env=asked)

    assert ["--interrupt-after", "--interruptions"] == said.out.split()


WRONG = {
    "a time that is none": (["--interrupt-after", "soon", "--", "true"], 2, "write 10s"),
    "a moment of no kind": (["--interrupt-after", "1s:maybe", "--", "true"], 2, "10s:no-notice"),
    "too many moments": (
        ["--interrupt-after=1", "--interrupt-after=2", "--interruptions=1", "--", "true"],
        2,
        "raise it",
    ),
    "a broken expression": (["--progress", "epoch (", "--", "true"], 2, "epoch (\\d+)"),
    "an unknown instance type": (["--instance-type", "x9.huge", "--", "true"], 2, "g5.xlarge"),
    "an exclude that excludes nothing": (["--exclude", "/", "--", "true"], 3, "*.tmp"),
    "no such directory": (["--directory", "nowhere", "--", "true"], 2, "--directory"),
    "the root": (["--directory", "/", "--", "true"], 2, "cd to the project"),
    "output that is not empty": (["--output", ".", "--", "true"], 2, "new folder"),
    "output that is a file": (["--output", "file", "--", "true"], 2, "new folder"),
    "kept where there is something": (["--keep", ".", "--", "true"], 2, "new folder"),
    "no such program": (["--", "no-such-program"], 127, "COMMAND"),
    "no such file": (["--", "./nothing.sh"], 127, "COMMAND"),
    "a file that may not be executed": (["--", "./file"], 126, "chmod +x"),
    "a directory": (["--", "./folder"], 126, "program in it"),
    "an empty word": (["--", ""], 127, "COMMAND"),
}


@pytest.mark.parametrize(("words", "code", "remedy"), WRONG.values(), ids=WRONG.keys())
def test_what_is_refused_at_once(
    words: list[str],
    code: int,
    remedy: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything starts: one line with what is wrong and what to do, its own code, nothing on standard output.
    Otherwise a slip of the pen costs the time of a rehearsal, or a script reads an error as a report."""
    (project / "file").touch()
    (project / "folder").mkdir()

    assert code == outcome(monkeypatch, "rehearse", "--json", *words)

    said = capsys.readouterr()
    assert "" == said.out
    assert said.err.startswith("spotrelay: ")
    assert 1 == len(said.err.splitlines())
    assert remedy in said.err


@pytest.mark.parametrize("words", [["--nosuch"], ["rehearse"], ["rehearse", "--interruptions", "-1", "--", "true"]])
def test_what_the_parser_refuses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown options, a missing command, numbers out of range: code 2 like other wrong usage."""
    assert 2 == outcome(monkeypatch, *words)


def test_debug_shows_the_traceback(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--debug, and where it happened. Otherwise a person who wants to report a fault has one line to send."""
    assert 2 == outcome(monkeypatch, "--debug", "rehearse", "--limit", "x", "--", "true")

    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "not a time" in said


async def test_no_room_for_temporary_files(tmp_path: Path) -> None:
    """A TMPDIR that is not there is named. Otherwise the bucket lands in /tmp, against somebody's reasons."""
    said = await run("rehearse", "--", "true", cwd=tmp_path, env={"TMPDIR": "/nonexistent"})

    assert 2 == said.status
    assert "TMPDIR=/nonexistent" in said.err


async def test_an_encoding_that_lacks_signs(tmp_path: Path) -> None:
    """An ASCII terminal and a name that is no UTF-8 get a readable error. Otherwise the error is about encodings."""
    said = await run(
        "rehearse", "--directory", "ü\udcff", "--", "true", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"}
    )

    assert 2 == said.status
    assert "no such directory" in said.err
    assert "Traceback" not in said.err
