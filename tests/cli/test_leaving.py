"""Ctrl-C amid run, rm, resume, stop and interrupt, while AWS says nothing: real processes, a request without an answer.

The exit code is the shell's, what was done is said, nothing is waited for; and the same command goes on from there.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from spotrelay.aws.store import open_store
from spotrelay.core import keys, records, spec
from spotrelay.person import runs
from spotrelay.ports import BrowsableStore
from support.aws_account import Front, client, environment, own_account
from support.rehearsals import Said, ended, spotrelay, start
from support.stores import everything

# A process on a busy computer takes seconds to hear of it. AWS's own clients would try again for a minute and longer.
AT_ONCE_S = 40.0
BUCKET, ROLE = "theirs", "arn:aws:iam::123456789012:role/relay-InterruptRole"
INSTANCE = "i-0123456789abcdef0"


@dataclass
class Terminal:
    """A person's, at an account with a bucket and a queue in it."""

    front: Front
    folder: Path
    queue: str
    store: BrowsableStore

    @property
    def environment(self) -> dict[str, str]:
        return {**environment(self.front), "SPOTRELAY_STORE": f"s3://{BUCKET}", "SPOTRELAY_QUEUE": self.queue}

    async def types(self, *words: str) -> Said:
        return await spotrelay(*words, cwd=self.folder, env=self.environment)

    async def leaves(self, *words: str, at: str, about: str = "") -> Said:
        """Ctrl-C when this request is under way, that has `about` in its body."""
        come = self.front.hold(at, words=about)
        process = await start(*words, cwd=self.folder, env=self.environment)
        waiting = asyncio.create_task(ended(process))
        assert await asyncio.to_thread(come.wait, 120), f"{at} is not asked for: {self.front.asked}"
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        said = await waiting
        assert time.monotonic() - began < AT_ONCE_S
        self.front.relent()
        assert 130 == said.status, said.err
        assert "" == said.out
        assert "Traceback" not in said.err
        return said

    def rings(self) -> int:
        sqs = client("sqs", self.front)
        shown = sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["ApproximateNumberOfMessages"])
        sqs.close()
        return int(shown["Attributes"]["ApproximateNumberOfMessages"])


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    with own_account(monkeypatch) as found:
        yield found


@pytest.fixture
def at(front: Front, tmp_path: Path) -> Terminal:
    s3, sqs = client("s3", front), client("sqs", front)
    s3.create_bucket(Bucket=BUCKET)
    queue = sqs.create_queue(QueueName="relay")["QueueUrl"]
    s3.close(), sqs.close()
    return Terminal(front, tmp_path, queue, open_store(f"s3://{BUCKET}"))


async def over(store: BrowsableStore, name: str) -> None:
    await wanted(store, name)
    await store.put(keys.snapshot(name, keys.SnapshotId(1, 0)), b"manifest")
    await store.put(keys.cancel(name), b"stopped")
    await store.put(keys.outcome(name), records.encode(records.Outcome("stopped", 1, 2.0)))
    await store.delete(keys.open_run(name))


async def wanted(store: BrowsableStore, name: str, *, now: float = 1.0) -> None:
    """And its first attempt has a machine, since `now`."""
    run = {"name": name, "command": ["python", "train.py"], "directory": "/srv/digits"}
    claim = records.Claim(INSTANCE, "token", now, "c6i.large", "us-east-1a", "spot")
    await store.put(keys.spec(name), spec.parse({"run": run}, source="test").encode())
    await store.put(keys.open_run(name), b"")
    await store.put(keys.claim(name, 1), records.encode(claim))


def about(key: str) -> str:
    return f"/{BUCKET}/{key}"


async def test_rm_while_it_looks(at: Terminal) -> None:
    """All are looked at before any is removed: nothing was, and that is said."""
    await over(at.store, "vit")
    before = await everything(at.store)
    said = await at.leaves("rm", "--yes", "vit", at=f"GET {about(keys.outcome('vit'))}")

    assert "nothing was removed" in said.err
    assert before == await everything(at.store)


# Deletions are all of one shape: they are known by what they name. In the order of `person.remove`.
DELETE = f"POST /{BUCKET}?delete"
REMOVING = {
    "the mark": keys.open_run("vit-1"),
    "a snapshot": keys.snapshot("vit-1", keys.SnapshotId(1, 0)),
    "everything else": keys.claim("vit-1", 1),
    "its spec": keys.spec("vit-1"),
    "its outcome": keys.outcome("vit-1"),
}


@pytest.mark.parametrize("key", REMOVING.values(), ids=REMOVING.keys())
async def test_rm_amid_it(at: Terminal, key: str) -> None:
    """What remains is a run that is over, or nothing; the other one is untouched, and both are named. The same command
    again removes both."""
    await over(at.store, "vit-1"), await over(at.store, "vit-2")
    whole = {key for key in await everything(at.store) if key.startswith(keys.run("vit-2"))}
    said = await at.leaves("rm", "--yes", "vit-1", "vit-2", at=DELETE, about=key)
    left = set(await everything(at.store))

    assert "Left amid vit-1" in said.err
    assert "vit-2: not touched" in said.err
    assert whole <= left
    assert {key, keys.outcome("vit-1")} - {keys.open_run("vit-1")} <= left
    assert keys.open_run("vit-1") not in left
    again = await at.types("rm", "--yes", "vit-1", "vit-2")
    assert 0 == again.status, again.err
    assert [] == await runs.names(at.store)


# In the order of `person.resume`, and whether the run is over still.
RESUMING = {
    "a look": (f"GET {about(keys.outcome('vit'))}", "", True),
    "its past": (f"PUT {about(keys.past_outcomes('vit'))}", "", True),
    "the mark": (f"PUT {about(keys.open_run('vit'))}", "", True),
    "the word to stop": (DELETE, keys.cancel("vit"), True),
    "its outcome": (DELETE, keys.outcome("vit"), True),
    "the bell": ("SendMessage", "", False),
}


@pytest.mark.parametrize(("moment", "about", "is_over"), RESUMING.values(), ids=RESUMING.keys())
async def test_resume_amid_it(at: Terminal, moment: str, about: str, is_over: bool) -> None:
    """It is over as before, or goes on; both are said, and the same command again goes on in any case."""
    await over(at.store, "vit")
    said = await at.leaves("resume", "vit", at=moment, about=about)
    left = await everything(at.store)

    assert is_over == (keys.outcome("vit") in left)
    assert is_over or keys.open_run("vit") in left, "or nobody would find it"
    assert "vit is over as before, or goes on" in said.err
    again = await at.types("resume", "vit")
    assert 0 == again.status, again.err
    assert keys.outcome("vit") not in await everything(at.store)
    assert at.rings() >= 1


BEGINNING = {
    "its name": (f"PUT {about(keys.begun('vit'))}", "nothing runs"),
    "a snapshot": (f"PUT {about(keys.snapshots('vit'))}", "nothing runs"),
    "its spec": (f"PUT {about(keys.spec('vit'))}", "vit may be begun already"),
    "the bell": ("SendMessage", "vit may be begun already"),
}


@pytest.mark.parametrize(("moment", "told"), BEGINNING.values(), ids=BEGINNING.keys())
async def test_run_amid_it(at: Terminal, moment: str, told: str) -> None:
    """Whether a machine may come is said: one that nobody expects is paid for all the same. The same command again
    begins it to its end."""
    (at.folder / "train.py").write_text("print('step 1')\n")
    words = ("run", "--name", "vit", "--", "python", "train.py")
    said = await at.leaves(*words, at=moment)

    assert told in said.err
    assert ("may be begun" in told) or keys.spec("vit") not in await everything(at.store)
    again = await at.types(*words)
    assert (0, "vit\n") == (again.status, again.out), again.err
    assert keys.spec("vit") in await everything(at.store)


async def test_stop_amid_it(at: Terminal) -> None:
    await wanted(at.store, "vit", now=time.time())
    said = await at.leaves("stop", "vit", at=f"PUT {about(keys.cancel('vit'))}")

    assert "vit may not have been told" in said.err
    again = await at.types("stop", "vit")
    assert 0 == again.status, again.err
    assert keys.cancel("vit") in await everything(at.store)


INTERRUPTING = {
    "a look": (f"GET {about(keys.claim('vit', 1))}", "nothing was interrupted"),
    "the template": ("POST /experimentTemplates", "nothing was interrupted"),
    "the experiment": ("POST /experiments", "vit may be interrupted all the same"),
    "its beginning": ("GET /experiments/", "vit may be interrupted all the same"),
}


@pytest.mark.parametrize(("moment", "told"), INTERRUPTING.values(), ids=INTERRUPTING.keys())
async def test_interrupt_amid_it(at: Terminal, moment: str, told: str) -> None:
    """Whether the machine may be taken is said. AWS's client would try for a minute and more; nobody waits for it."""
    await wanted(at.store, "vit", now=time.time())
    said = await at.leaves("interrupt", "vit", "--role", ROLE, at=moment)

    assert told in said.err
    fis = client("fis", at.front)
    assert [] == fis.list_experiment_templates()["experimentTemplates"]
    fis.close()
