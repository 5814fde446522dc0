#!/usr/bin/env python3
"""Saves when it is interrupted, but outside of its execution directory, where the next machine will not find it.

Works perfectly on one machine, which is why nobody notices. Many libraries do so by default: ~/.cache, /tmp.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path

steps, pace = int(sys.argv[1]) if len(sys.argv) > 1 else 16, float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(tempfile.gettempdir())
checkpoint = folder / "state_elsewhere.checkpoint"
interrupted: list[bool] = []
signal.signal(signal.SIGTERM, lambda *_: interrupted.append(True))

begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
for step in range(begin + 1, steps + 1):
    print(f"step {step} of {steps}", flush=True)
    time.sleep(pace)
    if interrupted:
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint.write_text(str(step))
        sys.exit(0)
checkpoint.unlink(missing_ok=True)
print("done", flush=True)
