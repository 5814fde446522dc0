#!/usr/bin/env python3
"""Does not react to SIGTERM at all, so it is killed when its seconds are over; it continues all the same.

It saves every step, so little is lost. But it is killed at a moment it did not choose, and the seconds in which a
larger checkpoint could have been saved went by unused.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

steps, pace = int(sys.argv[1]) if len(sys.argv) > 1 else 16, float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
signal.signal(signal.SIGTERM, signal.SIG_IGN)

checkpoint, unfinished = Path("checkpoint"), Path("checkpoint.unfinished")
begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
for step in range(begin + 1, steps + 1):
    print(f"step {step} of {steps}", flush=True)
    time.sleep(pace)
    unfinished.write_text(str(step))
    unfinished.replace(checkpoint)
print("done", flush=True)
