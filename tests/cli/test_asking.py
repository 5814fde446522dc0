"""stop, resume, rm and interrupt as a person types them, on buckets that are empty, healthy, half-broken, hostile.

Never a traceback, never a wait without an end, and an exit code that a script can go by.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from spotrelay.cli import main as entry
from spotrelay.core import keys, records, spec
from spotrelay.person import runs
from support.asking import Desk, desk
from support.stores import everything

COMMANDS = {
    "stop": ("stop",),
    "resume": ("resume",),
    "rm": ("rm", "--yes"),
    "interrupt": ("interrupt",),
}
CLAIM = records.Claim("i-0123456789abcdef0", "token", 1.0, "c6i.large", "us-east-1a", "spot")
OUTCOME = records.Outcome("failed", 1, 2.0, 3, "1-0", "the command ended with exit code 3")


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        yield made


def wanted(name: str) -> bytes:
    run = {"name": name, "command": ["python", "train.py"], "directory": "/srv/digits"}
    return spec.parse({"run": run}, source="test").encode()


async def fill(at: Desk, objects: Mapping[str, bytes]) -> None:
    for key, data in objects.items():
        await at.store.put(key, data)


def over(name: str) -> dict[str, bytes]:
    return {
        keys.spec(name): wanted(name),
        keys.claim(name, 1): records.encode(CLAIM),
        keys.snapshot(name, keys.SnapshotId(1, 0)): b"manifest",
        keys.outcome(name): records.encode(OUTCOME),
    }


def waiting(name: str) -> dict[str, bytes]:
    return {keys.spec(name): wanted(name), keys.open_run(name): b""}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
async def test_an_empty_bucket(at: Desk, words: tuple[str, ...]) -> None:
    """There is no such run: said so, and where to look."""
    said = await at.types(*words, "digits")

    assert (70 if words != ("interrupt",) else 77, "") == (said.status, said.out), said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("words", [("stop",), ("resume",), ("rm", "--yes")], ids=["stop", "resume", "rm"])
async def test_a_beginning_that_fits_two_is_asked_back(at: Desk, words: tuple[str, ...]) -> None:
    """And nothing is done to either."""
    await fill(at, over("vit-1") | over("vit-2"))
    before = await everything(at.store)
    said = await at.types(*words, "vit")

    assert 71 == said.status
    assert "vit-1, vit-2" in said.err
    assert before == await everything(at.store)


async def test_stop_and_resume(at: Desk) -> None:
    """By the beginning of its name. Standard output is for documents: of these two there is none without --json."""
    await fill(at, waiting("digits"))
    stopped = await at.types("stop", "dig")
    await at.store.put(keys.outcome("digits"), records.encode(records.Outcome("stopped", 0, 2.0)))
    again = await at.types("stop", "dig", "--json")
    resumed = await at.types("resume", "dig", "--json", "--instance-type", "g6.xlarge", "--", "python", "b.py")
    written = spec.from_json(await at.store.get(keys.spec("digits")), source="run.json")

    assert (0, "") == (stopped.status, stopped.out), stopped.err
    assert "no machine is at it" in stopped.err
    assert {"run": "digits", "was_over": True, "at_work": False, "outcome": "stopped"} == again.document
    assert {"run": "digits", "attempt": 1, "snapshot": None, "was": "stopped", "outcome": None} == resumed.document
    assert (("python", "b.py"), ("g6.xlarge",)) == (written.run.command, written.instance.types)
    assert 2 == at.rings()


async def test_resume_of_what_goes_on(at: Desk) -> None:
    await fill(at, waiting("digits"))
    said = await at.types("resume", "digits")

    assert 73 == said.status
    assert "spotrelay stop digits" in said.err


async def test_rm(at: Desk) -> None:
    """What it frees is said; without a yes, and nobody to ask, nothing is done."""
    await fill(at, over("vit-1") | over("vit-2") | waiting("digits"))
    unsure = await at.types("rm", "vit-1")
    assert 2 == unsure.status
    assert "--yes" in unsure.err
    assert 3 == len(await runs.names(at.store))
    one_waits = await at.types("rm", "--yes", "vit-1", "digits")
    assert 73 == one_waits.status
    assert 3 == len(await runs.names(at.store)), "all are looked at before any is removed"
    said = await at.types("rm", "--yes", "--json", "vit-1", "vit-2", "vit-1")

    assert (0, 2) == (said.status, len(json.loads(said.out))), said.err
    assert ["digits"] == await runs.names(at.store)


async def test_interrupt_needs_ec2(at: Desk) -> None:
    """A run in a folder has nothing that could be interrupted, and what else there is to do is said."""
    await fill(at, waiting("digits"))
    said = await at.types("interrupt", "digits")

    assert 77 == said.status
    assert "spotrelay rehearse" in said.err


DAMAGE: dict[str, dict[str, bytes]] = {
    "a spec that is no JSON": {keys.spec("digits"): b"\xff{"},
    "a spec of the future": {keys.spec("digits"): b'{"version": 99}'},
    "another run's spec": {keys.spec("digits"): wanted("vit")},
    "an outcome that is none": {keys.outcome("digits"): b"[]"},
    "an outcome of the future": {keys.outcome("digits"): b'{"result": "glorious", "attempt": 1, "at": 1, "x": 1}'},
    "a claim that is cut off": {keys.claim("digits", 1): b'{"instance": "i-0'},
    "a claim of infinity": {keys.claim("digits", 1): b'{"instance": "i-0", "token": "t", "at": 1e999}'},
    "attempts that are none": {"runs/digits/attempts/last/claim.json": b"", "runs/digits/attempts/99999/x": b""},
    "a cancel of any words": {keys.cancel("digits"): b"please"},
    "snapshots that are none": {"runs/digits/snapshots/mine": b"", "runs/digits/snapshots/\xe9": b""},
    "others' objects": {"runs/digits/../x": b"", "runs/NOTES/a": b"", "notes": b"", "runs/digits/": b""},
    "a ledger that is none": {keys.ledger("digits", 1): b"null"},
    "past outcomes that are none": {"runs/digits/outcomes/x": b"", "runs/digits/outcomes/00001": b"{"},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_a_bucket_that_anybody_wrote_into(
    at: Desk, damage: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command ends, by a code of its own or done; none by a traceback. What is broken can be removed."""
    await fill(at, over("digits"))
    for key, data in damage.items():
        path = at.folder.parent / "store" / key.encode().decode(errors="replace")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not key.endswith("/"):
            path.write_bytes(data)
    for name, value in at.environment.items():
        monkeypatch.setenv(name, value)
    commands = (("stop",), ("resume",), ("interrupt",), ("rm", "--yes", "--force"))
    codes = [await asyncio.to_thread(in_this_process, monkeypatch, *words, "digits") for words in commands]
    said = capsys.readouterr().err

    assert "Traceback" not in said
    assert set(codes) <= {0, 3, 10, 34, 73, 76, 77}, said
    assert 0 == codes[-1], said
    assert "digits" not in await runs.names(at.store)


def in_this_process(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code. What a person would see as a traceback is raised: a process for each would take minutes."""
    monkeypatch.setattr(sys, "argv", ["spotrelay", *words])
    return entry.run()


async def test_a_place_that_is_not_there(at: Desk) -> None:
    """Said after the 20 s in which a store may come back, and by name; and that is the end of it."""
    nowhere = {"SPOTRELAY_STORE": "s3://nothing", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    said = await at.types("stop", "digits", **nowhere)

    assert 11 == said.status, said.err
    assert "127.0.0.1:9/nothing" in said.err
    assert "Traceback" not in said.err


async def test_a_run_s_name_is_completed(at: Desk) -> None:
    """By the shell, from the bucket that the environment names; silently nothing where that cannot be read."""
    await fill(at, over("vit-1") | over("vit-2") | waiting("digits"))
    asked = {
        "_SPOTRELAY_COMPLETE": "complete_bash",
        "_TYPER_COMPLETE_ARGS": "spotrelay stop vi",
        "COMP_WORDS": "spotrelay stop vi",
        "COMP_CWORD": "2",
    }
    said = await at.types(**asked)
    nothing = await at.types(**asked, SPOTRELAY_STORE="ftp://x")

    assert ["vit-1", "vit-2"] == said.out.split()
    assert ("", "") == (nothing.out.strip(), nothing.err)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_store_that_may_not_be_written(at: Desk) -> None:
    await fill(at, over("digits"))
    for path in (at.folder.parent / "store").rglob("*"):
        path.chmod(0o500 if path.is_dir() else 0o400)
    said = await at.types("resume", "digits")

    assert 12 == said.status, said.err
