#!/usr/bin/env python3
"""Ends politely, with exit code 0, when it is interrupted, and starts over each time: it saved nothing.

The commonest fault, and the one that looks best from outside: only its output shows it (`--progress 'step (\\d+)'`).
"""

from __future__ import annotations

import signal
import sys
import time

steps, pace = int(sys.argv[1]) if len(sys.argv) > 1 else 16, float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

for step in range(1, steps + 1):
    print(f"step {step} of {steps}", flush=True)
    time.sleep(pace)
print("done", flush=True)
