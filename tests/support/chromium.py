"""Debian's Chromium without a window, driven by its own protocol (CDP) over a WebSocket.

    async with chromium(folder) as browser:
        page = await browser.page(width=1280, height=800, dark=True)
        await page.go(address)
        await page.until("document.title === 'spotrelay'")

A driver of our own, for it is a hundred lines and needs nothing to be installed beside the browser: a library for it
would bring a browser of its own, or a second process that speaks another protocol to the first.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from support.story import until

PROGRAM = shutil.which("chromium")
MISSING = "there is no chromium here: apt-get install chromium (scripts/test does it as root)"
# root has no sandbox in a container; /dev/shm is small there; nothing is asked of the network.
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--hide-scrollbars",
    "--remote-debugging-port=0", "--force-color-profile=srgb", "--lang=en",
)  # fmt: skip
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39}
KEYS |= {"Home": 36, "End": 35, "PageUp": 33, "PageDown": 34}


class Browser:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse, downloads: Path) -> None:
        self.downloads, self._socket = downloads, socket
        self._numbers, self._answers = itertools.count(1), dict[int, asyncio.Future[Any]]()
        self.pages: dict[str, Page] = {}
        self._reading = asyncio.create_task(self._read())

    async def page(self, *, width: int = 1280, height: int = 800, dark: bool = False) -> Page:
        """In a profile of its own: it has no one else's cookies."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        where = {"browserContextId": context, "downloadPath": str(self.downloads)}
        await self.call("Browser.setDownloadBehavior", behavior="allow", **where)
        target = await self.call("Target.createTarget", url="about:blank", browserContextId=context)
        session = (await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.call(f"{domain}.enable")
        await page.looks(width=width, height=height, dark=dark)
        return page

    async def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(60):
            return await answer

    async def _read(self) -> None:
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" not in said:
                page = self.pages.get(said.get("sessionId", ""))
                if page is not None:
                    page.heard(said["method"], said["params"])
            elif (answer := self._answers.pop(said["id"])).done():
                continue
            elif "error" in said:
                answer.set_exception(AssertionError(said["error"]["message"]))
            else:
                answer.set_result(said["result"])

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


class Page:
    """`complaints`: what the page threw, and what its policy or the browser refused."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.complaints: list[str] = []
        self.requests: list[str] = []

    async def call(self, method: str, **parameters: Any) -> Any:
        return await self._browser.call(method, self._session, **parameters)

    def heard(self, method: str, said: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(said["exceptionDetails"])[:2000])
            case "Log.entryAdded" if said["entry"]["level"] == "error":
                self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(said["request"]["url"])

    async def looks(self, *, width: int, height: int = 800, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def go(self, address: str) -> None:
        await self.call("Page.navigate", url=address)

    async def of(self, expression: str) -> Any:
        """What it comes to in the page; a promise is awaited."""
        answer = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def text(self, selector: str) -> str:
        """What a person reads there: "" where there is nothing, or it is not shown."""
        element = f"document.querySelector({json.dumps(selector)})"
        return str(await self.of(f"{element}?.checkVisibility() ? {element}.innerText : ''"))

    async def until(self, expression: str, *, within: float = 60.0) -> Any:
        """What the expression comes to once that is true. A page that is being left is no error."""

        async def looked() -> Any:
            with suppress(AssertionError):
                return await self.of(expression)

        try:
            return await until(looked, what=expression, within=within)
        except AssertionError as error:
            shown = await self.of("document.body.innerText")
            raise AssertionError(f"{error}\n{self.complaints}\n{shown}") from None

    async def press(self, *keys: str) -> None:
        """A key by its name, or a sign."""
        for key in keys:
            said: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": KEYS.get(key) or ord(key.upper())}
            if key not in KEYS:
                said["text"] = key
            elif key == "Enter":
                said["text"] = "\r"
            await self.call("Input.dispatchKeyEvent", type="keyDown", **said)
            await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def click(self, selector: str) -> None:
        """Where it is, as a mouse does it: what lies above it gets the click."""
        element = f"document.querySelector({json.dumps(selector)})"
        await self.until(f"{element} !== null && {element}.checkVisibility()")
        box = await self.of(
            f"(() => {{ {element}.scrollIntoView({{block: 'nearest'}}); const b = {element}.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        place = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
        await self.call("Input.dispatchMouseEvent", type="mousePressed", **place)
        await self.call("Input.dispatchMouseEvent", type="mouseReleased", **place)

    async def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode((await self.call("Page.captureScreenshot"))["data"]))


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """`folder`: for its profile and downloads."""
    assert PROGRAM is not None, MISSING
    profile, downloads = folder / "profile", folder / "downloads"
    downloads.mkdir(parents=True)
    environment = {**os.environ, "HOME": str(folder), "TZ": "UTC"}
    with (folder / "chromium.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *FLAGS, f"--user-data-dir={profile}", "about:blank", stdout=output, stderr=output, env=environment
        )
    try:
        note = profile / "DevToolsActivePort"
        await until(lambda: note.exists() and note.read_text().count("\n") == 1, what="chromium listens", within=60)
        port, path = note.read_text().split("\n")
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0) as socket,
        ):
            browser = Browser(socket, downloads)
            try:
                yield browser
            finally:
                with suppress(AssertionError, ConnectionError, TimeoutError):
                    await browser.call("Browser.close")
                await browser.close()
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
