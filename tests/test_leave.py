"""The end of a process, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# A thread that would abort the process, or hold it up, where the interpreter is taken down in order.
STUBBORN = "import threading; threading.Thread(target=threading.Event().wait).start()"


@pytest.mark.parametrize("code", [0, 34])
def test_process_ends_with_its_own_code_and_all_that_it_printed(code: int) -> None:
    """Whatever threads are left. Otherwise the exit code says now and then that the agent was killed."""
    program = f"{STUBBORN}; from spotrelay.leave import leave; print('said' * 5_000, end=''); leave({code})"
    ended = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, timeout=60, check=False)

    assert (code, b"said" * 5_000) == (ended.returncode, ended.stdout)


def test_reader_that_is_gone_changes_nothing() -> None:
    """A closed pipe is no reason for another code. Otherwise `spotrelay … | head` looks like a failure of ours."""
    read, write = os.pipe()
    os.close(read)
    program = "from spotrelay.leave import leave; print('said'); leave(3)"
    with os.fdopen(write, "wb") as output:
        ended = subprocess.run([sys.executable, "-I", "-c", program], stdout=output, timeout=60, check=False)

    assert 3 == ended.returncode
