"""What a command has let go of goes back to the system at once.

obstore fills buffers of many megabytes in threads of its own, and glibc keeps what a thread frees in that thread's
arena, eight arenas a core, for a next time: a log of 1 GiB, of which 32 MiB are held at a time, took 200 to 250 MiB
on a busy machine. With a fixed threshold each large buffer is a mapping of its own, and gone when it is freed: 102 MiB.
Elsewhere than with glibc nothing is done: other allocators have their own ways.
"""

from __future__ import annotations

import contextlib
import ctypes

M_MMAP_THRESHOLD = -3  # malloc.h
LARGE = 1 << 20


def give_back_at_once() -> None:
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)
