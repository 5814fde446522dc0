"""Row F's command: it computes, and writes checkpoints, as a training job does. A line for each, what it took.

    python -m bench.worker DIRECTORY CHECKPOINT_BYTES

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
# Steps of computing for each megabyte written, of 5 to 15 ms: 50 to 200 MiB/s. A command that writes faster has nothing
# else to do.
STEPS = 1


def command(directory: Path, checkpoint: int) -> list[str]:
    return [sys.executable, "-m", f"{__package__}.worker", str(directory), str(checkpoint)]


class Stopwatch:
    def __init__(self) -> None:
        self.seconds = self.cpu_s = 0.0

    def time(self, act: Callable[[], object]) -> None:
        began, cpu = time.monotonic(), time.thread_time()
        act()
        self.cpu_s += time.thread_time() - cpu
        self.seconds += time.monotonic() - began


def main() -> None:
    directory, size = Path(sys.argv[1]), int(sys.argv[2])
    noise = os.urandom(MIB)

    def step() -> None:
        sum(number * number for number in range(100_000))
        hashlib.sha256(noise).digest()

    while True:
        computing, writing, began, cpu = Stopwatch(), Stopwatch(), time.monotonic(), time.process_time()
        with (directory / "checkpoint.tmp").open("wb", buffering=0) as file:
            for number in range(max(1, size // MIB)):
                for _ in range(STEPS):
                    computing.time(step)
                # Each megabyte another one: nothing is the same as what has been sent.
                data = os.urandom(16) + number.to_bytes(8, "big") + noise[24:]
                writing.time(lambda data=data: file.write(data))  # type: ignore[misc]
        writing.time((directory / "checkpoint.tmp").rename(directory / "checkpoint.bin").stat)
        took = {
            "ended": time.monotonic(),
            "wall_s": time.monotonic() - began,
            "cpu_s": time.process_time() - cpu,
            "computing": computing.seconds,
            "computing, CPU": computing.cpu_s,
            "writing": writing.seconds,
            "writing, CPU": writing.cpu_s,
        }
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main()
