"""The server in a process of its own, so that its seconds are nobody else's, and what the bench asks of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

BUCKET = "bench"


class Site:
    """`at_80`: the same server for who cannot name a port; empty where nobody may listen there. `usual`: how it behaves
    when nothing else is said."""

    def __init__(self, port: int, address: str = "") -> None:
        self.port, self.endpoint = port, f"http://127.0.0.1:{port}"
        self.at_80 = address and f"http://{address}"
        self.usual: dict[str, float] = {}

    @property
    def environment(self) -> dict[str, str]:
        """This process's, with the server as all of AWS, and nothing of the person's own settings."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RCLONE_", "RESTIC_"))}
        # Whoever installs a package has it compiled. Without, each start takes 0.19 s of CPU instead of 0.13.
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        return inherited | {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
        }

    def counts(self) -> dict[str, float]:
        """Since the last time: requests by method, `bytes_in`, `bytes_out`, `connections`, and what mischief struck."""
        return cast(dict[str, float], self._ask("GET", "/_counts"))

    def clear(self, bucket: str = BUCKET) -> None:
        """One empty bucket and no other, and what has happened so far is forgotten."""
        self._ask("POST", "/_clear")
        self.empty(bucket)
        self.counts()

    def warm(self, size: int) -> None:
        self._ask("POST", "/_warm", {"bytes": str(size)})

    def empty(self, bucket: str = BUCKET) -> None:
        """That bucket; the others stay."""
        self._ask("POST", "/_empty", {"bucket": bucket})

    def fork(self, source: str, target: str) -> None:
        self._ask("POST", "/_fork", {"from": source, "to": target})

    def hashes(self, bucket: str = BUCKET) -> dict[str, str]:
        return cast(dict[str, str], self._ask("GET", "/_hashes", {"bucket": bucket}))

    def behave(self, **mischief: float) -> None:
        """As usual, and slow or wrong in these ways besides: see s3.mischief."""
        self._ask("POST", "/_mischief", body=json.dumps(self.usual | mischief).encode())

    def _ask(self, method: str, path: str, query: dict[str, str] | None = None, body: bytes = b"") -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, f"{path}?{urlencode(query)}" if query else path, body)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {said!r}")
        return json.loads(said) if said else None


@contextmanager
def served(peers: Path = Path(sys.prefix)) -> Iterator[Site]:
    """`peers`: an environment whose Python may have uvloop."""
    python = peers / "bin" / "python"
    command = [python if python.exists() else sys.executable, "-m", f"{__package__}.s3"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            port, _, address = server.stdout.readline().strip().partition(" ")
            yield Site(int(port), address)
        finally:
            server.kill()
