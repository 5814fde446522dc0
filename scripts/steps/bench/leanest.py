"""The limit: read, hash and send the same bytes, and back, by the leanest program for the purpose.

    python -m bench.leanest up PORT BUCKET DIRECTORY
    python -m bench.leanest down PORT BUCKET DIRECTORY

Pieces of 16 MiB of all files one after the other, four connections with a thread and a buffer each: preadv into the
buffer, BLAKE3, PUT, and the reverse. No signature, no manifest that could be trusted (names and sizes, as JSON), no
retry, no check of anything but the hashes. What a real program takes longer is the price of being one.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from blake3 import blake3

PIECE = 16 << 20
CONNECTIONS = 4
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

    def get_into(self, key: str, buffer: memoryview) -> memoryview:
        """What the object holds."""
        self._ask("GET", key, 0)
        size, first = self._head()
        buffer[: len(first)] = first
        got = len(first)
        while got < size:
            got += self._socket.recv_into(buffer[got:size])
        return buffer[:size]

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


def up(port: int, bucket: str, directory: Path) -> None:
    pieces = list(cut(sizes(directory)))
    hashes = [""] * len(pieces)

    def send(number: int, wire: Wire, buffer: memoryview) -> None:
        at = 0
        for name, offset, length in pieces[number]:
            file = os.open(directory / name, os.O_RDONLY)
            at += os.preadv(file, [buffer[at : at + length]], offset)
            os.close(file)
        hashes[number] = blake3(buffer[:at]).hexdigest()
        wire.put(f"{number}", buffer[:at])

    on_all(send, len(pieces), port, bucket)
    index = json.dumps({"pieces": pieces, "hashes": hashes}).encode()
    Wire(port, bucket).put(INDEX, memoryview(index))


def down(port: int, bucket: str, directory: Path) -> None:
    index = json.loads(bytes(Wire(port, bucket).get_into(INDEX, memoryview(bytearray(64 << 20)))))
    pieces: list[list[Span]] = index["pieces"]
    for folder in {directory / name for piece in pieces for name, _, _ in piece}:
        folder.parent.mkdir(parents=True, exist_ok=True)

    def fetch(number: int, wire: Wire, buffer: memoryview) -> None:
        data, at = wire.get_into(f"{number}", buffer), 0
        assert blake3(data).hexdigest() == index["hashes"][number]
        for name, offset, length in pieces[number]:
            file = os.open(directory / name, os.O_WRONLY | os.O_CREAT)
            os.pwrite(file, data[at : at + length], offset)
            os.close(file)
            at += length

    on_all(fetch, len(pieces), port, bucket)


def on_all(act: object, count: int, port: int, bucket: str) -> None:
    numbers = SimpleQueue[int]()
    for number in range(count):
        numbers.put(number)

    def work() -> None:
        wire, buffer = Wire(port, bucket), memoryview(bytearray(PIECE))
        while not numbers.empty():
            act(numbers.get(), wire, buffer)  # type: ignore[operator]

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for done in [threads.submit(work) for _ in range(CONNECTIONS)]:
            done.result()


def sizes(directory: Path) -> Iterator[tuple[str, int]]:
    for folder, _, names in os.walk(directory):
        for name in names:
            path = f"{folder}/{name}"  # a Path each costs more than the stat
            yield os.path.relpath(path, directory), os.stat(path).st_size  # noqa: PTH116


def cut(files: Iterator[tuple[str, int]]) -> Iterator[list[Span]]:
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
    action, port, bucket, directory = sys.argv[1:]
    {"up": up, "down": down}[action](int(port), bucket, Path(directory))


if __name__ == "__main__":
    main()
