"""boto3's session and clients, as a person's commands use them: each service once, listened to for AWS's own time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config


def session(region: str | None, profile: str | None) -> boto3.Session:
    """Raises botocore's ProfileNotFound."""
    # AWS's CLI and its other SDKs obey AWS_REGION; boto3 knows only AWS_DEFAULT_REGION (and the profile's).
    chosen = region or os.environ.get("AWS_REGION")
    return boto3.Session(region_name=chosen or None, profile_name=profile or None)


class Clients:
    """`clients("ec2")`. `heard` is (AWS's time, ours) of the first answer that had one, a refusal included."""

    def __init__(self, session: Callable[[], boto3.Session], region: Callable[[], str], config: Config) -> None:
        self._session, self._region, self._config = session, region, config
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = Lock()  # making clients is the one thing a boto3 session cannot do in threads
        self.heard: tuple[datetime, float] | None = None

    def __call__(self, service: str, region: str = "") -> Any:
        session, region = self._session(), region or self._region()
        with self._lock:
            if (service, region) not in self._made:
                client: Any = session.client(service, region_name=region, config=self._config)  # type: ignore[call-overload]
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
