"""The service: what it reads, and that every path through it ends in the command that ends the instance."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from spotrelay.aws.imds import InstanceMetadata
from spotrelay.aws.store import open_store
from spotrelay.core import keys, records, spec
from spotrelay.core.errors import SpecError
from spotrelay.daemon import Arriving, read_user_data
from spotrelay.history import History
from spotrelay.local.imds_faults import status
from spotrelay.local.server import ControlPlane
from spotrelay.person.glance import STARTING
from spotrelay.person.leg import DIED
from spotrelay.person.receipt import receipt
from spotrelay.ports import Store
from spotrelay.settings import Settings
from support.attempts import ME
from support.imds import INSTANCE, PATIENT_S, one_instance
from support.stores import Recording, memory
from support.tripwire import AFTER, Wire, sprung

TESTS = Path(__file__).parent
WITHIN_S = 60.0
# Each agent learns the time of day from the metadata service, which tells it in whole seconds.
CLOCK_S = 1.0
RELAY = '[relay]\nstore = "s3://bucket/prefix"\nqueue = "https://sqs.eu-west-1.amazonaws.com/1/relay"\n'
RUN = '[run]\nname = "demo"\ncommand = ["true"]\ndirectory = "/job"\n'


# --- what it reads


def test_user_data_of_the_template_names_store_and_queue() -> None:
    """No run in it: the launcher assigns one. Otherwise the image could run one thing only."""
    found = read_user_data(RELAY.encode())

    assert ("s3://bucket/prefix", None) == (found.store, found.spec)


def test_user_data_may_bring_the_run_along() -> None:
    """run.toml's own tables, beside [relay]. Otherwise nobody can start a run without the command line."""
    found = read_user_data((RELAY + RUN).encode())

    assert found.spec is not None
    assert "demo" == found.spec.run.name


def test_all_problems_of_user_data_are_told_at_once() -> None:
    """Those of both halves, each with its remedy. Otherwise each boot finds one more."""
    with pytest.raises(SpecError) as caught:
        read_user_data(b'[relay]\nstore = 7\n[run]\nname = "A B"\ncommand = []\n[nonsense]\n')

    told = "\n".join(caught.value.problems)
    for place in ("[relay] store", "[relay] queue", "[run] name", "[run] command", "[run] directory", "[nonsense]"):
        assert place in told
    assert told.count("—") == len(caught.value.problems)


@pytest.mark.parametrize("data", [None, b"", b"#!/bin/sh\nreboot\n", b"\x1f\x8b\x08", b"relay = 3", b"\xff\xfe"])
def test_user_data_of_another_kind_is_refused_and_never_run(data: bytes | None) -> None:
    """Nothing, a script, gzip, another type. Otherwise cloud-init's habits become ours."""
    with pytest.raises(SpecError):
        read_user_data(data)


def test_command_sees_nothing_that_was_meant_for_the_agent() -> None:
    """SPOTRELAY_… ends here. Otherwise programs come to depend on where the metadata service is."""
    environment = {"SPOTRELAY_IMDS": "http://127.0.0.1:1", "SPOTRELAY_POWEROFF": "a 'b c'", "HOME": "/root"}
    settings = Settings.of(environment | {"NOTIFY_SOCKET": "/run/notify"})

    assert {"HOME": "/root"} == dict(settings.command_environment)
    assert ("a", "b c") == settings.poweroff


def test_settings_of_the_image_need_no_environment() -> None:
    """Where nothing is set, it is EC2. Otherwise the unit file and the code must agree on more than they do."""
    settings = Settings.of({})

    assert (None, None, ("systemctl", "start", "poweroff.target")) == (
        settings.imds,
        settings.endpoint,
        settings.poweroff[:3],
    )


async def test_user_data_in_a_file_comes_before_the_instance_s_own(tmp_path: Path) -> None:
    """Where the instance's is the script that installs the agent. Otherwise a stock image has no way in."""
    (tmp_path / "run.toml").write_text("of the file")
    async with (
        one_instance(user_data=b"of the instance") as (_, imds),
        InstanceMetadata(endpoint=imds, timeout=PATIENT_S) as metadata,
    ):
        found = [
            await Arriving(Settings.of({"SPOTRELAY_USER_DATA": str(tmp_path / name)}), metadata)._user_data()
            for name in ("run.toml", "nothing")
        ]

    assert [b"of the file", b"of the instance"] == found


# --- how it ends


@asynccontextmanager
async def a_run(folder: Path, more: str, command: Sequence[str] = ("true",)) -> AsyncIterator[tuple[str, str]]:
    """An instance whose user data brings a run along: its metadata service, and the endpoint of all others."""
    plane = ControlPlane()
    await plane.start()
    try:
        queue = plane.sqs.create_queue({"QueueName": "relay"})["QueueUrl"]
        relay = f'[relay]\nstore = "{(folder / "store").as_uri()}"\nqueue = "{queue}"\n'
        run = f'[run]\nname = "demo"\ncommand = {json.dumps(command)}\ndirectory = "{folder / "job"}"\n'
        async with one_instance(user_data=(relay + run + more).encode()) as (_, imds):
            yield imds, plane.endpoint
    finally:
        await plane.close()


@asynccontextmanager
async def service(
    folder: Path,
    imds: str,
    endpoint: str = "http://127.0.0.1:9",
    module: str = "spotrelay.daemon",
    poweroff: str | None = None,
    **more: str,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The agent as a process of this computer. Its power-off command makes the file `off`, unless another is given."""
    environment: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "agent")]),
        "SPOTRELAY_IMDS": imds,
        "SPOTRELAY_ENDPOINT": endpoint,
        "SPOTRELAY_STATE": str(folder / "state"),
        "SPOTRELAY_POWEROFF": f"touch {folder / 'off'}" if poweroff is None else poweroff,
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said_at_its_end(process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(WITHIN_S):
        output, _ = await process.communicate()
    return output.decode()


async def test_wrong_user_data_ends_in_the_power_off_with_its_reason(tmp_path: Path) -> None:
    """Said in the journal, then off (P5). Otherwise a typo burns until somebody looks."""
    async with one_instance(user_data=b'[relay]\nstore = "s3://b"\n') as (_, imds), service(tmp_path, imds) as process:
        said = await said_at_its_end(process)

        assert "[relay] queue is missing" in said
        assert (tmp_path / "off").exists()


async def test_run_that_comes_with_its_instance_can_be_found_from_its_first_byte_on(tmp_path: Path) -> None:
    """Assignment, mark, spec: wherever this machine dies, no run is left that nobody is called for. The sweep looks at
    marks alone, so a spec before its mark would be a run that waits for ever."""
    store = Recording(memory())
    settings = Settings.of({"SPOTRELAY_STATE": str(tmp_path)})
    async with InstanceMetadata(endpoint="http://127.0.0.1:9") as metadata:
        await Arriving(settings, metadata)._begin(store, ME, spec.from_toml(RUN, source="test"))

    assert [keys.assignment(ME.instance_id), keys.open_run("demo"), keys.spec("demo")] == store.written()


async def test_metadata_service_that_never_answers_ends_in_the_power_off(tmp_path: Path) -> None:
    """Who cannot learn what it is for, goes (P5). Otherwise a machine with a firewall in the way burns on."""
    async with (
        one_instance() as (metadata, imds),
        service(tmp_path, imds, module="support.impatient") as process,
    ):
        metadata.misbehave(INSTANCE, lambda _: status(500))
        said = await said_at_its_end(process)

        assert "run.none" in said
        assert (tmp_path / "off").exists()


@pytest.mark.parametrize(("keep_alive", "off"), [("false", True), ("true", False)])
async def test_run_that_ends_powers_off_unless_it_asked_not_to(keep_alive: str, off: bool, tmp_path: Path) -> None:
    """keep_alive is the one exception, and is kept. Otherwise the machine to look at is gone, or each one stays."""
    (tmp_path / "job").mkdir()
    more = f"[instance]\nkeep_alive = {keep_alive}\n"
    async with (
        a_run(tmp_path, more) as (imds, endpoint),
        service(tmp_path, imds, endpoint, RUNTIME_DIRECTORY=str(tmp_path)) as process,
    ):
        said = await said_at_its_end(process)
    outcome = await History(open_store((tmp_path / "store").as_uri()), "demo").outcome()

    assert outcome is not None, said
    assert "succeeded" == outcome.result
    assert off is (tmp_path / "off").exists()
    assert off is not (tmp_path / "kept").exists(), "the dead man's switch asks"


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({keys.spec("demo"): b"{}"}, 34),  # somebody else's run of that name
        ({keys.outcome("demo"): records.encode(records.Outcome("succeeded", 1, 0.0))}, 34),
        ({keys.claim("demo", 1): records.encode(records.Claim("i-0fedcba9876543210", "token", 0.0))}, 32),
        ({}, 0),
    ],
)
async def test_agent_ends_with_the_code_of_what_turned_it_away(
    found: dict[str, bytes], code: int, tmp_path: Path
) -> None:
    """Where nothing is to be powered off, the exit code says why it had nothing to do. Otherwise only a log does."""
    (tmp_path / "job").mkdir()
    store = open_store((tmp_path / "store").as_uri())
    for key, data in found.items():
        await store.put(key, data)
    async with a_run(tmp_path, "") as (imds, endpoint), service(tmp_path, imds, endpoint, poweroff="") as process:
        said = await said_at_its_end(process)

    assert code == process.returncode, said


async def test_agent_that_nobody_assigns_a_run_says_so(tmp_path: Path) -> None:
    """Code 33, after its time. Otherwise a launcher that died leaves a machine that waits for ever."""
    relay = f'[relay]\nstore = "{(tmp_path / "store").as_uri()}"\nqueue = "http://127.0.0.1:9/1/relay"\n'
    async with (
        one_instance(user_data=relay.encode()) as (_, imds),
        service(tmp_path, imds, module="support.unassigned", poweroff="") as process,
    ):
        said = await said_at_its_end(process)

        assert 33 == process.returncode, said


async def test_sigterm_during_the_boot_ends_the_instance(tmp_path: Path) -> None:
    """Shut down before it knows its run: it owns nothing, so it goes at once. Otherwise systemd has to kill it."""
    async with one_instance() as (metadata, imds), service(tmp_path, imds) as process:
        metadata.misbehave(INSTANCE, lambda _: status(503))
        assert process.stdout is not None
        async with asyncio.timeout(WITHIN_S):
            while b"Booted" not in await process.stdout.readline():
                pass
        process.send_signal(signal.SIGTERM)
        await said_at_its_end(process)

        assert (tmp_path / "off").exists()


# --- one after another


async def heard(store: Store, check: Callable[[records.Status], bool]) -> records.Status:
    """The attempt's status, once `check` holds of it."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            status = await History(store, "demo").status(1)
            if status is not None and check(status):
                return status
            await asyncio.sleep(0.02)


def worked_s(status: records.Status) -> float:
    return status.at - (status.at if status.running_since is None else status.running_since)


async def test_agent_that_is_started_again_goes_on_counting_its_attempt(tmp_path: Path) -> None:
    """Killed at work, again on the second one's way in, and told to go at last: each says from its first word on what
    the command had done under those before it. Otherwise a machine that dies then has "lost nothing: it had not
    started", and the ledger has nothing of what the last save keeps (P8)."""
    (tmp_path / "job").mkdir()
    store = open_store((tmp_path / "store").as_uri())
    hasty, first_beat = "support.hasty", Wire("put attempts/#/status.json", AFTER)
    async with a_run(tmp_path, "", ["sleep", "600"]) as (imds, endpoint):
        async with service(tmp_path, imds, endpoint, hasty):
            first = await heard(store, lambda status: worked_s(status) > 3)
        await store.delete(keys.status("demo", 1))  # as if it had been away: the machine alone knows
        async with service(tmp_path, imds, endpoint, "support.tripwire", **first_beat.environment()) as process:
            await said_at_its_end(process)
        second = await heard(store, lambda _: True)
        await store.put(keys.death("demo", 1), records.encode(records.Death(second.instance, second.at)))
        (leg,) = (await receipt(store, "demo")).legs
        async with service(tmp_path, imds, endpoint, hasty) as process:
            third = await heard(store, lambda status: status.phase == "running")
            process.send_signal(signal.SIGTERM)
            await said_at_its_end(process)
    handover = await History(store, "demo").handover(1)

    assert sprung(tmp_path / "state")
    assert second.phase in STARTING
    assert worked_s(first) - CLOCK_S < worked_s(second) < worked_s(first) + 5, "its board may be a beat ahead"
    assert (DIED, False, 0.0) == (leg.end, leg.unstarted, leg.kept_s)
    assert pytest.approx(worked_s(second), abs=0.001) == leg.lost_s == leg.worked_s
    assert worked_s(second) - CLOCK_S < worked_s(third)
    assert handover is not None
    assert worked_s(third) - CLOCK_S < handover.kept_s <= (handover.worked_s or 0) < worked_s(third) + 5
