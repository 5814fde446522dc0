#!/usr/bin/env python3
"""A plain PyTorch loop that may be interrupted between any two steps, and ends in the very same weights.

A checkpoint holds all that the next step depends on: model, optimizer, scheduler, where in which epoch's order of the
samples it is, and the state of every random generator. It is written beside the old one and renamed over it.
"""

import hashlib
import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

EPOCHS, BATCH, SAVE_EVERY = 6, 32, 10
PACE = float(os.environ.get("PACE", "0"))  # seconds a step; only so that there is time to interrupt so small a job
CHECKPOINT = Path("checkpoint.pt")

told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))  # the loop looks at it, where everything is whole

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(7)
torch.set_num_threads(1)  # sums in another order are other sums
torch.use_deterministic_algorithms(True)
data = torch.randn(640, 20, device=device)
target = (data[:, :5].sum(1) > 0).long()
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 2)).to(device)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * len(data) // BATCH)
epoch, position, order = 0, 0, torch.randperm(len(data))


def save() -> None:
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "sampler": (epoch, position, order),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all(),
    }
    unfinished = CHECKPOINT.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(CHECKPOINT)


if CHECKPOINT.exists():
    state = torch.load(CHECKPOINT, map_location="cpu")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])
    epoch, position, order = state["sampler"]
    torch.set_rng_state(state["rng"])
    torch.cuda.set_rng_state_all(state["cuda_rng"])
    print(f"resumed at epoch {epoch}, sample {position}", flush=True)

while epoch < EPOCHS:
    batch = order[position : position + BATCH]
    loss = nn.functional.cross_entropy(model(data[batch]), target[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    time.sleep(PACE)
    position += BATCH
    if position >= len(data):
        epoch, position, order = epoch + 1, 0, torch.randperm(len(data))
    step = scheduler.last_epoch
    print(f"step {step} loss {loss.item():.4f}", flush=True)
    if told or step % SAVE_EVERY == 0:
        save()
    if told:
        raise SystemExit(0)

weights = b"".join(value.cpu().numpy().tobytes() for value in model.state_dict().values())
print(f"result {hashlib.sha256(weights).hexdigest()}", flush=True)
