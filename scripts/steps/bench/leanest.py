"""The limit: read, hash and send the same bytes, and back, by the leanest program for the purpose.

    python -m bench.leanest up PORT BUCKET CONNECTIONS DIRECTORY
    python -m bench.leanest down PORT BUCKET CONNECTIONS DIRECTORY
    python -m bench.leanest wire PORT BUCKET CONNECTIONS BYTES     the sending alone; prints its seconds

Pieces of 16 MiB of all files one after the other, connections with a thread and a buffer each: preadv into the buffer,
BLAKE3, PUT, and the reverse, 1 MiB at a time into files that have their size already. No signature, no manifest that
could be trusted (names and sizes, as JSON), no retry, no check of anything but the hashes. What a real program takes
longer is the price of being one.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from blake3 import blake3

PIECE = 16 << 20
# Small enough to be still in the cache when it is hashed and written.
CHUNK = 1 << 20
INDEX = "index"

Span = tuple[str, int, int]  # a file, from where, how much


class Wire:
    """As much HTTP as this server needs."""

    def __init__(self, port: int, bucket: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._bucket = bucket

    def put(self, key: str, data: memoryview) -> None:
        self._ask("PUT", key, len(data))
        self._socket.sendall(data)
        self._head()

    def get(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """What the object holds, a bufferful at a time."""
        self._ask("GET", key, 0)
        left, first = self._head()
        buffer[: len(first)] = first
        got = len(first)
        while left:
            wanted = min(left, len(buffer))
            if got < wanted:  # all at once: each call less is a wait less for the interpreter's lock
                got += self._socket.recv_into(buffer[got:wanted], 0, socket.MSG_WAITALL)
            assert got == wanted
            yield buffer[:wanted]
            left, got = left - wanted, 0

    def _ask(self, method: str, key: str, size: int) -> None:
        head = f"{method} /{self._bucket}/{key} HTTP/1.1\r\nHost: s3\r\nContent-Length: {size}\r\n\r\n"
        self._socket.sendall(head.encode())

    def _head(self) -> tuple[int, bytes]:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._socket.recv(65536)
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert first.startswith("HTTP/1.1 200"), first
        size = next(line.split(":")[1] for line in lines if line.startswith("Content-Length"))
        return int(size), rest


class Job:
    def __init__(self, port: int, bucket: str, connections: int) -> None:
        self._port, self._bucket, self._connections = port, bucket, connections

    def connect(self) -> Wire:
        return Wire(self._port, self._bucket)

    def do_all(self, act: Callable[[int, Wire, memoryview], None], count: int) -> None:
        numbers = iter(range(count))  # next() is atomic

        def work() -> None:
            wire, buffer = self.connect(), memoryview(bytearray(PIECE))
            for number in numbers:
                act(number, wire, buffer)

        with ThreadPoolExecutor(self._connections) as threads:
            for done in [threads.submit(work) for _ in range(self._connections)]:
                done.result()


def up(job: Job, directory: Path) -> None:
    files = list(sizes(directory))
    pieces = list(cut(files))
    hashes = [""] * len(pieces)

    def send(number: int, wire: Wire, buffer: memoryview) -> None:
        at = 0
        for name, offset, length in pieces[number]:
            with opened(directory / name, os.O_RDONLY) as file:
                at += os.preadv(file, [buffer[at : at + length]], offset)
        hashes[number] = blake3(buffer[:at]).hexdigest()
        wire.put(f"{number}", buffer[:at])

    job.do_all(send, len(pieces))
    index = json.dumps({"files": files, "hashes": hashes}).encode()
    job.connect().put(INDEX, memoryview(index))


def down(job: Job, directory: Path) -> None:
    index = json.loads(b"".join(map(bytes, job.connect().get(INDEX, memoryview(bytearray(CHUNK))))))
    pieces = list(cut(index["files"]))
    for folder in {(directory / name).parent for name, _ in index["files"]}:
        folder.mkdir(parents=True, exist_ok=True)
    for name, size in index["files"]:
        with opened(directory / name, os.O_WRONLY | os.O_CREAT) as file:
            os.ftruncate(file, size)

    def fetch(number: int, wire: Wire, buffer: memoryview) -> None:
        digest, spans = blake3(), iter(pieces[number])
        name, offset, left = next(spans)
        for chunk in wire.get(f"{number}", buffer[:CHUNK]):
            digest.update(chunk)
            data = chunk
            while data:
                with opened(directory / name, os.O_WRONLY) as file:
                    done = os.pwrite(file, data[:left], offset)
                data, offset, left = data[done:], offset + done, left - done
                if not left:
                    name, offset, left = next(spans, ("", 0, 0))
        assert digest.hexdigest() == index["hashes"][number]

    job.do_all(fetch, len(pieces))


def wire(job: Job, size: int) -> None:
    began = time.monotonic()
    job.do_all(lambda number, wire, buffer: wire.put(f"{number}", buffer), size // PIECE)
    print(time.monotonic() - began)


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags)
    try:
        yield file
    finally:
        os.close(file)


def sizes(directory: Path) -> Iterator[tuple[str, int]]:
    for folder, _, names in os.walk(directory):
        for name in names:
            path = f"{folder}/{name}"  # a Path each costs more than the stat
            yield os.path.relpath(path, directory), os.stat(path).st_size  # noqa: PTH116


def cut(files: Iterable[tuple[str, int]]) -> Iterator[list[Span]]:
    piece: list[Span] = []
    left = PIECE
    for name, size in files:
        at = 0
        while at < size:
            length = min(left, size - at)
            piece.append((name, at, length))
            at += length
            left -= length
            if not left:
                yield piece
                piece, left = [], PIECE
    if piece:
        yield piece


def main() -> None:
    action, port, bucket, connections, what = sys.argv[1:]
    job = Job(int(port), bucket, int(connections))
    match action:
        case "up":
            up(job, Path(what))
        case "down":
            down(job, Path(what))
        case "wire":
            wire(job, int(what))


if __name__ == "__main__":
    main()
