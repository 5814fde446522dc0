"""One execution environment of Lambda: a process under the real runtime client, and the Runtime API on its other side.

Each environment has a port of its own: a process that is killed while it waits for its next event leaves that request
behind, and on a shared port it would swallow somebody else's. The client dies by itself when that port is gone, so no
environment outlives the program that started it by more than the event it is at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

# Lambda's own is 10 s, and then a second try within the function's timeout. A computer that is busy with training takes
# longer than Lambda does, and each try begins from nothing: one try, with all that time.
INIT_LIMIT_S = 60.0
_API = "/2018-06-01/runtime"
# Lambda takes events and answers of 6 MB; aiohttp would refuse from 1 MB on.
_LARGEST = 6 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Invocation:
    """What came of an event: the handler's answer as JSON, or an error as JSON and its type."""

    ok: bool
    payload: bytes
    error_type: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """Of a function, as one gives them to Lambda. `environment` must bring credentials and endpoints."""

    handler: str
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 60.0
    concurrency: int = 1
    name: str = "launcher"
    region: str = "us-east-1"
    account: str = "123456789012"
    memory_mb: int = 256

    @property
    def arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"


class Environment:
    """One process, one port, one event at a time. `task` and `site`: see `lambda_site`; output is appended to `log`."""

    def __init__(self, settings: Settings, task: Path, site: Path, log: Path) -> None:
        self._spent = False
        self._process: asyncio.subprocess.Process | None = None
        self._closing: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._settings, self._task, self._site, self._log = settings, task, site, log
        self._events: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._initialised: asyncio.Future[Invocation | None] = asyncio.get_running_loop().create_future()
        self._answers: dict[str, asyncio.Future[Invocation]] = {}
        self._runner = web.AppRunner(self._api(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)

    def _api(self) -> web.Application:
        api = web.Application(client_max_size=_LARGEST)
        api.router.add_get(f"{_API}/invocation/next", self._next)
        api.router.add_post(f"{_API}/invocation/{{id}}/{{kind:response|error}}", self._answered)
        api.router.add_post(f"{_API}/init/error", self._init_failed)
        return api

    async def start(self) -> None:
        """Start the process, which goes on by itself; `close` is called for in any case."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                # Without site-packages (-S), the user's (-s), the working directory (-P), and traces in them (-B).
                *(sys.executable, "-S", "-s", "-P", "-B", "-m", "awslambdaric", self._settings.handler),
                cwd=self._task,
                env=self._variables(f"{host}:{port}"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._ended = asyncio.ensure_future(self._process.wait())

    def _variables(self, api: str) -> dict[str, str]:
        settings = self._settings
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": f"{self._task}{os.pathsep}{self._site}",
            "LAMBDA_TASK_ROOT": str(self._task),
            "_HANDLER": settings.handler,
            "AWS_LAMBDA_RUNTIME_API": api,
            "AWS_LAMBDA_FUNCTION_NAME": settings.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{settings.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[$LATEST]{uuid.uuid4().hex}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_REGION": settings.region,
            "AWS_DEFAULT_REGION": settings.region,
            # The function's role is in its environment; the computer's own files and metadata are none of its.
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **settings.environment,
        }

    @property
    def usable(self) -> bool:
        """Whether another event may be handed to it."""
        return not self._spent and not self._ended.done()

    async def ready(self) -> Invocation | None:
        """Once the handler is imported: None, or why that failed."""
        await self._wait(self._initialised, INIT_LIMIT_S)
        if self._initialised.done() and self._initialised.result() is None:
            return None
        # A client that reports its failure ends a moment later.
        self._spent = True
        if self._initialised.done():
            return self._initialised.result()
        return self._exit_error("") if self._ended.done() else self._timeout("init", INIT_LIMIT_S)

    async def invoke(self, event: bytes) -> Invocation:
        try:
            return await self.ready() or await self._invoke(event)
        except asyncio.CancelledError:
            # The handler may still be at it, and its answer would be taken for the next event's.
            self._spent = True
            raise

    async def _invoke(self, event: bytes) -> Invocation:
        request = str(uuid.uuid4())
        answer: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        self._answers[request] = answer
        self._events.put_nowait((request, event))
        limit = self._settings.timeout_s
        await self._wait(answer, limit)
        del self._answers[request]
        if answer.done():
            return answer.result()
        self._spent = True
        return self._exit_error(request) if self._ended.done() else self._timeout(request, limit)

    async def _wait(self, news: asyncio.Future[Any], limit: float) -> None:
        """For `news`, for the end of the process, but no longer than `limit`."""
        watched: set[asyncio.Future[Any]] = {news, self._ended}
        await asyncio.wait(watched, timeout=limit, return_when=asyncio.FIRST_COMPLETED)

    def _exit_error(self, request: str) -> Invocation:
        return _failed("Runtime.ExitError", f"RequestId: {request} Error: Runtime exited: {self._ended.result()}")

    def _timeout(self, request: str, limit: float) -> Invocation:
        return _failed("Sandbox.Timedout", f"RequestId: {request} Error: Task timed out after {limit:.2f} seconds")

    async def _next(self, _: web.Request) -> web.Response:
        if not self._initialised.done():
            self._initialised.set_result(None)
        request, event = await self._events.get()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self._settings.timeout_s) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self._settings.arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
        }
        return web.Response(body=event, content_type="application/json", headers=headers)

    async def _answered(self, request: web.Request) -> web.Response:
        payload = await request.read()
        failed = request.match_info["kind"] == "error"
        answer = self._answers.get(request.match_info["id"])
        if answer is not None and not answer.done():
            answer.set_result(Invocation(not failed, payload, _error_type(request) if failed else ""))
        return _accepted()

    async def _init_failed(self, request: web.Request) -> web.Response:
        if not self._initialised.done():
            self._initialised.set_result(Invocation(False, await request.read(), _error_type(request)))
        return _accepted()

    async def close(self) -> None:
        """Kill it, with whatever the handler has started. The second to ask waits with the first."""
        self._spent = True
        self._closing = self._closing or asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._ended
        await self._runner.cleanup()


def _error_type(request: web.Request) -> str:
    return request.headers.get("Lambda-Runtime-Function-Error-Type", "Unhandled")


def _failed(kind: str, message: str) -> Invocation:
    return Invocation(False, json.dumps({"errorType": kind, "errorMessage": message}).encode(), kind)


def _accepted() -> web.Response:
    return web.json_response({"status": "OK"}, status=202)
