"""What a command finds when it begins, and what is said when it cannot."""

from __future__ import annotations

import os
import pwd
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotrelay.core.errors import CommandError, CommandNotExecutable, CommandNotFound
from support.processes import Start

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter; pytest's own is for its user alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


async def test_environment_is_exactly_what_is_given(start: Start, output: Path) -> None:
    """Nothing of the agent's environment leaks: it may hold credentials."""
    child = await start("/usr/bin/env", environment={"A": "1", "ODD": "a\nb=\udcff"})
    await child.wait()

    assert output.read_bytes() == b"A=1\nODD=a\nb=\xff\n"


async def test_output_is_appended(start: Start, output: Path) -> None:
    """Output and errors go to one file, in order, after what is there."""
    output.write_text("before\n")
    child = await start("sh", "-c", "echo one; echo two >&2; echo three")
    await child.wait()

    assert output.read_text() == "before\none\ntwo\nthree\n"


async def test_fresh_process(start: Start, output: Path) -> None:
    """No descriptors but the three, input empty, a session of its own, no signal ignored or blocked, though the agent
    ignores and blocks some. A command that inherits an ignored signal can never be asked to stop."""
    previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        show = "ls /proc/self/fd | grep -vx 3; cat; ps -o sid= -p $$"
        child = await start("dash", "-c", show)
        await child.wait()
        # Not behind a shell: dash clears the mask itself.
        await (await start("grep", "-E", "Sig(Ign|Blk)", "/proc/self/status")).wait()
    finally:
        os.close(leak)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGUSR1, previous)

    expected = ["0", "1", "2", str(child.pid), "SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
    assert expected == output.read_text().split()


async def test_umask(start: Start, tmp_path: Path) -> None:
    """Files of the command have the modes that its umask gives them."""
    child = await start("sh", "-c", ": > file", umask=0o027)
    await child.wait()

    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


async def test_paths_are_relative_to_the_directory(start: Start, tmp_path: Path, output: Path) -> None:
    """`./train.sh` is the one in the execution directory, wherever the agent itself was started."""
    (tmp_path / "train.sh").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "train.sh").chmod(0o755)
    child = await start("./train.sh")
    await child.wait()

    assert f"{tmp_path}\n" == output.read_text()


def not_found(folder: Path) -> list[str]:
    return ["spotrelay-no-such-program"]


def no_such_file(folder: Path) -> list[str]:
    return ["./train.sh"]


def no_interpreter(folder: Path) -> list[str]:
    (folder / "train.sh").write_text("#!/no/such/python\n")
    (folder / "train.sh").chmod(0o755)
    return ["./train.sh"]


def not_executable(folder: Path) -> list[str]:
    (folder / "train.sh").write_text("#!/bin/sh\n")
    return ["./train.sh"]


def no_shebang(folder: Path) -> list[str]:
    (folder / "train.sh").write_text("echo hello\n")
    (folder / "train.sh").chmod(0o755)
    return ["./train.sh"]


def a_directory(folder: Path) -> list[str]:
    (folder / "train").mkdir()
    return ["./train"]


def null_byte(folder: Path) -> list[str]:
    return ["echo", "a\0b"]


@pytest.mark.parametrize(
    ("prepare", "kind", "words"),
    [
        (not_found, CommandNotFound, "in no folder of PATH"),
        (no_such_file, CommandNotFound, "there is no"),
        (no_interpreter, CommandNotFound, "the interpreter that it asks for is not here"),
        (not_executable, CommandNotExecutable, "chmod +x ./train.sh"),
        (no_shebang, CommandNotExecutable, "add a first line (#!/bin/bash)"),
        (a_directory, CommandNotExecutable, "is a directory"),
        (null_byte, CommandNotExecutable, "null"),
    ],
)
async def test_refusal_says_what_to_do(start: Start, tmp_path: Path, prepare, kind, words: str) -> None:  # type: ignore[no-untyped-def]
    """A command that cannot start is refused with the shell's code and a remedy: the person who reads it pays for the
    instance that it was read on."""
    with pytest.raises(kind) as refused:
        await start(*prepare(tmp_path))

    assert words in str(refused.value)
    assert refused.value.next_step


async def test_missing_directory(start: Start, tmp_path: Path) -> None:
    """The directory is named as what is missing, and not the program."""
    with pytest.raises(CommandError, match=r"directory .*/nowhere: No such file or directory — create it"):
        await start("true", directory=tmp_path / "nowhere")


async def test_output_that_cannot_be_written(start: Start, tmp_path: Path) -> None:
    """A command whose output would be lost is not started."""
    with pytest.raises(CommandError, match=r"output .*/log: No such file"):
        await start("true", output=tmp_path / "nowhere" / "log")


async def test_unknown_user(start: Start) -> None:
    """Nobody is run as root because a user is missing."""
    with pytest.raises(CommandError, match="no user 'spotrelay-nobody'"):
        await start("true", user="spotrelay-nobody")


async def test_own_user(start: Start, output: Path) -> None:
    """To name the user who we are needs no root, and gives the user's own HOME."""
    me = pwd.getpwuid(os.geteuid())
    child = await start("sh", "-c", 'echo "$HOME $USER $LOGNAME"', user=me.pw_name)
    await child.wait()

    assert f"{me.pw_dir} {me.pw_name} {me.pw_name}\n" == output.read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may be anybody")
async def test_other_user_needs_root(start: Start) -> None:
    """Without root another user is refused, not ignored."""
    with pytest.raises(CommandError, match="run as root"):
        await start("true", user="root")


@pytest.mark.root
@needs_root
async def test_other_user(start: Start, public: Path, output: Path) -> None:
    """The command is that user in every respect, and may still write to /dev/stderr by name."""
    script = 'id -u; id -G; echo "$HOME $USER $SHELL"; echo opened >> /dev/stderr; grep CapEff /proc/self/status'
    ours = os.getgroups()
    os.setgroups([*ours, 4242])
    try:
        child = await start("sh", "-c", script, directory=public, user="nobody")
        await child.wait()
    finally:
        os.setgroups(ours)

    groups = " ".join(map(str, os.getgrouplist("nobody", NOBODY.pw_gid)))
    login = f"{NOBODY.pw_dir} nobody {NOBODY.pw_shell}"
    caps = "CapEff:\t" + "0" * 16
    assert [str(NOBODY.pw_uid), groups, login, "opened", caps] == output.read_text().splitlines()


@pytest.mark.root
@needs_root
async def test_directory_closed_to_the_user(start: Start, public: Path) -> None:
    """A directory that only root may enter is refused before the command fails in it half-way."""
    (public / "closed").mkdir(mode=0o700)

    with pytest.raises(CommandError, match="closed: Permission denied — let nobody enter it"):
        await start("true", directory=public / "closed", user="nobody")


@pytest.mark.root
@needs_root
async def test_signal_for_another_user(start: Start, public: Path, output: Path) -> None:
    """Root's agent sees through a shell of another user."""
    child = await start("sh", "-c", "sleep 99; echo after", directory=public, user="nobody")
    delivery = await child.signal(signal.SIGTERM)

    assert [child.pid] == list(delivery.shells) or [child.pid] == list(delivery.programs)
    await child.wait()
    assert output.read_text() == ""
