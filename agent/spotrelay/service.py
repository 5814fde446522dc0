"""What the service manager is told: that we are up, that we live, what we do, and how long an end takes.

The protocol of sd_notify(3): a datagram of NAME=value lines to the socket in NOTIFY_SOCKET. Without that variable
(a laptop, the local cloud) nobody listens, and nothing is said. Nothing here raises: a manager that does not listen is
no reason to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """`address`: of the socket, "" for none. `watchdog_s`: silence for so long is death; 0: it does not watch."""

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> ServiceManager:
        microseconds = environment.get("WATCHDOG_USEC", "")
        return cls(environment.get("NOTIFY_SOCKET", ""), float(microseconds) / 1e6 if microseconds.isdigit() else 0.0)

    def ready(self) -> None:
        self._say("READY=1")

    def status(self, text: str) -> None:
        """One line, for whoever asks `systemctl status`."""
        self._say(f"STATUS={' '.join(text.split())}")

    def stopping(self, within_s: float) -> None:
        """The end takes so long: then whatever TimeoutStopSec says, it is not cut short."""
        self._say(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(within_s * 1e6)}")

    async def keep_alive(self) -> None:
        """Say that the loop turns, three times in each period; a loop that is blocked does not. Ends by cancellation,
        or at once where nobody watches."""
        while self.watchdog_s:
            self._say("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 3)

    def _say(self, message: str) -> None:
        if not self.address:
            return
        # "@": the abstract namespace, whose names begin with a null byte.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(message.encode(), address)
