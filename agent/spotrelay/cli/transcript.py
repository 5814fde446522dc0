"""What the command said, attempt by attempt: in segments in the store, and the rest on the machine's own disk.

While it runs, the file it writes to is followed, a bounded piece at each look, for its newest line and the first sign
of progress. At the end the whole is read; of gigabytes, the beginning and the end, which show a counter go on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

EXCERPT = 4 << 20
_LOOK = 1 << 20
_TAIL = 1 << 16
_TERMINAL = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0e-\x1f\x7f]")


class Follower:
    """Of one file that grows. What it said before the last `_LOOK` bytes of a flood is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._rest = b""
        self.line = ""

    def look(self) -> str:
        """What has come since the last look, from the beginning of a line on."""
        data = self._new()
        text = self._rest + data
        self._rest = text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :][-_LOOK:]
        for line in reversed(re.split(rb"[\r\n]", text[-4096:])):
            if plain := _TERMINAL.sub(b"", line).strip():
                self.line = plain.decode(errors="replace")
                break
        return text.decode(errors="replace")

    def _new(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                # Truncated by the command itself: from its new beginning on.
                self._read = max(self._read, size - _LOOK) if size >= self._read else 0
                data = os.pread(file.fileno(), _LOOK, self._read)
        except FileNotFoundError:
            return b""
        self._read += len(data)
        return data


def whole(segments: Path, rest: Path) -> str:
    """`segments`: the folder of an attempt's log in the store. `rest`: the file; its shipped part is a hole."""
    shipped = sorted(segments.iterdir()) if segments.is_dir() else []
    size = sum(path.stat().st_size for path in shipped)
    last = _after(rest, size)
    if size + len(last) <= 2 * EXCERPT:
        data = b"".join(path.read_bytes() for path in shipped) + last
    else:
        beginning = _joined((path.read_bytes() for path in shipped), EXCERPT)
        end = _joined((path.read_bytes()[::-1] for path in reversed(shipped)), EXCERPT - len(last))[::-1]
        data = beginning + b"\n" + end + last
    return data.decode(errors="replace")


def tail(text: str, lines: int = 20) -> list[str]:
    """The last lines as a terminal would show them: of a progress bar what was drawn last."""
    shown = (_TERMINAL.sub(b"", line.encode()).decode() for line in text[-_TAIL:].split("\n"))
    drawn = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in shown)
    return [line for line in drawn if line][-lines:]


def _joined(pieces: Iterable[bytes], limit: int) -> bytes:
    data = b""
    for piece in pieces:
        if len(data) >= limit:
            break
        data += piece
    return data[: max(0, limit)]


def _after(path: Path, start: int) -> bytes:
    """From `start`, the last bytes only where there are many."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, os.fstat(file.fileno()).st_size - EXCERPT))
            return file.read(EXCERPT)
    except FileNotFoundError:
        return b""
