"""A manifest as an object: the lines of core.manifest in one zstd frame, written once, read without trust.

The frame ends in a checksum, and one without is refused: a manifest is not named by its hash as packs are, and a byte
that was damaged on its way could change a time or a mode unseen.
"""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

from spotrelay.core import manifest_reader
from spotrelay.core.errors import ManifestInvalid
from spotrelay.core.manifest import Manifest

# A million entries are about 150 MB of lines: enough, and an end for a bomb.
LARGEST = 1 << 30
LONGEST_LINE = 16 << 20  # a file of 4 TiB, in slices
# A million rows take 0.15 s and become 18 MB; level 3 takes 0.36 s, for 20 MB.
LEVEL = 1
_CHUNK = 1 << 20
_LARGEST_WINDOW = 8 << 20  # level 3 uses 2 MiB; a frame may ask for gigabytes


def pack_lines(lines: Iterator[bytes]) -> bytes:
    compressor = zstandard.ZstdCompressor(LEVEL, write_checksum=True).compressobj()
    return b"".join(map(compressor.compress, lines)) + compressor.flush()


def parse(data: bytes) -> Manifest:
    """Raises ManifestInvalid or ManifestUnknown, whatever `data`. Memory grows with what was checked, not with
    claims.
    """
    return manifest_reader.load(lines(data))


def lines(data: bytes) -> Iterator[bytes]:
    """For core.manifest to check. Raises ManifestInvalid for what is no frame, or a bomb."""
    try:
        yield from _lines(data)
    except zstandard.ZstdError as error:
        raise ManifestInvalid(f"manifest is not a zstd frame: {error}") from error


def packs(data: bytes) -> frozenset[str]:
    """The names of the packs alone: the other rows are passed over, so that a million entries take no memory. Raises
    as `parse` does.
    """
    return manifest_reader.pack_names(lines(data))


def _lines(data: bytes) -> Iterator[bytes]:
    if not zstandard.get_frame_parameters(data).has_checksum:
        raise ManifestInvalid("manifest has no checksum")
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
