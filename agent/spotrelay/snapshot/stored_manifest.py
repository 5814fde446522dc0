"""A manifest as an object: the lines of core.manifest in one zstd frame, written once, read without trust."""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

from spotrelay.core import manifest
from spotrelay.core.errors import ManifestInvalid
from spotrelay.core.manifest import Manifest

# A million entries are about 300 MB of lines, and this much again as objects: enough, and an end for a bomb.
LARGEST = 1 << 30
LONGEST_LINE = 16 << 20  # a file of 4 TiB, in slices
_CHUNK = 1 << 20
_LARGEST_WINDOW = 8 << 20  # level 3 uses 2 MiB; a frame may ask for gigabytes


def pack_lines(lines: Iterator[bytes]) -> bytes:
    compressor = zstandard.ZstdCompressor(3).compressobj()
    return b"".join(map(compressor.compress, lines)) + compressor.flush()


def parse(data: bytes) -> Manifest:
    """Raises ManifestInvalid or ManifestUnknown, whatever `data`. Memory grows with what was checked, not with
    claims.
    """
    try:
        return manifest.load(_lines(data))
    except zstandard.ZstdError as error:
        raise ManifestInvalid(f"manifest is not a zstd frame: {error}") from error


def packs(data: bytes) -> frozenset[str]:
    """The names of the packs alone: the other rows are passed over, so that a million entries take no memory. Raises
    as `parse` does.
    """
    try:
        return manifest.pack_names(_lines(data))
    except zstandard.ZstdError as error:
        raise ManifestInvalid(f"manifest is not a zstd frame: {error}") from error


def _lines(data: bytes) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).stream_reader(data)
    total, rest = 0, b""
    while chunk := reader.read(_CHUNK):
        total += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        if total > LARGEST or len(rest) > LONGEST_LINE:
            raise ManifestInvalid(f"manifest is larger than {LARGEST} bytes, or has a line of {LONGEST_LINE}")
        yield from lines
    if rest:
        yield rest
