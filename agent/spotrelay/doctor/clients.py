"""boto3 clients for an examination: each service once, impatient, and listened to for AWS's own time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config

# An answer takes 0.2 s from another continent. A service behind a firewall that swallows packets costs 2 × 2 s to
# connect, one that hangs 2 × 6 s; all checks run at once, so that is also what an examination takes at most per step
# of its longest chain. Two attempts: one lost packet is no finding.
PATIENCE = Config(
    connect_timeout=2, read_timeout=6, retries={"mode": "standard", "total_max_attempts": 2}, max_pool_connections=20
)


class Clients:
    """`clients("ec2")`. `heard` is (AWS's time, ours) of the first answer that had one, a refusal included."""

    def __init__(self, session: Callable[[], boto3.Session], region: Callable[[], str]) -> None:
        self._session = session
        self._region = region
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = Lock()  # making clients is the one thing a boto3 session cannot do in threads
        self.heard: tuple[datetime, float] | None = None

    def __call__(self, service: str, region: str = "") -> Any:
        session, region = self._session(), region or self._region()
        with self._lock:
            if (service, region) not in self._made:
                client: Any = session.client(service, region_name=region, config=PATIENCE)  # type: ignore[call-overload]
                client.meta.events.register("response-received", self._hear)
                self._made[service, region] = client
            return self._made[service, region]

    def _hear(self, response_dict: dict[str, Any] | None = None, **_: object) -> None:
        date = (response_dict or {}).get("headers", {}).get("date")
        if self.heard is None and date:
            try:
                self.heard = parsedate_to_datetime(date), time.time()
            except ValueError:  # a proxy's page has any header
                return

    def close(self) -> None:
        for client in self._made.values():
            client.close()
