"""Row F's command: it computes, and writes checkpoints, as a training job does. Prints what both took.

    python -m bench.worker DIRECTORY SECONDS CHECKPOINT_BYTES

Half of the computing is Python, half a library that works on a megabyte (SHA-256), so that a cache taken away is felt.
A checkpoint is written a megabyte at a time between steps of computing, to another name, and renamed when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20
# Steps of some 15 ms for each megabyte written: about 50 MiB/s. A command that writes faster has nothing else to do.
STEPS = 1


def command(directory: Path, seconds: float, checkpoint: int) -> list[str]:
    return [sys.executable, "-m", f"{__package__}.worker", str(directory), str(seconds), str(checkpoint)]


class Stopwatch:
    def __init__(self) -> None:
        self.seconds, self.count = 0.0, 0

    def time(self, act: Callable[[], object]) -> None:
        began = time.monotonic()
        act()
        self.seconds += time.monotonic() - began
        self.count += 1


def main() -> None:
    directory, seconds, size = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    noise = os.urandom(MIB)
    computing, writing = Stopwatch(), Stopwatch()

    def step() -> None:
        sum(number * number for number in range(100_000))
        hashlib.sha256(noise).digest()

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with (directory / "checkpoint.tmp").open("wb", buffering=0) as file:
            for number in range(max(1, size // MIB)):
                computing.time(step)
                # Each megabyte another one: nothing is the same as what has been sent.
                data = os.urandom(16) + number.to_bytes(8, "big") + noise[24:]
                writing.time(lambda data=data: file.write(data))  # type: ignore[misc]
        writing.time((directory / "checkpoint.tmp").rename(directory / "checkpoint.bin").stat)
    print(json.dumps({"step_s": computing.seconds / computing.count, "write_s": writing.seconds / writing.count}))


if __name__ == "__main__":
    main()
