"""What clients wrap around a body: HTTP's chunks, and S3's own, signed or not, with trailers or without."""

from __future__ import annotations

from .messages import Request


def bare(request: Request) -> memoryview:
    """The object's bytes. S3's chunks (`SIZE;chunk-signature=…\\r\\n DATA \\r\\n … 0`) are closed up in place."""
    wrapped = "aws-chunked" in request.headers.get("content-encoding", "")
    if not wrapped and not request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return request.body
    body, read, written = request.body, 0, 0
    while True:
        # A chunk's head is its size, 16 letters at most, and a signature of 85.
        line = bytes(body[read : read + 200]).partition(b"\r\n")[0]
        size = int(line.partition(b";")[0], 16)
        if not size:
            return body[:written]
        begin = read + len(line) + 2
        body[written : written + size] = body[begin : begin + size]
        written += size
        read = begin + size + 2


class Chunks:
    """HTTP's chunked transfer, fed as it comes. `body` is whole once `feed` has returned the number of bytes that
    belong to what follows."""

    def __init__(self) -> None:
        self.body = bytearray()
        self._pending = bytearray()
        self._left = 0  # of the chunk under way, its closing line end included

    def feed(self, data: bytes) -> bytes | None:
        """None: more is needed. Else what came after the body."""
        self._pending += data
        while True:
            if self._left:
                taken = self._pending[: self._left]
                self._left -= len(taken)
                self.body += taken
                del self._pending[: len(taken)]
                if self._left:
                    return None
                del self.body[-2:]
            line, found, _ = self._pending.partition(b"\r\n")
            if not found:
                return None
            size = int(line.partition(b";")[0], 16)
            if not size:
                # Trailers, if any, end with an empty line.
                end = self._pending.find(b"\r\n\r\n")
                return None if end < 0 else bytes(self._pending[end + 4 :])
            del self._pending[: len(line) + 2]
            self._left = size + 2
