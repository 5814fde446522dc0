"""The commands by which a person sees what happened, through the entry point, on buckets in every condition."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import boto3
import pytest

from spotrelay.cli import main as entry
from spotrelay.core import keys, records
from spotrelay.core.errors import AmbiguousRun, NoSuchRun, StoreUnavailable
from support import buckets
from support.buckets import DAMAGES, RUN
from support.moto_server import moto_server
from support.rehearsals import Said, ended, environment, spotrelay, start

COMMANDS = [
    ["ls"],
    ["ls", "--all"],
    ["status", RUN],
    ["logs", RUN],
    ["logs", RUN, "--tail", "3"],
    ["snapshots", RUN],
    ["pull", RUN],
    ["receipt", RUN],
]
WITH_JSON = ("ls", "status", "snapshots", "pull", "receipt")
# What a damaged bucket may be answered with: StoreError, NotFound, and what a snapshot can be.
ALLOWED = {0, 10, 14, 21, 22, 23, 24}


@pytest.fixture(scope="session")
def left_by_a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return buckets.healthy(tmp_path_factory.mktemp("healthy"))


@pytest.fixture
def bucket(left_by_a_run: Path, tmp_path: Path) -> Path:
    """One of its own for each test."""
    return Path(shutil.copytree(left_by_a_run, tmp_path / "bucket"))


async def asked(bucket: Path, *words: str) -> Said:
    folder = bucket.parent / f"at-{'-'.join(re.sub(r'[^a-z0-9]', '', word) for word in words)}"
    folder.mkdir(exist_ok=True)
    return await spotrelay(*words, "--store", bucket.as_uri(), cwd=folder)


async def test_what_is_piped_is_data(bucket: Path) -> None:
    """Values with tabs between them; the command's own output, byte for byte. Otherwise `cut`, `wc` and a diff of two
    logs see our words as the run's."""
    ls, status, logs, snapshots, pull, receipt = await asyncio.gather(
        asked(bucket, "ls", "--all"),
        asked(bucket, "status", RUN),
        asked(bucket, "logs", RUN),
        asked(bucket, "snapshots", RUN),
        asked(bucket, "pull", RUN),
        asked(bucket, "receipt", RUN),
    )

    assert [RUN, "succeeded", "3"] == ls.out.split("\t")[:3]
    assert {"run": RUN, "attempt": "3 (of 22 at most)"}.items() <= dict(
        line.split("\t") for line in status.out.splitlines()
    ).items()
    assert "".join(path.read_text() for path in sorted(bucket.glob("runs/*/attempts/*/log/*"))) == logs.out
    assert "step 29" == logs.out.splitlines()[-1]
    assert "resumed from here" == snapshots.out.splitlines()[-1].split("\t")[-1]
    assert "" == pull.out
    ends = [line.split("\t")[2].split(" · ")[0] for line in receipt.out.splitlines()[:3]]
    assert ["interrupted", "died without a word", "succeeded"] == ends
    assert {0} == {each.status for each in (ls, status, logs, snapshots, pull, receipt)}


async def test_json_is_one_document_each(bucket: Path) -> None:
    """With a version, and the figures that a person reads."""
    said = await asyncio.gather(*(asked(bucket, *words, "--json") for words in COMMANDS if words[0] in WITH_JSON))
    documents = [each.document for each in said]

    assert {1} == {document["version"] for document in documents}
    receipt = documents[-1]
    first, second, _ = receipt["legs"]
    assert ("interrupted", "died") == (first["end"], second["end"])
    assert 0 < first["saved_s"] < 30
    assert 0 <= first["again_s"] < 60  # two machines, whose clocks are EC2's to the second
    assert 0 <= first["lost_s"] < 5
    assert second["lost_s"] <= second["lost_most_s"]


async def test_pulled_is_what_the_run_left(bucket: Path) -> None:
    """The same as its artifacts, which the agent published. A part of it, too, and a second time for nothing."""
    artifacts = bucket / "runs" / RUN / "artifacts"
    expected = {str(p.relative_to(artifacts)): p.read_bytes() for p in artifacts.rglob("*") if p.is_file()}
    to = bucket.parent / "out"
    await asked(bucket, "pull", RUN[:4], "--to", str(to))
    again = await asked(bucket, "pull", RUN, "checkpoints/2?.txt", "--to", str(to), "--json")

    there = {str(p.relative_to(to)): p.read_bytes() for p in to.rglob("*") if p.is_file() and p.name[0] != "."}
    assert expected == there
    assert (10, 0) == (again.document["files"], again.document["fetched"])


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_no_bucket_is_answered_with_a_traceback(
    damage: Callable[[Path], None],
    bucket: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever somebody else put there, or took away: an answer, or one line that says what is wrong and an exit code
    of its own; nothing for the terminal to obey. Otherwise one damaged object hides all the others."""
    damage(bucket)
    for number, words in enumerate([*COMMANDS, *([*each, "--json"] for each in COMMANDS if each[0] in WITH_JSON)]):
        folder = bucket.parent / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["spotrelay", *words, "--store", bucket.as_uri()])
        code, said = entry.run(), capsys.readouterr()  # all of main() but its last line, which ends the process

        assert code in ALLOWED, (words, said)
        assert "Traceback" not in said.err + said.out, words
        assert "fault of spotrelay" not in said.err, (words, said)
        assert "\x1b" not in said.err + ("" if words[0] == "logs" else said.out), (words, said)
        if "--json" in words and code == 0:
            assert json.loads(said.out), words


async def test_who_watches_or_follows_a_run_that_is_over_is_sent_home(bucket: Path) -> None:
    """With its state, and its whole log, once. Otherwise a script that waits for the end waits on after it."""
    watch, document, logs = await asyncio.gather(
        asked(bucket, "status", RUN, "--watch"),
        asked(bucket, "status", RUN, "--watch", "--json"),
        asked(bucket, "logs", RUN, "--follow"),
    )

    assert [0, 0, 0] == [watch.status, document.status, logs.status]
    assert [["succeeded"], "succeeded"] == [
        [line.split("\t")[1] for line in watch.out.splitlines()],
        document.document["state"],
    ]
    assert "".join(path.read_text() for path in sorted(bucket.glob("runs/*/attempts/*/log/*"))) == logs.out


async def test_an_empty_bucket_says_so(tmp_path: Path) -> None:
    """And which command comes next, where a run is asked for."""
    ls, status = await asyncio.gather(asked(tmp_path / "bucket", "ls"), asked(tmp_path / "bucket", "status", "x"))

    assert (0, "", "there are no runs yet") == (ls.status, ls.out, ls.err.strip())
    assert NoSuchRun.exit_code == status.status
    assert "spotrelay ls" in status.err


async def test_a_machine_that_died_before_the_command_started_lost_nothing(tmp_path: Path) -> None:
    """The receipt says so of that attempt, and the run's sums have no gap."""
    at = 1_900_000_000.0
    left = {
        keys.claim(RUN, 1): records.Claim("i-1", "token", at, "c6i.large", "us-east-1a", "spot"),
        keys.base(RUN, 1): records.Base("0-0", at + 1, "i-1"),
        keys.status(RUN, 1): records.Status("i-1", "restoring", at + 9),
        keys.death(RUN, 1): records.Death("i-1", at + 12),
        keys.outcome(RUN): records.Outcome("stopped", 1, at + 60),
    }
    for key, record in left.items():
        path = tmp_path / "bucket" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(records.encode(record))

    said = await asked(tmp_path / "bucket", "receipt", RUN)
    leg, *sums = said.out.splitlines()

    assert "1\tc6i.large us-east-1a spot\tdied without a word · nothing lost: it had not started" == leg
    assert {"worked\t0.0 s", "lost\t0.0 s"} <= set(sums)


async def test_names_and_their_beginnings(bucket: Path) -> None:
    """`reh` is enough as long as there is one; the whole name always is."""
    shutil.copytree(bucket / "runs" / RUN, bucket / "runs" / f"{RUN}-2")
    whole, beginning, completed = await asyncio.gather(
        asked(bucket, "status", RUN),
        asked(bucket, "status", "reh"),
        spotrelay(
            cwd=bucket.parent,
            env={
                "_SPOTRELAY_COMPLETE": "complete_bash",
                "COMP_WORDS": f"spotrelay status --store {bucket.as_uri()} reh",
                "COMP_CWORD": "4",
            },
        ),
    )

    assert (0, AmbiguousRun.exit_code) == (whole.status, beginning.status)
    assert [RUN, f"{RUN}-2"] == completed.out.split()


async def test_the_journal_tells_each_phase_in_a_line(left_by_a_run: Path) -> None:
    """Of the attempt that was interrupted: one line for each step, with run, attempt and instance in all of them, and
    what was saved and signalled between. Otherwise a person greps for a story that nobody told."""
    claim = json.loads((left_by_a_run / "runs" / RUN / "attempts" / "00001" / "claim.json").read_text())
    log = left_by_a_run.parent / "state" / claim["instance"] / "agent.log"
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    ours = [line for line in lines if line.get("phase") != "arriving" and line.get("happened") != "Assigned"]
    ours = ours[: next(at for at, line in enumerate(ours) if line.get("phase") == "staying") + 1]
    phases = [line["phase"] for line in ours if line["event"] == "lifecycle.step"]

    assert [
        *("waiting", "restoring", "starting", "running"),
        *("draining", "saving", "handing-over", "staying"),
    ] == phases
    assert {(RUN, 1, claim["instance"])} == {(line["run"], line["attempt"], line["instance"]) for line in ours}
    events = [line["event"] for line in ours]
    for told in ("command.started", "notice.received", "resume.posted", "command.signalled", "command.ended"):
        assert 1 == events.count(told), told
    assert events.index("notice.received") < events.index("command.signalled") < events.index("command.ended")


# --- where nobody answers


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[dict[str, str], asyncio.Event]]:
    """An S3 that takes every request and never answers: the environment that leads to it, and whether somebody came."""
    taken, asked = list[asyncio.StreamWriter](), asyncio.Event()

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)
        asked.set()

    server = await asyncio.start_server(take, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    try:
        yield {**keys, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}, asked
    finally:
        for writer in taken:
            writer.close()
        server.close()


@pytest.mark.slow
async def test_a_store_that_is_not_there_is_said(tmp_path: Path) -> None:
    """After the store's patience, with the code for "trying again can help"."""
    nowhere = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    nowhere["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:1"
    async with asyncio.timeout(300):
        said = await spotrelay("ls", "--store", "s3://bucket", cwd=tmp_path, env=nowhere)

    assert StoreUnavailable.exit_code == said.status
    assert "Traceback" not in said.err


@pytest.mark.slow
async def test_a_store_that_never_answers_is_left(tmp_path: Path) -> None:
    """An attempt takes half a minute at most, and after the patience there is no other."""
    async with silent() as (env, _), asyncio.timeout(300):
        said = await spotrelay("status", "run", "--store", "s3://bucket", cwd=tmp_path, env=env)

    assert StoreUnavailable.exit_code == said.status


@pytest.mark.parametrize("words", [["ls"], ["status", RUN], ["logs", RUN, "-f"], ["pull", RUN], ["receipt", RUN]])
async def test_ctrl_c_ends_it_at_once_though_nobody_answers(words: list[str], tmp_path: Path) -> None:
    """130, nothing on either stream, nothing left behind. Otherwise a person pulls the plug."""
    async with silent() as (env, asked), asyncio.timeout(300):
        process = await start(*words, "--store", "s3://bucket", cwd=tmp_path, env=env)
        await asked.wait()
        process.send_signal(signal.SIGINT)
        said = await ended(process)

    assert (130, "") == (said.status, said.out)
    assert "Traceback" not in said.err
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["logs", RUN, "--follow"], ["status", RUN, "--watch"]])
async def test_ctrl_c_ends_who_follows(words: list[str], bucket: Path) -> None:
    """After what was there has been printed: 130, and no more."""
    (bucket / "runs" / RUN / "outcome.json").unlink()
    async with asyncio.timeout(300):
        process = await start(*words, "--store", bucket.as_uri(), cwd=bucket.parent)
        assert process.stdout is not None
        first = await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said = await ended(process)

    assert first
    assert 130 == said.status
    assert "Traceback" not in said.err


async def test_who_reads_no_further_ends_it(bucket: Path) -> None:
    """`spotrelay logs RUN | head -1`: no traceback, no complaint."""
    log = bucket / "runs" / RUN / "attempts" / "00001" / "log" / "000000"
    log.write_bytes(b"x" * 79 + b"\n" * 1)
    log.write_bytes(log.read_bytes() * 100_000)
    process = await start("logs", RUN, "--store", bucket.as_uri(), cwd=bucket.parent)
    assert process.stdout is not None
    await process.stdout.readline()
    process.stdout._transport.close()  # type: ignore[attr-defined]
    async with asyncio.timeout(300):
        code, said = await process.wait(), await process.stderr.read() if process.stderr else b""

    assert 0 != code
    assert b"" == said


def on_a_terminal(*words: str, cwd: Path, columns: int = 100) -> str:
    """What it prints there."""
    script = "import sys; from spotrelay.cli.main import main; sys.argv[0] = 'spotrelay'; main()"
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(cwd)
        os.environ.update(environment(COLUMNS=str(columns), TERM="xterm"))
        os.execve(sys.executable, [sys.executable, "-c", script, *words], dict(os.environ))
    said = b""
    try:
        while chunk := os.read(terminal, 65536):
            said += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(terminal)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())


async def test_a_terminal_gets_headings_seams_and_bars(bucket: Path, tmp_path: Path) -> None:
    """Where attempts meet is marked, for eyes only."""
    place = ["--store", bucket.as_uri()]
    logs, ls, receipt = await asyncio.gather(
        *(
            asyncio.to_thread(on_a_terminal, *words, *place, cwd=tmp_path)
            for words in (["logs", RUN], ["ls", "--all"], ["receipt", RUN])
        )
    )

    assert "── attempt 1 · i-" in logs
    assert logs.index("── attempt 1") < logs.index("step 0") < logs.index("── attempt 3") < logs.index("step 29")
    assert ls.startswith("run ")
    assert "━" in receipt
    assert f"{RUN}: succeeded after" in receipt


async def test_a_receipt_to_keep(bucket: Path, tmp_path: Path) -> None:
    """A page that asks for nothing else, and a picture; where it cannot be written, that is said."""
    said = await asked(bucket, "receipt", RUN, "--html", str(tmp_path / "r.html"), "--png", str(tmp_path / "r.png"))
    refused = await asked(bucket, "receipt", RUN, "--html", "/nowhere/r.html")

    page = (tmp_path / "r.html").read_text()
    assert (0, "") == (said.status, said.out)
    assert f"<title>{RUN}: succeeded" in page
    assert not re.search(r"(?:src|href)=|url\(|@import|<script", page)
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert (2, True) == (refused.status, "/nowhere/r.html" in refused.err)
    assert {"r.html", "r.png"} == {path.name for path in tmp_path.glob("*r.*")}


@pytest.mark.slow
async def test_a_gigabyte_of_log_is_no_gigabyte_of_memory(bucket: Path) -> None:
    """128 full segments, one file under 128 names. Otherwise the longest run is the one whose log nobody can read."""
    log = bucket / "runs" / RUN / "attempts" / "00004" / "log"
    log.mkdir(parents=True)
    (log / "000000").write_bytes(b"x" * 63 + b"\n" * (8 << 20))
    for number in range(1, 128):
        (log / f"{number:06d}").hardlink_to(log / "000000")
    # Not getrusage's: that counts this process's memory, from which it was made, as well.
    script = (
        "import re, sys; from spotrelay.cli import main; sys.argv[0] = 'spotrelay'; code = main.run();"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, "logs", RUN, "--store", bucket.as_uri()),
        env=environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(300):
        _, said = await process.communicate()

    assert int(said.split()[-1]) < 200 << 10  # KiB; the interpreter and its libraries are 90 MB of them


async def test_it_is_the_same_over_the_wire(bucket: Path, tmp_path: Path) -> None:
    """In S3, below a prefix, what the folder says. Otherwise all of this holds for rehearsals alone."""
    with moto_server() as endpoint:
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
        await asyncio.to_thread(_upload, bucket, endpoint)
        words = [["ls", "--all"], ["logs", RUN], ["receipt", "reh"], ["snapshots", RUN], ["pull", RUN, "--to", "out"]]
        env = {**keys, "AWS_ENDPOINT_URL_S3": endpoint}
        wired = await asyncio.gather(
            *(spotrelay(*each, "--store", "s3://bucket/some/prefix", cwd=tmp_path, env=env) for each in words)
        )
    local = await asyncio.gather(*(asked(bucket, *each) for each in words[:3]))

    assert [0] * 5 == [each.status for each in wired], wired
    assert [each.out.split("\t")[:3] for each in local] == [each.out.split("\t")[:3] for each in wired[:3]]
    assert local[1].out == wired[1].out
    artifacts = bucket / "runs" / RUN / "artifacts"
    expected = {str(p.relative_to(artifacts)): p.read_bytes() for p in artifacts.rglob("*") if p.is_file()}
    there = tmp_path / "out"
    assert expected == {
        str(p.relative_to(there)): p.read_bytes() for p in there.rglob("*") if p.is_file() and p.name[0] != "."
    }


def _upload(bucket: Path, endpoint: str) -> None:
    s3 = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    s3.create_bucket(Bucket="bucket")
    for path in bucket.rglob("*"):
        if path.is_file():
            s3.put_object(Bucket="bucket", Key=f"some/prefix/{path.relative_to(bucket)}", Body=path.read_bytes())
    s3.close()


# What Python has on Linux alone, or had not on a Mac for long.
ABSENT = "sched_getaffinity setxattr getxattr listxattr pidfd_open preadv SEEK_DATA SEEK_HOLE eventfd posix_fadvise"
LIKE_A_MAC = f"""
import os, sys
for name in {ABSENT!r}.split():
    delattr(os, name)
from spotrelay.cli import main
from spotrelay.leave import leave
code = main.run()
linux = ("spotrelay.command", "spotrelay.local", "spotrelay.daemon")
loaded = [name for name in sys.modules if name.startswith(linux)]
print(*loaded, file=sys.stderr)
leave(99 if loaded else code)
"""


async def test_a_laptop_may_be_a_mac(bucket: Path, tmp_path: Path) -> None:
    """Nothing that only Linux has is called, and nothing that is meant for an instance is loaded."""

    async def run(words: list[str]) -> tuple[int | None, bytes]:
        command = [sys.executable, "-c", LIKE_A_MAC, *words, "--store", bucket.as_uri()]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment(), stdout=asyncio.subprocess.DEVNULL, stderr=pipe
        )
        _, said = await process.communicate()
        return process.returncode, said

    async with asyncio.timeout(300):
        ends = await asyncio.gather(*map(run, COMMANDS[1:]))

    assert [0] * len(ends) == [code for code, _ in ends], ends
