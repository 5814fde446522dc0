#!/usr/bin/env python3
"""Data parallel on two workers: `torchrun --standalone --nproc-per-node 2 train.py`.

torchrun passes SIGTERM on to each worker, kills what is left of them after 30 s (TORCH_ELASTIC_SHUTDOWN_TIMEOUT), and
exits 1 whatever they did. The workers get the signal at different steps, and who stops alone leaves the other waiting
for ever: so with each step they agree whether anybody was told. The first of them saves.
"""

import hashlib
import os
import signal
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler

EPOCHS, BATCH, SAVE_EVERY = 6, 16, 10
PACE = float(os.environ.get("PACE", "0"))  # seconds a step; only so that there is time to interrupt so small a job
CHECKPOINT = Path("checkpoint.pt")

told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))

dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
rank, device = dist.get_rank(), torch.device("cpu")
if torch.cuda.is_available():
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
torch.manual_seed(7)
torch.set_num_threads(1)
data = torch.randn(640, 20)
target = (data[:, :5].sum(1) > 0).long()
model = DistributedDataParallel(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2)).to(device))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
sampler = DistributedSampler(range(len(data)), seed=7)
begin = 0
if CHECKPOINT.exists():
    state = torch.load(CHECKPOINT, map_location="cpu")
    model.module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    begin = state["step"]
    if rank == 0:
        print(f"resumed after step {begin}", flush=True)


def save(step: int) -> None:
    state = {"model": model.module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    unfinished = CHECKPOINT.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(CHECKPOINT)


steps_per_epoch = len(sampler) // BATCH
for step in range(begin, EPOCHS * steps_per_epoch):
    # The order is a function of the epoch, the place in it of the step: nothing of the sampler need be saved.
    sampler.set_epoch(step // steps_per_epoch)
    place = step % steps_per_epoch * BATCH
    batch = list(sampler)[place : place + BATCH]
    loss = nn.functional.cross_entropy(model(data[batch].to(device)), target[batch].to(device))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(PACE)
    anybody_told = torch.tensor(float(bool(told)), device=device)
    dist.all_reduce(anybody_told)
    stop = anybody_told.item() > 0
    if rank == 0:
        print(f"step {step + 1} loss {loss.item():.4f}", flush=True)
        if stop or (step + 1) % SAVE_EVERY == 0:
            save(step + 1)
    if stop:
        break
else:
    if rank == 0:
        weights = b"".join(value.cpu().numpy().tobytes() for value in model.module.state_dict().values())
        print(f"result {hashlib.sha256(weights).hexdigest()}", flush=True)
dist.destroy_process_group()
