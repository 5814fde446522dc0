#!/usr/bin/env python3
"""A hyper-parameter search over 20,000 trials, each of which leaves one small file: what is there is not done again.

Nothing is caught: SIGTERM ends it between two instructions, and at most one trial is repeated. A trial's file appears
whole or not at all, and its random numbers come from its number, so every order and every interruption ends the same.
"""

import hashlib
import json
import math
import os
import random
import time
from pathlib import Path

TRIALS = int(os.environ.get("TRIALS", "20000"))
PACE = float(os.environ.get("PACE", "0"))  # seconds a trial; only so that there is time to interrupt so small a job
RESULTS = Path("trials")


def loss(rate: float, momentum: float) -> float:
    """Of a stiff quadratic after a few steps of gradient descent with momentum."""
    x, velocity = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    for _ in range(25):
        for i, steepness in enumerate((0.5, 4.0, 20.0)):
            velocity[i] = momentum * velocity[i] - rate * steepness * x[i]
            x[i] += velocity[i]
    return min(sum(value * value for value in x), 1e9)


def run(trial: int, file: Path) -> None:
    chance = random.Random(trial)
    rate, momentum = 10 ** chance.uniform(-4, 0), chance.uniform(0, 1)
    result = {"rate": rate, "momentum": momentum, "loss": loss(rate, momentum)}
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(result))
    unfinished.replace(file)
    time.sleep(PACE)


for trial in range(TRIALS):
    file = RESULTS / f"{trial // 1000:02}" / f"{trial:05}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        run(trial, file)
        if trial % 50 == 0:
            print(f"trial {trial} of {TRIALS}", flush=True)

results = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*/*.json"))]
best = min(results, key=lambda result: result["loss"])
print(f"best of {len(results)}: {best}, 10^{math.log10(best['loss']):.1f}")
print(f"result {hashlib.sha256(json.dumps(results).encode()).hexdigest()}", flush=True)
