#!/usr/bin/env python3
"""Writes its checkpoint over the old one, and takes its time: killed meanwhile, it cannot read what it left.

A pickle says nothing about its length, so nobody but the program can see that it is cut short; and it fails for good,
each time that it is started.
"""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path

steps, pace = int(sys.argv[1]) if len(sys.argv) > 1 else 16, float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
checkpoint = Path("checkpoint.pkl")

begin = pickle.loads(checkpoint.read_bytes())["step"] if checkpoint.exists() else 0
for step in range(begin + 1, steps + 1):
    state = pickle.dumps({"weights": b"x" * 100_000, "step": step})
    with checkpoint.open("wb") as file:
        file.write(state[: len(state) // 2])
        file.flush()
        print(f"step {step} of {steps}", flush=True)
        time.sleep(pace)
        file.write(state[len(state) // 2 :])
print("done", flush=True)
