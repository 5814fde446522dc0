"""`spotrelay run` as a person types it: a process of its own, a bucket in a folder, a queue over the wire."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spotrelay.core import keys, records, spec
from spotrelay.person import runs
from support.asking import Desk, desk
from support.rehearsals import ended, start
from support.story import until

RUN = ("run", "--", "python", "train.py")


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        yield made


async def test_a_run_is_begun(at: Desk) -> None:
    """Its name, and nothing else, on standard output; what stays, what was saved and what comes next beside it."""
    (at.folder / ".git").mkdir()
    said = await at.types("run", "--max-cost", "40", "--env", "A=b=c", "--", "python", "train.py")
    written = spec.from_json(await at.store.get(keys.spec("digits")), source="run.json")

    assert (0, "digits\n") == (said.status, said.out), said.err
    assert all(word in said.err for word in (".git/", "1 file", "spotrelay stop digits")), said.err
    assert (40, {"A": "b=c"}) == (written.limits.dollars, written.run.env)
    assert 1 == at.rings()


async def test_the_document(at: Desk) -> None:
    said = await at.types("run", "--json", "--name", "vit", "--", "python", "train.py")

    assert ("vit", "0-0", 1) == (
        said.document["run"],
        said.document["saved"]["snapshot"],
        said.document["saved"]["files"],
    )
    assert "/srv/digits" == said.document["spec"]["run"]["directory"]


async def test_what_is_printed_is_what_would_be_run(at: Desk) -> None:
    """And nothing is begun by it."""
    printed = await at.types(
        "run", "--print", "--instance-type", "g5.xlarge", "--on-demand", "--", "python", "train.py"
    )
    (at.folder / "run.toml").write_text(printed.out)
    said = await at.types("run", "--json")
    written = spec.from_json(await at.store.get(keys.spec("digits")), source="run.json")

    assert (0, 0) == (printed.status, said.status), printed.err + said.err
    assert spec.from_toml(printed.out, source="run.toml") == written
    assert ("on-demand", ("g5.xlarge",)) == (written.instance.market, written.instance.types)


REFUSED = {
    "no command": (("run",), 3, "command is missing"),
    "a name that is none": (("run", "--name", "Nö", "--", "true"), 3, "name"),
    "a deadline without the work": (("run", "--finish-by", "2030-01-01T08:00:00Z", "--", "true"), 3, "work_hours"),
    "a setting of nothing": (("run", "--set", "a=b", "--", "true"), 2, "limits.hours=48"),
    "a variable of nothing": (("run", "--env", "A", "--", "true"), 2, "NAME=VALUE"),
    "a secret in so many words": (("run", "--secret", "A=hush", "--", "true"), 3, "secrets"),
    "no file": (("run", "-f", "nothing.toml", "--", "true"), 2, "nothing.toml"),
    "no directory": (("run", "--source", "nowhere", "--", "true"), 2, "not a directory"),
    "the root": (("run", "--source", "/", "--", "true"), 2, "no project"),
    "no program": (("run", "--", "./train.sh"), 127, "no ./train.sh"),
    "no store": (("run", "--store", "ftp://x", "--", "true"), 2, "s3://"),
    "an exclude of nothing": (("run", "--exclude", "/", "--", "true"), 3, "exclude"),
}


@pytest.mark.parametrize(("words", "code", "remedy"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_refused(at: Desk, words: tuple[str, ...], code: int, remedy: str) -> None:
    """At once, with the remedy, and with nothing written."""
    said = await at.types(*words)

    assert (code, "") == (said.status, said.out), said.err
    assert remedy in said.err
    assert "Traceback" not in said.err
    assert [] == await at.store.list("")


async def test_a_taken_name_has_a_code_of_its_own(at: Desk) -> None:
    """A script that begins a run twice finds out, and the first one is as it was."""
    await at.types("run", "--name", "vit", "--", "true")
    before = await at.store.get(keys.spec("vit"))
    said = await at.types("run", "--name", "vit", "--", "false")

    assert 72 == said.status
    assert "spotrelay resume vit" in said.err
    assert before == await at.store.get(keys.spec("vit"))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 31),
        ({"SPOTRELAY_STORE": "file:///proc/nothing"}, 2),
        ({"SPOTRELAY_QUEUE": ""}, 2),
    ],
)
async def test_surroundings_that_fail(at: Desk, options: dict[str, str], code: int) -> None:
    """Each its code and its place; never a traceback, never a wait without an end."""
    said = await at.types(*RUN, **options)

    assert (code, "") == (said.status, said.out), said.err
    assert "Traceback" not in said.err


async def test_ctrl_c_leaves_nothing_running(at: Desk) -> None:
    """It says so, and the same command goes on from there."""
    (at.folder / "data.bin").write_bytes(bytes(range(256)) * 200_000)
    process = await start(*RUN, cwd=at.folder, env=at.environment)
    await until((at.folder.parent / "store" / "runs" / "digits" / "begun.json").exists, what="it has begun")
    process.send_signal(signal.SIGINT)
    said = await ended(process)
    again = await at.types(*RUN)

    if said.status == 130:  # or it was done before the signal came
        assert "Traceback" not in said.err
        assert (0, "digits\n") == (again.status, again.out), again.err
        assert ["digits"] == await runs.names(at.store)


async def concluded(at: Desk, result: str, *, exit_code: int | None = None) -> None:
    """As a machine would have left it."""
    await at.store.put(keys.log_segment("digits", 1, 0), b"step 1\n\xff")
    claim = records.Claim("i-0123456789abcdef0", "token", 1.0, "c6i.large", "us-east-1a", "spot")
    await at.store.put(keys.claim("digits", 1), records.encode(claim))
    await at.store.put(keys.outcome("digits"), records.encode(records.Outcome(result, 1, 2.0, exit_code, "1-0", "so")))


@pytest.mark.parametrize(("result", "code"), [("succeeded", 0), ("failed", 74), ("stopped", 75), ("limit", 76)])
async def test_following_ends_as_the_run_does(at: Desk, result: str, code: int) -> None:
    """The command's bytes on standard output, the run's end as the exit code. A script needs no more."""
    process = await start("run", "--follow", "--", "python", "train.py", cwd=at.folder, env=at.environment)
    await until(lambda: at.rings() == 1, what="the bell")
    await concluded(at, result, exit_code=3)
    said = await ended(process)

    assert code == said.status, said.err
    assert said.out.startswith("step 1\n")
    assert result in said.err


async def test_following_is_left_by_ctrl_c(at: Desk) -> None:
    """The run goes on, and that is said."""
    process = await start("run", "--follow", "--", "python", "train.py", cwd=at.folder, env=at.environment)
    await until(lambda: at.rings() == 1, what="the bell")
    assert process.stderr is not None
    async with asyncio.timeout(300):
        while b"waiting for a machine" not in await process.stderr.readline():
            pass  # what it says before it follows
    process.send_signal(signal.SIGINT)
    said = await ended(process)

    assert 130 == said.status, said.err
    assert "goes on without you" in said.err
    assert [] == await at.store.list(keys.cancel("digits"))
