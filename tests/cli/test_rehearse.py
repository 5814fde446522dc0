"""`spotrelay rehearse` as a person runs it, around real programs: each fault told apart, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from spotrelay.cli import report as reports
from support.cgroups import limited
from support.machines import needs_isolation
from support.processes import eventually
from support.rehearsals import MISBEHAVING, REFUSING, ROOT, Said, ended, mentioning, spotrelay, start

# Saves its step at SIGTERM and goes on from there; with a third argument, after thinking about it for so long. With a
# fourth, it keeps its pace for so many attempts; the rest it hurries through.
RESUMES = """
import os, signal, sys, time
from pathlib import Path
steps, pace, slow, slowly = [float(word) for word in [*sys.argv[1:], *["0", "0", "0", "1"][len(sys.argv) - 1:]]]
steps, told, state = int(steps), [], Path("state")
if int(os.environ["SPOTRELAY_ATTEMPT"]) > slowly:
    pace /= 20
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
for step in range(int(state.read_text()) + 1 if state.exists() else 1, steps + 1):
    print("step", step)
    time.sleep(pace)
    if told:
        time.sleep(slow)
        state.write_text(str(step))
        sys.exit(0)
"""
# Twenty seconds, so that steps are left to go on with, however late a busy machine interrupts; then one.
STEPS = ["200", "0.1"]
SOON = ["--interrupt-after", "500ms", "--progress", r"step (\d+)"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with good and bad programs in it, beside an empty folder for temporary files."""
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "tmp").mkdir()
    (folder / "resumes.py").write_text(RESUMES)
    for program in MISBEHAVING.glob("*.py"):
        shutil.copy(program, folder)
    return folder


def here(project: Path) -> dict[str, str]:
    return {"TMPDIR": str(project.parent / "tmp")}


async def rehearse(project: Path, *words: str, encoding: str = "utf-8", **how: Any) -> Said:
    """And nothing may be left of it, however it ended."""
    before = tree(project)
    env = {**here(project), "PYTHONIOENCODING": encoding}
    said = await spotrelay("rehearse", *words, cwd=project, env=env, **how)
    assert [] == list((project.parent / "tmp").iterdir())
    assert before == tree(project)
    return said


def tree(folder: Path) -> list[tuple[str, bytes]]:
    return sorted((str(path), path.read_bytes()) for path in folder.rglob("*") if path.is_file())


def python(*words: str) -> list[str]:
    return ["--", sys.executable, *words]


async def test_a_program_that_resumes(project: Path) -> None:
    """It goes on on a fresh machine, and the report says what was seen of it. Otherwise 0 means nothing."""
    said = await rehearse(project, *SOON, "--json", *python("resumes.py", *STEPS))
    found = said.document
    first, second = found["attempts"]

    assert (0, "resumable", True) == (said.status, found["verdict"], found["ok"]), said
    assert ("notice", "exit code 0", True, True, True) == tuple(
        first[name] for name in ("ended_by", "end", "clean", "reacted", "changed")
    )
    assert ("itself", True, first["last"] + 1, 200) == (
        second["ended_by"],
        second["continued"],
        second["first"],
        second["last"],
    )
    assert first["instance"] != second["instance"]
    assert "step 200" == second["output_tail"][-1]
    assert {"result": "succeeded", "exit_code": 0, "message": ""} == found["outcome"]
    assert {"planned": 1, "held": 1} == found["interruptions"]


@pytest.mark.parametrize(
    ("program", "code", "verdict"),
    [
        ("starts_over.py", 40, "starts-over"),
        pytest.param("ignores_sigterm.py", 41, "ignores-sigterm", marks=pytest.mark.slow),
        pytest.param("state_elsewhere.py", 42, "state-elsewhere", marks=pytest.mark.slow),
    ],
)
async def test_each_fault_is_told_apart(project: Path, program: str, code: int, verdict: str) -> None:
    """Each program that misbehaves gets its own verdict. Otherwise a person mends what is not broken."""
    await needs_isolation()
    said = await rehearse(project, *SOON, "--notice", "12s", "--json", *python(program, "80", "0.1"))

    assert (code, verdict) == (said.status, said.document["verdict"]), said
    if verdict == "state-elsewhere":
        (write,) = said.document["outside_writes"]
        assert write["path"].endswith("/state_elsewhere.checkpoint")
        assert [1] == write["attempts"]


@pytest.mark.slow
async def test_a_sudden_death_continues_from_what_was_saved(project: Path) -> None:
    """Without notice the next attempt has the last background save. Otherwise --no-notice proves a notice."""
    words = ["--interrupt-after", "3s", "--no-notice", "--save-every", "300ms", "--json"]
    said = await rehearse(project, *words, *python("ignores_sigterm.py", "80", "0.1"))
    first, second = said.document["attempts"]

    assert (0, "resumable") == (said.status, said.document["verdict"]), said
    assert ("sudden death", None, None) == (first["ended_by"], first["exit_code"], first["clean"])
    assert 1 < second["first"] <= first["last"] + 1


@pytest.mark.slow
async def test_moments_of_both_kinds_and_the_final_directory(project: Path) -> None:
    """Two notices and a death between them; the directory at the end is where --output says, and all the rest where
    --keep says. Otherwise nobody can compare the result, or look into a rehearsal that went wrong."""
    output, kept = project.parent / "output", project.parent / "kept"
    moments = [f"--interrupt-after={moment}" for moment in ("500ms", "1s:no-notice", "500ms")]
    folders = [f"--output={output}", f"--keep={kept}"]
    said = await rehearse(project, *moments, *folders, "--json", *python("resumes.py", *STEPS, "0", "3"))

    assert 0 == said.status, said
    assert ["notice", "sudden death", "notice", "itself"] == [a["ended_by"] for a in said.document["attempts"]]
    assert RESUMES == (output / "resumes.py").read_text()
    assert said.document["attempts"][2]["last"] == int((output / "state").read_text())
    assert {"store", "state", "launcher.log"} == {path.name for path in kept.iterdir()}
    assert 4 == len(list((kept / "state").glob("i-*/agent.log")))


async def test_over_before_it_was_interrupted(project: Path) -> None:
    """Nothing was shown, and the report says so. Otherwise a short test run passes for a proof."""
    said = await rehearse(project, "--interrupt-after", "1h", "--json", *python("resumes.py", "3", "0"))

    assert (45, "not-interrupted") == (said.status, said.document["verdict"]), said
    assert {"planned": 1, "held": 0} == said.document["interruptions"]


async def test_a_command_that_fails_shows_its_last_words(project: Path) -> None:
    """Its exit code, what it means, its own error, on a terminal without our signs too. Otherwise the person must run
    it again to read it."""
    said = await rehearse(project, *python("-c", "import nothing_of_the_kind"), encoding="ascii")

    assert 44 == said.status, said
    assert "ModuleNotFoundError: No module named 'nothing_of_the_kind'" in said.out
    assert "the command ended with exit code 1" in " ".join(said.out.split())


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="limits memory, which takes root")
async def test_a_command_that_is_killed_for_want_of_memory(project: Path) -> None:
    """The cause, and what to do about it. Otherwise a person is told to run it by itself first, where it has more."""
    starve = "import os, sys; open(sys.argv[1], 'w').write('0'); bytearray(256 << 20)"
    with limited(64 << 20) as cgroup:
        said = await rehearse(project, "--json", *python("-c", starve, str(cgroup / "cgroup.procs")))
    (attempt,) = said.document["attempts"]

    assert ("failed", 1) == (said.document["verdict"], attempt["oom_kills"]), said
    assert "out of memory" in said.document["explanation"]
    assert "want of memory" in attempt["meaning"]
    assert "more memory" in said.document["advice"][0]


async def test_a_checkpoint_that_takes_too_long(project: Path) -> None:
    """It resumes, but not in the time that there is. Otherwise it does so in a rehearsal only."""
    said = await rehearse(
        project, *SOON, "--notice", "6s", "--save-every", "200ms", "--json", *python("resumes.py", *STEPS, "1.1")
    )

    assert (43, "too-slow") == (said.status, said.document["verdict"]), said
    assert said.document["save"]["needed_s"] > said.document["save"]["notice_s"] == 6.0


@pytest.mark.slow
async def test_silence_is_no_verdict(project: Path) -> None:
    """A program that says nothing gets no verdict, but what else was seen. Otherwise the answer is a guess."""
    silent = "import os, time; time.sleep(600 if os.environ['SPOTRELAY_ATTEMPT'] == '1' else 0)"
    said = await rehearse(project, "--interrupt-after=1s", "--json", *python("-c", silent))

    assert (46, "cannot-tell") == (said.status, said.document["verdict"]), said
    assert "SIGTERM" == said.document["attempts"][0]["end"]
    assert "no handler" in said.document["attempts"][0]["meaning"]
    assert said.document["attempts"][0]["changed"] is False


async def test_a_limit_ends_it(project: Path) -> None:
    """What never ends is ended at the limit, at once, and judged by it. Otherwise a CI job waits for its own limit."""
    said = await rehearse(project, "--interrupt-after=1h", "--limit=4s", "--json", "--", "sleep", "600")

    assert (44, None) == (said.status, said.document["outcome"]), said
    assert "within 4 s" in said.document["explanation"]


@pytest.mark.slow
@pytest.mark.parametrize("program", ["resumes.py", "state_elsewhere.py"])
async def test_where_isolation_is_refused(project: Path, program: str) -> None:
    """In a container that refuses namespaces the verdict is right, too, and it says what could not be known. Otherwise
    a program that saves in /tmp passes in CI and starts over in the cloud."""
    probe = await spotrelay("--version", cwd=project, wrapper=REFUSING)
    if probe.status != 0:
        pytest.skip("namespaces are refused here already, or cannot be refused")
    steps = STEPS if program == "resumes.py" else ["80", "0.1"]
    said = await rehearse(project, *SOON, "--json", *python(program, *steps), wrapper=REFUSING)
    found = said.document

    assert (0 if program == "resumes.py" else 40) == said.status, said
    assert found["isolation"] != "full"
    assert found["outside_writes"] is None


@pytest.mark.slow
async def test_a_project_with_any_name_and_its_own_environment(project: Path) -> None:
    """Spaces, bytes that are no UTF-8, and spotrelay installed in the project's own .venv, which no machine has.
    Otherwise the most usual set-up of all is the one that does not work."""
    odd = project.rename(project.parent / "a b,c:\udcff")
    environment = odd / ".venv"
    environment.mkdir()
    for entry in Path(sys.prefix).iterdir():
        (environment / entry.name).symlink_to(entry)
    own = str(environment / "bin" / "python")
    said = await rehearse(odd, *SOON, "--json", "--", own, "resumes.py", *STEPS, python=own)

    assert 0 == said.status, said
    assert str(odd) == said.document["directory"]


async def test_a_project_that_holds_the_temporary_folder(project: Path) -> None:
    """In /tmp, or in a home with a TMPDIR of its own, the rehearsal does not save itself. Otherwise it never ends."""
    said = await rehearse(project, *SOON, "--directory=..", "--json", *python("project/resumes.py", *STEPS))

    assert 0 == said.status, said
    assert said.document["attempts"][0]["restored_bytes"] < 100_000


@pytest.mark.slow
async def test_two_at_once(project: Path) -> None:
    """Two rehearsals of one directory do not meet. Otherwise two people on one machine judge each other's programs."""
    words = ["rehearse", *SOON, "--json", *python("resumes.py", *STEPS)]
    both = [await start(*words, cwd=project, env=here(project)) for _ in range(2)]

    assert [0, 0] == [said.status for said in await asyncio.gather(*map(ended, both))]
    assert [] == list((project.parent / "tmp").iterdir())


async def running(process: asyncio.subprocess.Process) -> None:
    """Until the first attempt runs."""
    assert process.stderr is not None
    async with asyncio.timeout(300):
        while b"running" not in await process.stderr.readline():
            pass


@pytest.mark.parametrize(
    ("signals", "code"),
    [([signal.SIGINT], 130), ([signal.SIGTERM, signal.SIGINT], 143), ([signal.SIGHUP], 129)],
)
async def test_stopped_by_a_person(project: Path, signals: list[signal.Signals], code: int) -> None:
    """Ctrl-C or a closed terminal ends everything, and a second signal does not disturb it: no process, no file.
    Otherwise training jobs that nobody sees go on using the GPU."""
    words = ["rehearse", "--interrupt-after=1h", *python("resumes.py", "900", "1")]
    process = await start(*words, cwd=project, env=here(project))
    await running(process)
    for each in signals:
        process.send_signal(each)
    said = await ended(process)

    assert code == said.status, said
    assert [] == mentioning(str(project.parent))
    assert [] == list((project.parent / "tmp").iterdir())
    assert "Traceback" not in said.err


async def test_killed(project: Path) -> None:
    """kill -9 leaves nothing that runs. Otherwise the next rehearsal shares its GPU with the last."""
    words = ["rehearse", "--interrupt-after=1h", *python("resumes.py", "900", "1")]
    process = await start(*words, cwd=project, env=here(project))
    await running(process)
    process.kill()
    await ended(process)

    await eventually(lambda: _same([], mentioning(str(project.parent))))


def _same(expected: object, actual: object) -> None:
    assert expected == actual


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
async def test_a_disk_that_is_full(project: Path) -> None:
    """No room for the directory: an error with its own code, at once. Otherwise it waits for somebody to make room."""
    tmp = project.parent / "tmp"
    mounted = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=300k", "none", str(tmp))
    if await mounted.wait() != 0:
        pytest.skip("mounts are refused here")
    try:
        (project / "large").write_bytes(os.urandom(1 << 20))
        said = await rehearse(project, *python("resumes.py", *STEPS))
    finally:
        unmounted = await asyncio.create_subprocess_exec("umount", str(tmp))
        await unmounted.wait()

    assert 13 == said.status, said
    assert "No space left" in said.err


async def test_the_document_is_as_documented(project: Path) -> None:
    """Every field of a real document has the type that it is declared with, and stands in the README, and the other way
    round. Otherwise "stable" is said of something that nobody looks at."""
    found = (await rehearse(project, *SOON, "--json", *python("resumes.py", *STEPS))).document
    section = (ROOT / "README.md").read_text().partition("### The document of `--json`")[2].partition("\n## ")[0]
    declared = {field.name for cls in DECLARED for field in fields(cls)}

    assert [] == list(misfits(found, reports.Report))
    assert set() == declared - set(re.findall(r"`(\w+)`", section))


DECLARED = [cls for cls in vars(reports).values() if isinstance(cls, type) and is_dataclass(cls)]


def misfits(value: Any, hint: Any, place: str = "") -> Iterator[str]:
    """Places in a document where it is not what its dataclass declares."""
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    if isinstance(hint, types.UnionType):
        if value is not None:
            yield from misfits(value, options[0], place)
    elif typing.get_origin(hint) is list:
        for item in value:
            yield from misfits(item, options[0], f"{place}[]")
    elif is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        yield from (f"{place}.{name}" for name in hints.keys() ^ value.keys())
        for name in hints.keys() & value.keys():
            yield from misfits(value[name], hints[name], f"{place}.{name}")
    elif type(value) not in ((int, float) if hint is float else (hint,)):
        yield f"{place} is {value!r}"
