#!/usr/bin/env python3
"""PyTorch Lightning with its own checkpoints and its own resume: three lines of it are about interruptions.

1. `OnExceptionCheckpoint` saves when SIGTERM has ended the step (Lightning raises SIGTERMException between two steps).
2. `ModelCheckpoint(save_last=True)` saves now and then: a machine can die without a word.
3. `fit(ckpt_path="last")` takes the newest of these, and begins anew where there is none. Lightning moves a checkpoint
   into its place, which is a copy where /tmp is another file system; one that was being written when the machine died
   is set aside by the agent before this starts, and what was there before is put back.

Lightning keeps model, optimizer, scheduler and loops; not the order of the samples, nor the random generators. So here
both are functions of the step, and no state of theirs need be kept.
"""

import hashlib
import os
import time
from collections.abc import Iterator

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

BATCH = 32
PACE = float(os.environ.get("PACE", "0"))  # seconds a step; only so that there is time to interrupt so small a job


class Order(Sampler[int]):
    """Another one each epoch, from where the module's step is in it: on resumption that is in the midst of one."""

    def __init__(self, samples: int, module: lightning.LightningModule) -> None:
        self.samples, self.module = samples, module

    def __iter__(self) -> Iterator[int]:
        epoch, step = divmod(self.module.global_step, self.samples // BATCH)
        order = torch.randperm(self.samples, generator=torch.Generator().manual_seed(epoch))
        return iter(order[step * BATCH :].tolist())

    def __len__(self) -> int:
        return self.samples


class Classifier(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 2))

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        torch.manual_seed(self.global_step)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        time.sleep(PACE)
        print(f"step {self.global_step} loss {loss.item():.4f}", flush=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def main() -> None:
    lightning.seed_everything(7)
    torch.set_num_threads(1)
    x = torch.randn(640, 20)
    data = TensorDataset(x, (x[:, :5].sum(1) > 0).long())
    model = Classifier()
    loader = DataLoader(data, BATCH, sampler=Order(len(data), model), drop_last=True)
    trainer = lightning.Trainer(
        max_epochs=6,
        deterministic=True,
        logger=False,
        enable_progress_bar=False,
        callbacks=[
            ModelCheckpoint("checkpoints", every_n_train_steps=10, save_last=True),
            OnExceptionCheckpoint("checkpoints", filename="interrupted"),
        ],
    )
    trainer.fit(model, loader, ckpt_path="last")
    weights = b"".join(value.cpu().numpy().tobytes() for value in model.state_dict().values())
    print(f"result {hashlib.sha256(weights).hexdigest()}", flush=True)


if __name__ == "__main__":
    main()
