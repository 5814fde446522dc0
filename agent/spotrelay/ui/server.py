"""The routes, and how each answers. What a request may ask for is checked here, who may ask in security.py.

    GET   /                               the page                      GET  /static/<file>      what it is made of
    GET   /api/events[?run=][&since=]     what changes (events.py)
    GET   /api/runs/<run>/log/<attempt>   a window: ?start=, ?end=, or its end; text, its place in X-Log-*
    GET   /api/runs/<run>/folder          ?snapshot=&path=     entries of a folder
    GET   /api/runs/<run>/file            ?snapshot=&path=     the file, to download
    POST  /api/runs/<run>/stop|resume     {}

Errors are JSON: {"what", "next_step"}, with the status that fits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from spotrelay.core import keys
from spotrelay.core.errors import NotFound, RunError, RunOver, SpotrelayError, StoreUnavailable, UsageError
from spotrelay.core.keys import SnapshotId
from spotrelay.ports import BrowsableStore
from spotrelay.ui.actions import Actions
from spotrelay.ui.events import Events
from spotrelay.ui.files import Files, decoded
from spotrelay.ui.poller import Poller
from spotrelay.ui.security import Gate, add_policies

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
LARGEST_QUESTION = 4 << 10
# For a page that does not let go of its connection at the end.
GRACE_S = 1.0


class Site:
    """The page of the runs in `store`."""

    def __init__(self, store: BrowsableStore, actions: Actions, gate: Gate) -> None:
        self.poller = Poller(store)
        self._actions, self._gate = actions, gate
        self._events, self._files = Events(self.poller), Files(store)
        # Read once: what is served is what lay there at the start, and no path leads anywhere else.
        self._static = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in TYPES}

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._gate.middleware, _say_errors], client_max_size=LARGEST_QUESTION)
        app.on_response_prepare.append(add_policies)
        app.on_shutdown.append(self._shut_down)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/static/{file}", self._file_of_page),
                web.get("/favicon.ico", self._icon),
                web.get("/api/place", self._place),
                web.get("/api/events", self._stream),
                web.get("/api/runs/{run}/log/{attempt}", self._log),
                web.get("/api/runs/{run}/folder", self._folder),
                web.get("/api/runs/{run}/file", self._download),
                web.get("/api/runs/{run}/archive", self._archive),
                web.post("/api/runs/{run}/stop", self._asked(self._actions.stop)),
                web.post("/api/runs/{run}/resume", self._asked(self._actions.resume)),
            ]
        )
        return app

    def runner(self) -> web.AppRunner:
        """A stream whose page is gone ends at once, and with it the looking: hence the cancellation."""
        return web.AppRunner(self.app(), handler_cancellation=True, shutdown_timeout=GRACE_S, access_log=None)

    async def _shut_down(self, _: web.Application) -> None:
        self._events.closing.set()
        await self.poller.close()

    async def _page(self, _: web.Request) -> web.Response:
        return self._served("index.html")

    async def _file_of_page(self, request: web.Request) -> web.Response:
        return self._served(request.match_info["file"])

    async def _icon(self, _: web.Request) -> web.Response:
        return self._served("icon.svg")

    def _served(self, name: str) -> web.Response:
        if name not in self._static:
            raise web.HTTPNotFound
        return web.Response(body=self._static[name], content_type=TYPES[Path(name).suffix], charset="utf-8")

    async def _place(self, _: web.Request) -> web.Response:
        return web.json_response({"resumes": self._actions.resumes})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        return await self._events.stream(request, _run(request.query["run"]) if "run" in request.query else None)

    async def _log(self, request: web.Request) -> web.Response:
        run, attempt = _run(request.match_info["run"]), _number(request.match_info["attempt"])
        places = {name: _number(request.query[name]) for name in ("start", "end") if name in request.query}
        window = await self.poller.view(run).logbook.window(attempt, **places)
        where = {"X-Log-Start": window.start, "X-Log-End": window.end, "X-Log-Size": window.size}
        return web.Response(
            body=window.data,
            content_type="text/plain",
            charset="utf-8",
            headers={name: str(number) for name, number in where.items()},
        )

    async def _folder(self, request: web.Request) -> web.Response:
        return web.json_response(await self._files.folder(*_path(request)))

    async def _download(self, request: web.Request) -> web.StreamResponse:
        return await self._files.download(request, *_path(request))

    async def _archive(self, request: web.Request) -> web.StreamResponse:
        return await self._files.archive(request, *_path(request))

    def _asked(self, action: Callable[[str], Awaitable[None]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            run = _run(request.match_info["run"])
            # A page that is closed in the middle has still asked.
            await asyncio.shield(asyncio.ensure_future(action(run)))
            self.poller.look_soon(run)
            return web.json_response({})

        return answer


@web.middleware
async def _say_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    known = ((NotFound, 404), (UsageError, 400), (RunError, 409), (RunOver, 409), (StoreUnavailable, 503))
    try:
        return await handler(request)
    except SpotrelayError as error:
        status = next((number for kind, number in known if isinstance(error, kind)), 502)
        return web.json_response({"what": error.what, "next_step": error.next_step}, status=status)


def _run(name: str) -> str:
    if not keys.RUN_NAME.fullmatch(name):
        raise NotFound("this is no run's name")
    return name


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise UsageError("this is no number")
    return int(text)


def _path(request: web.Request) -> tuple[str, SnapshotId, bytes]:
    try:
        snapshot = SnapshotId.parse(request.query.get("snapshot", ""))
    except ValueError as error:
        raise NotFound("this is no snapshot's name") from error
    return _run(request.match_info["run"]), snapshot, decoded(request.query.get("path", ""))
