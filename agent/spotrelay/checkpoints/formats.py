"""Is a checkpoint's file whole? Where its format tells, from a few bytes, whatever its size.

    zip             torch.save since 1.6, numpy.savez, Keras: the directory of contents comes last, with its own place
                    and size (APPNOTE 4.3.16); a file that is cut short anywhere has none
    safetensors     eight bytes of length, a header of that length, and in it where the last tensor ends
                    (github.com/huggingface/safetensors, "Format")
    empty           opened, and nothing written yet; said of names that are checkpoints' and nothing else

Everything else is not judged: the pickles of torch.save before 1.6 and HDF5 say nothing that can be held against a
size. Nor are the bytes between beginning and end: a file system that lost some in the middle is another matter.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

_ZIP = b"PK\x03\x04"
# What is written under these names and is empty, is unfinished.
_CHECKPOINTS = frozenset({".pt", ".pth", ".ckpt", ".npz", ".keras", ".safetensors"})
# These may hold a zip, or anything.
_PERHAPS_ZIP = frozenset({".pt", ".pth", ".ckpt", ".npz", ".keras", ".bin", ".tar"})
# A header names tensors: the largest models have some 10 MB of it. safetensors itself refuses more than 100 MB.
_LARGEST_HEADER = 100_000_000


def fault(path: Path) -> str:
    """What shows that it is not whole; empty where nothing does. Raises OSError."""
    ending = path.suffix.lower()
    if ending not in _CHECKPOINTS | _PERHAPS_ZIP:
        return ""
    size = path.stat().st_size
    if size == 0:
        return "it is empty" if ending in _CHECKPOINTS else ""
    if ending == ".safetensors":
        return _safetensors(path, size)
    return _zip(path, size, certain=ending in _CHECKPOINTS)


def _zip(path: Path, size: int, *, certain: bool) -> str:
    with path.open("rb") as file:
        begins = file.read(len(_ZIP))
    if size < len(_ZIP) and certain and _ZIP.startswith(begins):
        return f"it ends after {size} bytes"
    if begins != _ZIP:
        return ""
    try:
        with zipfile.ZipFile(path):
            return ""
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return f"its directory of contents is missing: {size} bytes are not all"


def _safetensors(path: Path, size: int) -> str:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or (size < 8 + length and length <= _LARGEST_HEADER):
            return f"its header is cut short: {size} bytes are not all"
        if length > _LARGEST_HEADER:
            return ""  # something else of this name
        header = os.pread(file.fileno(), length, 8)
    try:
        tensors = json.loads(header)
        ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
        wanted = 8 + length + max(ends, default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return "its header cannot be read"
    return f"{size} bytes of {wanted} are there" if size < wanted else ""
