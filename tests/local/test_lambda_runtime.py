"""Functions run under Lambda's real client, in a clean Python, and fail as they fail on AWS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from spotrelay.bundle import launcher_files
from spotrelay.command import processes
from spotrelay.local import lambda_environment
from spotrelay.local.lambda_runtime import Function, Invocation, Settings
from spotrelay.local.lambda_site import link_packages
from support.processes import eventually, gone

Make = Callable[..., Function]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """`make(source, **settings)`: a function of one file whose `handle` is the handler; closed at the end."""
    made: list[Function] = []

    def make(source: str, **settings: object) -> Function:
        file = tmp_path / f"handler{len(made)}.py"
        file.write_text("import json, os, signal, sys, time\n" + textwrap.dedent(source))
        options = {"handler": "handler.handle", **settings}
        function = Function(
            tmp_path / f"function{len(made)}", [("handler.py", file)], Settings(**options), log=tmp_path / "log"
        )
        made.append(function)
        return function

    yield make
    for function in made:
        await function.close()


def value(invocation: Invocation) -> object:
    assert invocation.ok, invocation
    return json.loads(invocation.payload)


async def test_event_and_context(make: Make) -> None:
    """The handler gets the event and a context with id, ARN and deadline, and its answer comes back; the next event
    finds the same process. Otherwise the launcher runs here as it never does on AWS."""
    function = make(
        """
        calls = []
        def handle(event, context):
            calls.append(context.aws_request_id)
            in_time = 20_000 < context.get_remaining_time_in_millis() <= 30_000
            return [event["n"], context.invoked_function_arn, in_time, len(set(calls)), os.environ["MINE"]]
        """,
        timeout_s=30.0,
        environment={"MINE": "yes"},
    )
    answers = [value(await function.invoke({"n": n})) for n in (1, 2)]

    arn = "arn:aws:lambda:us-east-1:123456789012:function:launcher"
    assert [[1, arn, True, 1, "yes"], [2, arn, True, 2, "yes"]] == answers


async def test_clean_interpreter(make: Make) -> None:
    """boto3 and its closure can be imported, and nothing else that is installed beside it; no setting of the person's
    Python is there. Otherwise an import that works here fails in the deployed function."""
    function = make(
        """
        import importlib.util
        def handle(event, context):
            import boto3
            boto3.client("sqs", region_name="us-east-1")
            return [name for name in event["names"] if importlib.util.find_spec(name)], sorted(
                name for name in os.environ if name.startswith("PYTHON") and name != "PYTHONPATH")
        """
    )
    names = ["boto3", "botocore", "urllib3", "aiohttp", "pytest", "structlog", "obstore", "spotrelay"]

    assert [["boto3", "botocore", "urllib3"], []] == value(await function.invoke({"names": names}))


async def test_launcher_imports_from_its_bundle(tmp_path: Path) -> None:
    """The launcher's own files are enough to import its handler. Otherwise the zip lacks a module, which is found on
    the first interruption in the cloud."""
    settings = Settings("spotrelay.launcher.handler.handle", environment={"AWS_ACCESS_KEY_ID": "test"})
    function = Function(tmp_path / "function", launcher_files(), settings, log=tmp_path / "log")
    try:
        assert {"batchItemFailures": []} == value(await function.invoke({"Records": []}))
    finally:
        await function.close()


def test_bundle_is_the_core_and_the_launcher() -> None:
    """The zip has the package's own marker, core and launcher, sorted, no caches, and not the file that lists it."""
    names = [name for name, _ in launcher_files()]

    assert sorted(names) == names
    assert {"spotrelay/__init__.py", "spotrelay/core/keys.py", "spotrelay/launcher/handler.py"} <= set(names)
    assert not [name for name in names if "__pycache__" in name or "bundle" in name or "/local/" in name]


async def test_exception_fails_the_event_alone(make: Make) -> None:
    """A handler that raises fails its event, with the exception's type, and goes on in the same process."""
    function = make(
        """
        def handle(event, context):
            if event["bad"]:
                raise KeyError("no such run")
            return os.getpid()
        """
    )
    first = value(await function.invoke({"bad": False}))
    failed = await function.invoke({"bad": True})

    assert (False, "KeyError") == (failed.ok, json.loads(failed.payload)["errorType"])
    assert first == value(await function.invoke({"bad": False}))


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"])
async def test_crash_is_followed_by_a_fresh_process(make: Make, end: str) -> None:
    """A process that ends fails the event that it had, at once, and the next event finds a new one. Otherwise one
    segmentation fault ends all relaunching."""
    function = make(
        f"""
        def handle(event, context):
            if event["die"]:
                {end}
            return os.getpid()
        """
    )
    first = value(await function.invoke({"die": False}))
    failed = await function.invoke({"die": True})
    second = value(await function.invoke({"die": False}))

    assert (False, "Runtime.ExitError") == (failed.ok, failed.error_type)
    assert first != second


async def test_idle_process_that_died(make: Make) -> None:
    """A process that died between two events costs the next one nothing. Otherwise it fails through no fault of its."""
    function = make("def handle(event, context):\n    return os.getpid()")
    first = value(await function.invoke({}))
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)

    def noticed() -> None:
        assert not function._idle[0].usable

    await eventually(noticed)

    assert first != value(await function.invoke({}))


async def test_timeout_kills_the_group(make: Make) -> None:
    """A handler that takes too long is killed with all that it started. Otherwise a launch that hangs goes on beside
    its own repetition."""
    function = make(
        """
        import subprocess
        def handle(event, context):
            if event["hang"]:
                helper = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(1000)"])
                print("ready", helper.pid, flush=True)
                time.sleep(1000)
            return "back"
        """,
        timeout_s=2.5,
    )
    log = Path(function._folder).parent / "log"
    failed = await function.invoke({"hang": True})
    while "ready" not in log.read_text():  # the computer stood still for as long
        failed = await function.invoke({"hang": True})
    function._settings = replace(function._settings, timeout_s=60.0)
    words = log.read_text().split()
    await gone(int(words[words.index("ready") + 1]))

    assert (False, "Sandbox.Timedout") == (failed.ok, failed.error_type)
    assert "timed out after 2.50 seconds" in json.loads(failed.payload)["errorMessage"]
    assert "back" == value(await function.invoke({"hang": False}))


@pytest.mark.parametrize(
    ("source", "error"),
    [("import nonexistent", "Runtime.ImportModuleError"), ("def other(): ...", "Runtime.HandlerNotFound")],
)
async def test_handler_that_cannot_be_imported(make: Make, source: str, error: str) -> None:
    """What is wrong with the function's files is the error of every event, at once. Otherwise a rehearsal waits for a
    launcher that never was there."""
    function = make(source)
    await function.start()

    assert [(False, error)] * 2 == [(it.ok, it.error_type) for it in [await function.invoke({}) for _ in range(2)]]


async def test_import_that_hangs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import without end is cut off by the limit of the init phase, not by anybody's patience."""
    monkeypatch.setattr(lambda_environment, "INIT_LIMIT_S", 0.5)
    failed = await make("time.sleep(1000)").invoke({})

    assert (False, "Sandbox.Timedout") == (failed.ok, failed.error_type)


async def test_concurrency(make: Make) -> None:
    """As many events at once as the function's concurrency allows, each in a process of its own; one more waits. Two
    events at a time in one process would be two at once in code that AWS never calls so."""
    function = make(
        """
        def handle(event, context):
            folder = event["folder"]
            open(f"{folder}/{event['n']}", "w").close()
            while len(os.listdir(folder)) < 2:
                time.sleep(0.005)
            return os.getpid()
        """,
        concurrency=2,
    )
    folder = Path(function._folder).parent / "met"
    folder.mkdir()
    events = [{"folder": str(folder), "n": n} for n in range(3)]
    async with asyncio.timeout(60):
        pids = [value(answer) for answer in await asyncio.gather(*map(function.invoke, events))]

    assert 2 == len(set(pids))


async def test_close_at_any_time(make: Make, tmp_path: Path) -> None:
    """Closed while it works, a function fails its event, leaves no process and no file, and takes no other."""
    function = make("def handle(event, context):\n    print('ready', os.getpid(), flush=True)\n    time.sleep(1000)")
    log = tmp_path / "log"
    log.touch()
    event = asyncio.ensure_future(function.invoke({}))

    def working() -> None:
        assert "ready" in log.read_text()

    await eventually(working)
    await function.close()

    assert "Runtime.ExitError" == (await event).error_type
    await gone(int(log.read_text().split()[1]))
    assert not (tmp_path / "function0").exists()
    with pytest.raises(RuntimeError):
        await function.invoke({})


async def test_cancelled_event_cannot_answer_the_next(make: Make, tmp_path: Path) -> None:
    """Who gives an event up gets rid of the process that has it. Otherwise its late answer is taken for the next's."""
    function = make(
        """
        def handle(event, context):
            open(event["begun"], "w").close()
            while not os.path.exists(event["until"]):
                time.sleep(0.005)
            return event["n"]
        """
    )
    begun, until = tmp_path / "begun", tmp_path / "until"
    files = {"begun": str(begun), "until": str(until)}
    given_up = asyncio.ensure_future(function.invoke({**files, "n": 1}))

    def working() -> None:
        assert begun.exists()

    await eventually(working)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    until.touch()

    assert 2 == value(await function.invoke({**files, "n": 2}))


async def test_nothing_outlives_who_started_it(tmp_path: Path) -> None:
    """A rehearsal that is killed leaves no function behind: the runtime's client ends when its API is gone."""
    (tmp_path / "handler.py").write_text("import os\ndef handle(event, context):\n    return os.getpid()\n")
    program = f"""
import asyncio, pathlib
from spotrelay.local.lambda_runtime import Function, Settings
async def main():
    folder = pathlib.Path({str(tmp_path)!r})
    function = Function(folder / "function", [("handler.py", folder / "handler.py")], Settings("handler.handle"),
                        log=folder / "log")
    print((await function.invoke({{}})).payload.decode(), flush=True)
    await asyncio.sleep(1000)
asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    alive = processes.is_alive(pid)
    parent.kill()
    await parent.wait()

    assert alive
    await gone(pid)


def test_closure_of_packages(tmp_path: Path) -> None:
    """What boto3 requires is there, extras and the tools around it are not: the links are what Lambda has, no more."""
    link_packages(tmp_path / "site", ["boto3"])
    names = {path.name for path in (tmp_path / "site").iterdir() if not path.name.endswith(".dist-info")}

    assert {"boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3"} == names
