#!/usr/bin/env python3
"""Hugging Face's Trainer on a tiny GPT-2 made from a config: nothing is downloaded.

1. `Told`: on SIGTERM the Trainer saves at the end of the step and stops. Its own `enable_jit_checkpoint` may save in
   the middle of one (5.24), after the pass that uses random numbers and before the update: what goes on from there is
   as good a model, and another one.
2. `save_steps` saves now and then: a machine can die without a word.
3. `resume_from_checkpoint` takes model, optimizer, scheduler and random state, and passes over the samples that were
   seen. `get_last_checkpoint` takes the newest folder, whole or not; one that was being written when the machine died
   is set aside by the agent before this starts.
"""

import hashlib
import os
import signal
import time
from pathlib import Path

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

PACE = float(os.environ.get("PACE", "0"))  # seconds a step; only so that there is time to interrupt so small a job
CHECKPOINTS = "checkpoints"


class Progress(TrainerCallback):
    def on_step_end(self, args: object, state: object, control: object, **_: object) -> None:
        print(f"step {state.global_step} of {state.max_steps}", flush=True)
        time.sleep(PACE)


class Told(TrainerCallback):
    def __init__(self) -> None:
        self.told = False
        signal.signal(signal.SIGTERM, self.hear)

    def hear(self, number: int, frame: object) -> None:
        self.told = True

    def on_step_end(self, args: object, state: object, control: TrainerControl, **_: object) -> None:
        if self.told:
            control.should_save = control.should_training_stop = True


def main() -> None:
    Path(CHECKPOINTS).mkdir(exist_ok=True)
    set_seed(7)
    torch.set_num_threads(1)
    tokens = (torch.arange(24) * torch.randint(1, 50, (400, 1)) + torch.randint(0, 50, (400, 1))) % 64
    model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=24, n_embd=48, n_layer=2, n_head=2))
    arguments = TrainingArguments(
        CHECKPOINTS,
        num_train_epochs=2,
        per_device_train_batch_size=8,
        save_steps=20,
        save_total_limit=3,
        disable_tqdm=True,
        logging_steps=20,
        report_to="none",
        seed=7,
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=[{"input_ids": row, "labels": row} for row in tokens],
        callbacks=[Progress(), Told()],
    )
    done = trainer.train(resume_from_checkpoint=get_last_checkpoint(CHECKPOINTS))
    if done.global_step < trainer.state.max_steps:
        return  # interrupted, and saved
    weights = b"".join(value.cpu().numpy().tobytes() for value in model.state_dict().values())
    print(f"result {hashlib.sha256(weights).hexdigest()}", flush=True)


if __name__ == "__main__":
    main()
