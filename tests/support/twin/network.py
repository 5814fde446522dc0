"""A region's network: a namespace with a bridge, an address for each instance, and wires to this process's servers.

What instances reach of AWS, they reach over their own eth0: a wire listens on the bridge and carries bytes to a server
on this computer's loopback, to one and the same for all (control plane, S3), or to each instance's own (169.254.169.254
knows who asks by the address that asks). So the simulators stay as they are, and a network that is down is down.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

GATEWAY, METADATA = "10.77.0.1", "169.254.169.254"
LOCALHOST = "localhost"
ROUTER = "02:00:0a:4d:00:01"
_NEW_NETWORK = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Region:
    """Used as an async context manager, in the loop whose servers the wires lead to."""

    def __init__(self) -> None:
        self.name = f"relay-{secrets.token_hex(3)}"
        self._instances: dict[str, str] = {}  # address → URL of its metadata service
        self._servers: list[asyncio.Server] = []
        self._carrying: set[asyncio.Task[None]] = set()
        self._taken = 1

    async def __aenter__(self) -> Region:
        await asyncio.to_thread(self._build)
        try:
            await self._wire((METADATA, 80), self._metadata_of)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _build(self) -> None:
        inside = ("-n", self.name)
        ip("netns", "add", self.name)
        ip(*inside, "link", "set", "lo", "up")
        # By itself a bridge takes the lowest address of its ports, another one whenever an instance comes or goes; and
        # those that know the old one are cut off until they ask again, for half a minute.
        ip(*inside, "link", "add", "br0", "address", ROUTER, "type", "bridge")
        ip(*inside, "addr", "add", f"{GATEWAY}/24", "dev", "br0")
        ip(*inside, "addr", "add", f"{METADATA}/32", "dev", "br0")
        ip(*inside, "link", "set", "br0", "up")

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)
        await asyncio.to_thread(subprocess.run, ["ip", "netns", "del", self.name], check=False, capture_output=True)

    # --- wires

    async def wire(self, url: str) -> str:
        """The URL by which instances reach what is at `url` on this computer; see `machine.Twin` for its name."""
        parts = urlsplit(url)
        assert parts.port is not None
        await self._wire((GATEWAY, parts.port), lambda _: url)
        return f"http://{LOCALHOST}:{parts.port}"

    async def _wire(self, address: tuple[str, int], target: Callable[[str], str | None]) -> None:
        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with _ending(writer):
                url = target(writer.get_extra_info("peername")[0])
                if url is not None:
                    await _carry(reader, writer, url)

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(carry(reader, writer))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

        listener = await asyncio.to_thread(_in_namespace, Path("/run/netns") / self.name, lambda: _listen(address))
        self._servers.append(await asyncio.start_server(accept, sock=listener))

    def _metadata_of(self, address: str) -> str | None:
        return self._instances.get(address)

    # --- instances

    def join(self, imds: str) -> tuple[str, str]:
        """A namespace with an eth0 for one instance: its name and its address. Blocking."""
        self._taken += 1
        name, address = f"{self.name}-{self._taken}", f"10.77.0.{self._taken}"
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        mac = f"02:00:0a:4d:00:{self._taken:02x}"
        there = ("peer", "name", f"v{self._taken}", "netns", self.name)
        ip("-n", name, "link", "add", "eth0", "address", mac, "type", "veth", *there)
        ip("-n", self.name, "link", "set", f"v{self._taken}", "master", "br0", "up")
        self._instances[address] = imds
        return name, address

    def join_by_tap(self, imds: str) -> tuple[str, str, str]:
        """A port of the bridge for a virtual machine: the tap device in the region's namespace, and what the machine's
        own end shall have, hardware address and address. Blocking."""
        self._taken += 1
        tap, address = f"v{self._taken}", f"10.77.0.{self._taken}"
        ip("-n", self.name, "tuntap", "add", tap, "mode", "tap")
        ip("-n", self.name, "link", "set", tap, "master", "br0", "up")
        self._instances[address] = imds
        return tap, f"02:00:0a:4d:00:{self._taken:02x}", address

    def leave_tap(self, tap: str, address: str) -> None:
        self._instances.pop(address, None)
        subprocess.run(["ip", "-n", self.name, "link", "del", tap], check=False, capture_output=True)

    def plug(self, address: str, *, into: bool) -> None:
        """Plug the instance's cable in, or pull it. Blocking."""
        ip("-n", self.name, "link", "set", f"v{address.rpartition('.')[2]}", "up" if into else "down")

    def leave(self, name: str, address: str) -> None:
        self._instances.pop(address, None)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> None:
    parts = urlsplit(url)
    try:
        there_reader, there_writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError:
        return
    with _ending(there_writer):
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))


@contextlib.contextmanager
def _ending(writer: asyncio.StreamWriter) -> Iterator[None]:
    """Whatever happens, the connection ends with it: what was written has been sent, or is for nobody."""
    try:
        yield
    except BaseException:
        writer.transport.abort()
        raise
    else:
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


def _listen(address: tuple[str, int]) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(128)
    listener.setblocking(False)
    return listener


def _in_namespace(path: Path, make: Callable[[], socket.socket]) -> socket.socket:
    """What `make` gives in a thread that has joined the namespace: the socket stays there, its users need not."""
    made: list[socket.socket | BaseException] = []

    def work() -> None:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(handle, _NEW_NETWORK) != 0:
                    raise OSError(ctypes.get_errno(), f"setns {path}")
            finally:
                os.close(handle)
            made.append(make())
        except BaseException as error:
            made.append(error)

    # A thread of its own, which ends: one of a pool would stay in the namespace for whoever comes next.
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]
