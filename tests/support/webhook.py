"""A webhook on loopback that keeps what it gets, and answers as it is told: a status, or not as it should.

By https as well, with a certificate of its own (`certificate`): a stack takes no other. Whoever is to believe it has
SSL_CERT_FILE in its environment.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Hook:
    """`answers`: to the next requests, then 200. `always`: instead of that. `bodies`: of those it took. `took` is
    called, in a thread, with each of them before it is answered."""

    url: str = ""
    answers: list[int | str] = field(default_factory=list)
    always: int = 200
    paths: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    took: Callable[[dict[str, Any]], None] = lambda _: None

    @property
    def events(self) -> list[tuple[str, int]]:
        """As they came: what, and of which attempt."""
        return [(body["event"], body["attempt"]) for body in self.bodies]


def certificate(folder: Path) -> Path:
    """A file with a new key and its certificate for 127.0.0.1; to believe in as well."""
    made = folder / "loopback.pem"
    asked = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    words = [*asked.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", made, "-out", made]
    subprocess.run(words, check=True, capture_output=True)
    return made


@contextmanager
def hook(secured: Path | None = None) -> Iterator[Hook]:
    """`secured`: by https, with this certificate."""
    there = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            there.paths.append(self.path)
            answer = there.answers.pop(0) if there.answers else there.always
            if isinstance(answer, int):
                if answer < 300:
                    there.bodies.append(json.loads(body))
                    there.took(there.bodies[-1])
                self._answer(answer)
            elif answer == "garbage":
                self.wfile.write(f"no HTTP {self.path}\r\n\r\n".encode())
            elif answer == "silent":
                there.over.wait()
            else:
                self._drip()

        def _answer(self, status: int) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                if status == 302:
                    self.send_header("Location", there.url)
                self.end_headers()
            except OSError:
                return  # it was told, and died

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
    there.url = f"{'https' if secured else 'http'}://127.0.0.1:{server.server_port}"
    if secured:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(secured)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield there
    finally:
        there.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
