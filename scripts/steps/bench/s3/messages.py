"""A request as it was understood, and an answer before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from .storage import Object

EMPTY = memoryview(b"")


@dataclass(slots=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: memoryview = EMPTY

    @property
    def place(self) -> tuple[str, str]:
        """Bucket and key; either may be empty."""
        bucket, _, key = unquote(self.target.partition("?")[0]).removeprefix("/").partition("/")
        return bucket, key

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass(slots=True)
class Answer:
    """`sent`: an object and the range of it that follow the head, instead of `body`. `length`: what the head says of
    the body, where none follows (HEAD)."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    sent: tuple[Object, int, int] | None = None
    length: int | None = None

    def head(self) -> bytes:
        length = len(self.body) if self.length is None else self.length
        if self.sent is not None:
            length = self.sent[2] - self.sent[1]
        lines = [f"HTTP/1.1 {self.status} {self.status}", "Server: bench", f"Content-Length: {length}"]
        if self.status == 204:
            lines.pop()
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "x-amz-request-id: 1", "", ""]).encode("latin1")


def xml(text: str, status: int = 200) -> Answer:
    body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
    return Answer(status, [("Content-Type", "application/xml")], body)


def refusal(status: int, code: str) -> Answer:
    return xml(f"<Error><Code>{code}</Code><Message>{code}</Message></Error>", status)
