"""The two lines into a virtual machine: QEMU's own (QMP: power button, snapshots, hot-plugged disks), and a shell of
the guest's on its second serial port.

Not ssh: under emulation a handshake takes longer than most tests, and a stopped machine's network is yet to be set up.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from pathlib import Path
from typing import Any

# A socket that QEMU makes while it starts.
THERE_S = 30.0
LONGEST_LINE = 1 << 20


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(THERE_S):
        while True:
            try:
                return await asyncio.open_unix_connection(str(path), limit=LONGEST_LINE)
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.05)


class Qmp:
    """One command at a time, as the protocol has it without identities."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._turn = reader, writer, asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Qmp:
        reader, writer = await connect(path)
        await reader.readline()
        qmp = cls(reader, writer)
        await qmp("qmp_capabilities")
        return qmp

    async def __call__(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns. Raises RuntimeError with its words, ConnectionError where it is gone."""
        async with self._turn:
            self._writer.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            while line := await self._reader.readline():
                said = json.loads(line)  # or an event, of which nobody asks here
                if "error" in said:
                    raise RuntimeError(f"{command}: {said['error']['desc']}")
                if "return" in said:
                    return said["return"]
        raise ConnectionResetError(f"{command}: QEMU is gone")

    async def monitor(self, line: str) -> None:
        """A command of the monitor for people, which says something only if it fails."""
        if said := await self("human-monitor-command", **{"command-line": line}):
            raise RuntimeError(f"{line}: {said}")

    def close(self) -> None:
        self._writer.close()


class Shell:
    """Commands for the guest, root's. The other end is `disk.SHELL`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._turn = reader, writer, asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> Shell:
        return cls(*await connect(path))

    async def __call__(self, script: str) -> tuple[int, str]:
        """Exit status and output."""
        token = secrets.token_hex(8)
        answer = f"printf '%s %s %s\\n' {token} $? \"$(base64 -w0 /run/said)\""
        async with self._turn:
            self._writer.write(f"( {script}\n) </dev/null >/run/said 2>&1; {answer}\n".encode())
            while line := await self._reader.readline():
                words = line.decode(errors="replace").split()
                if words[:1] == [token]:
                    return int(words[1]), base64.b64decode("".join(words[2:])).decode(errors="replace")
        raise ConnectionResetError("the guest is gone")

    async def there(self) -> None:
        """When the guest has started it. What is sent before is lost in parts."""
        while await self._reader.readline() not in (b"ready\n", b"ready\r\n"):
            if self._reader.at_eof():
                raise ConnectionResetError("the guest is gone")

    async def write(self, path: str, text: str) -> None:
        """A file, and the folders that lead to it. Raises AssertionError."""
        coded = base64.b64encode(text.encode()).decode()
        status, said = await self(f"mkdir -p {Path(path).parent}; echo {coded} | base64 -d >{path}")
        assert status == 0, said

    def close(self) -> None:
        self._writer.close()
