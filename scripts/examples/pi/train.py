#!/usr/bin/env python3
"""Estimates pi by throwing darts, for about a minute: a resumable program, in the standard library alone.

What makes it so is marked: it begins where it was, and on SIGTERM it writes down where it is and ends. The random
generator is part of that, so an interrupted run ends in the very number of one that was left alone.
"""

import json
import random
import signal
import time
from pathlib import Path

STEPS, DARTS, STEP_S = 240, 10_000, 0.25

told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))  # only a flag: what saves is the loop, between two steps

state, dice = Path("state.json"), random.Random(7)
step, hits = 0, 0
if state.exists():  # it begins where it was
    step, hits, (version, inner, gauss) = json.loads(state.read_text())
    dice.setstate((version, tuple(inner), gauss))

while step < STEPS and not told:
    hits += sum(dice.random() ** 2 + dice.random() ** 2 <= 1 for _ in range(DARTS))
    step += 1
    print(f"step {step}: pi is about {4 * hits / (step * DARTS):.5f}", flush=True)
    time.sleep(STEP_S)

Path("state.new").write_text(json.dumps([step, hits, dice.getstate()]))
Path("state.new").replace(state)  # whole, or as it was before
if step == STEPS:
    Path("result").write_text(f"{4 * hits / (step * DARTS)}\n")
