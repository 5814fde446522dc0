#!/usr/bin/env python3
"""Saves a checkpoint now and then and when it is told, in its directory, and never reads it: it starts over each time.

What a script does that calls fit() without ckpt_path, or train() without resume_from_checkpoint.
"""

from __future__ import annotations

import signal
import sys
import time
import zipfile
from pathlib import Path

steps, pace = int(sys.argv[1]) if len(sys.argv) > 1 else 16, float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
told: list[bool] = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))

for step in range(1, steps + 1):
    print(f"step {step} of {steps}", flush=True)
    time.sleep(pace)
    Path("checkpoints").mkdir(exist_ok=True)
    with zipfile.ZipFile("checkpoints/last.unfinished", "w") as archive:
        archive.writestr("step", str(step))
    Path("checkpoints/last.unfinished").replace("checkpoints/last.ckpt")
    if told:
        sys.exit(0)
print("done", flush=True)
