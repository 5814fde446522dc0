"""A webhook on loopback that keeps what it gets, and answers as it is told: a status, or not as it should."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hook:
    """`answers`: to the next requests, then 200. `always`: instead of that. `bodies`: of those it took."""

    url: str = ""
    answers: list[int | str] = field(default_factory=list)
    always: int = 200
    paths: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def events(self) -> list[tuple[str, int]]:
        """As they came: what, and of which attempt."""
        return [(body["event"], body["attempt"]) for body in self.bodies]


@contextmanager
def hook() -> Iterator[Hook]:
    there = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            there.paths.append(self.path)
            answer = there.answers.pop(0) if there.answers else there.always
            if isinstance(answer, int):
                if answer < 300:
                    there.bodies.append(json.loads(body))
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                if answer == 302:
                    self.send_header("Location", there.url)
                self.end_headers()
            elif answer == "garbage":
                self.wfile.write(f"no HTTP {self.path}\r\n\r\n".encode())
            elif answer == "silent":
                there.over.wait(10)
            else:
                self._drip()

        def _drip(self) -> None:
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not there.over.wait(0.05):
                    self.wfile.write(b"x")
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield there
    finally:
        there.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
