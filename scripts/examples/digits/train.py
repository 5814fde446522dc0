#!/usr/bin/env python3
"""Trains a small network on scikit-learn's bundled digits: a training job that a spot instance may interrupt.

What makes it resumable, each a few lines below:

1. SIGTERM only sets a flag; the loop looks at it between two steps, saves, and exits 0. Nothing is saved from within
   the signal handler, where the weights may be half updated.
2. A checkpoint holds *everything* that the next step depends on: weights, velocity, the order of this epoch's samples,
   the position in it, and the state of the random generator. So an interrupted run ends in the very same weights.
3. A checkpoint is written beside the old one, flushed to disk, and renamed over it. Whoever dies in between leaves the
   old one whole.
4. It also saves now and then without being asked: a machine can die without a word.
5. It looks for a checkpoint in its own working directory before it starts over. The first start and a resumption are
   the same command.

    python train.py                       about half a minute
    python train.py --pace 0              as fast as it goes; the numbers are the same
"""

from __future__ import annotations

import os

# One thread: sums in another order are other sums. Read once, when NumPy is imported.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import hashlib
import itertools
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

Arrays = dict[str, np.ndarray]

LAYERS = (64, 96, 48, 10)
BATCH = 64
HELD_OUT = 297  # of 1,797 samples, for the accuracy
RATE, MOMENTUM, NOISE = 0.02, 0.9, 0.1


@dataclass
class Training:
    """All that the next step depends on."""

    rng: np.random.Generator
    weights: Arrays
    velocity: Arrays
    epoch: int = 0
    position: int = 0  # of the next sample in this epoch's order
    step: int = 0
    order: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))  # of the samples, this epoch

    @classmethod
    def begin(cls, seed: int, samples: int) -> Training:
        rng = np.random.default_rng(seed)
        weights: Arrays = {}
        for layer, (wide, narrow) in enumerate(itertools.pairwise(LAYERS)):
            weights[f"w{layer}"] = rng.standard_normal((wide, narrow)) * np.sqrt(2 / wide)
            weights[f"b{layer}"] = np.zeros(narrow)
        velocity = {name: np.zeros_like(array) for name, array in weights.items()}
        return cls(rng, weights, velocity, order=rng.permutation(samples))

    def advance(self) -> bool:
        """Moves on by one batch; True when that was the last of its epoch.

        The next order is drawn at once: were it drawn before the next batch, a checkpoint taken in between could not
        tell whether it had been.
        """
        self.step += 1
        self.position += BATCH
        if self.position < len(self.order):
            return False
        self.epoch, self.position = self.epoch + 1, 0
        self.order = self.rng.permutation(len(self.order))
        return True

    def save(self, path: Path) -> None:
        place = {"epoch": self.epoch, "position": self.position, "step": self.step}
        state = json.dumps({**place, "rng": self.rng.bit_generator.state})
        velocity = {f"velocity_{name}": array for name, array in self.velocity.items()}
        write_whole(path, {"state": np.array(state), "order": self.order, **self.weights, **velocity})

    @classmethod
    def load(cls, path: Path) -> Training:
        with np.load(path) as saved:
            state = json.loads(str(saved["state"]))
            rng = np.random.default_rng()
            rng.bit_generator.state = state.pop("rng")
            names = [name for name in saved.files if name[0] in "wb"]
            weights = {name: saved[name] for name in names}
            velocity = {name: saved[f"velocity_{name}"] for name in names}
            return cls(rng, weights, velocity, order=saved["order"], **state)


def write_whole(path: Path, arrays: Arrays) -> None:
    """Replaces `path` at once: a reader, or a machine that dies, finds the old file or the new one."""
    unfinished = path.with_name(path.name + ".unfinished")
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def forward(weights: Arrays, x: np.ndarray) -> list[np.ndarray]:
    """The activations of every layer, the input first; the last are the classes' probabilities."""
    activations = [x]
    for layer in range(len(LAYERS) - 1):
        x = activations[-1] @ weights[f"w{layer}"] + weights[f"b{layer}"]
        activations.append(np.maximum(x, 0))
    odds = np.exp(x - x.max(axis=1, keepdims=True))
    activations[-1] = odds / odds.sum(axis=1, keepdims=True)
    return activations


def take_step(training: Training, x: np.ndarray, y: np.ndarray) -> float:
    """One step of gradient descent with momentum on one batch; returns its loss."""
    x = x + NOISE * training.rng.standard_normal(x.shape)
    activations = forward(training.weights, x)
    correct = np.arange(len(y)), y
    loss = -float(np.log(activations[-1][correct] + 1e-12).mean())
    gradient = activations[-1].copy()
    gradient[correct] -= 1
    gradient /= len(y)
    for layer in reversed(range(len(LAYERS) - 1)):
        slopes = {f"w{layer}": activations[layer].T @ gradient, f"b{layer}": gradient.sum(axis=0)}
        gradient = (gradient @ training.weights[f"w{layer}"].T) * (activations[layer] > 0)
        for name, slope in slopes.items():
            training.velocity[name] = MOMENTUM * training.velocity[name] - RATE * slope
            training.weights[name] += training.velocity[name]
    return loss


def accuracy(weights: Arrays, x: np.ndarray, y: np.ndarray) -> float:
    return float((forward(weights, x)[-1].argmax(axis=1) == y).mean())


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train on the digits; interrupt me, and start me again.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--pace", type=float, default=0.5, metavar="SECONDS", help="at least so long for an epoch")
    parser.add_argument("--save-every", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="for the checkpoint and the weights")
    return parser.parse_args()


def main() -> int:
    interrupted = False

    def on_term(*_: object) -> None:
        nonlocal interrupted
        interrupted = True

    signal.signal(signal.SIGTERM, on_term)

    options = parse_arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / "checkpoint.npz"
    x, y = load_digits(return_X_y=True)
    x, test_x, y, test_y = x[:-HELD_OUT] / 16, x[-HELD_OUT:] / 16, y[:-HELD_OUT], y[-HELD_OUT:]

    if checkpoint.exists():
        training = Training.load(checkpoint)
        print(f"resumed at epoch {training.epoch} step {training.step}", flush=True)
    else:
        training = Training.begin(options.seed, len(x))

    saved_at = time.monotonic()
    while training.epoch < options.epochs:
        if interrupted or time.monotonic() - saved_at >= options.save_every:
            training.save(checkpoint)
            saved_at = time.monotonic()
        if interrupted:
            print(f"interrupted: saved epoch {training.epoch} step {training.step}", flush=True)
            return 0
        batch = training.order[training.position : training.position + BATCH]
        loss = take_step(training, x[batch], y[batch])
        if training.advance():
            acc = accuracy(training.weights, test_x, test_y)
            print(f"epoch {training.epoch} step {training.step} loss {loss:.4f} acc {acc:.3f}", flush=True)
        time.sleep(options.pace * BATCH / len(x))

    weights = options.out / "weights.npz"
    write_whole(weights, training.weights)
    checkpoint.unlink(missing_ok=True)
    print(f"done: {weights.name} sha256 {hashlib.sha256(weights.read_bytes()).hexdigest()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
