"""A package index with what requirements.lock names and nothing else, for machines that reach nothing else.

pip on the machine checks every hash of the lock, so it does not matter who serves; here it is this process, from a
folder in the user's cache that pip on this computer has filled from its own index.
"""

from __future__ import annotations

import hashlib
import http.server
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from support.twin.rootfs import CACHE, forget, locked

ROOT = Path(__file__).parents[3]
# For a machine of Debian 12 or 13: their C library takes wheels of all these.
PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")


def wheels(python: str) -> Path:
    """A folder with the lock's wheels for this version of Python ("3.11"). Fetched if it is not there."""
    lock = (ROOT / "requirements.lock").read_bytes()
    target = CACHE / f"wheels-{python}-{hashlib.sha256(lock).hexdigest()[:16]}"
    with locked(CACHE):
        if not target.exists():
            forget(f"wheels-{python}-*")
            _fetch(python, target)
    target.touch()
    return target


def _fetch(python: str, target: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=CACHE))
    tag = f"cp{python.replace('.', '')}"
    fits = ["--python-version", python, "--implementation", "cp", "--abi", tag, "--abi", "abi3", "--abi", "none"]
    command = [
        *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
        *(*fits, *(word for platform in PLATFORMS for word in ("--platform", platform))),
        *("-r", str(ROOT / "requirements.lock"), "-d", str(unfinished)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    unfinished.rename(target)


class Index(http.server.SimpleHTTPRequestHandler):
    """PEP 503: /simple/NAME/ lists the files of a project."""

    def do_GET(self) -> None:
        if (found := re.fullmatch("/simple/([^/]+)/", self.path)) is None:
            super().do_GET()
            return
        names = [path.name for path in Path(self.directory).iterdir() if _project(path.name) == found[1]]
        page = "".join(f'<a href="/{name}">{name}</a>\n' for name in names).encode()
        self.send_response(200 if names else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        pass


def _project(wheel: str) -> str:
    return re.sub(r"[-_.]+", "-", wheel.split("-", maxsplit=1)[0]).lower()


@contextmanager
def index(folder: Path) -> Iterator[str]:
    """Serve `folder` on this computer's loopback: the URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
