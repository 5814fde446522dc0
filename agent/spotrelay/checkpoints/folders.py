"""What is unfinished in a directory: files, and folders that are one checkpoint.

    Transformers    Trainer._save_checkpoint (5.24) writes `checkpoint-<step>` file by file, trainer_state.json last;
                    get_last_checkpoint takes the highest step, whatever is in it. A checkpoint made on SIGTERM has
                    checkpoint-is-incomplete.txt in it as long as it is being written (trainer_jit_checkpoint.py).
    PyTorch         torch.distributed.checkpoint writes `*.distcp`, then `.metadata` (filesystem.py, finish)

Accelerate and diffusers write folders of the first name without trainer_state.json: so a folder is held to the
Trainer's rule only if it, or one beside it, shows that it is the Trainer's. Where a file of a checkpoint's folder is
unfinished, the folder is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spotrelay.checkpoints import formats

# What was set aside lies here, below the execution directory.
ASIDE = ".spotrelay-unfinished"
_OF_TRAINER = re.compile(r"checkpoint-\d+")
_STATE, _BEING_WRITTEN, _ARGUMENTS = "trainer_state.json", "checkpoint-is-incomplete.txt", "training_args.bin"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """`path`: below the directory. `why`: what shows it."""

    path: Path
    why: str
    is_folder: bool = False


def find(directory: Path) -> list[Unfinished]:
    """Everything below `directory` that can be seen to be unfinished. What cannot be read is passed over."""
    found: list[Unfinished] = []
    for place, folders, files in os.walk(directory):
        here = Path(place)
        folders[:] = [name for name in folders if name != ASIDE or here != directory]
        of_trainer = [name for name in folders if _OF_TRAINER.fullmatch(name)]
        is_trainers = any((here / name / _STATE).exists() for name in of_trainer)
        for name in of_trainer:
            if why := _trainer(here / name, is_trainers):
                found.append(Unfinished((here / name).relative_to(directory), why, is_folder=True))
                folders.remove(name)
        if any(name.endswith(".distcp") for name in files) and ".metadata" not in files and here != directory:
            why = ".metadata, which is written last, is missing"
            found.append(Unfinished(here.relative_to(directory), why, is_folder=True))
            folders.clear()
            continue
        found += _files(here, files, directory)
    return found


def _files(here: Path, names: list[str], directory: Path) -> Iterator[Unfinished]:
    for name in names:
        path = here / name
        if why := _fault(path):
            yield Unfinished(path.relative_to(directory), why)


def _trainer(folder: Path, is_trainers: bool) -> str:
    names = set(os.listdir(folder))  # noqa: PTH208 - names
    if _BEING_WRITTEN in names:
        return f"{_BEING_WRITTEN} is in it"
    if not (is_trainers or _ARGUMENTS in names or _STATE in names):
        return ""
    if _STATE not in names:
        return f"{_STATE}, which is written last, is missing"
    try:
        json.loads((folder / _STATE).read_bytes())
    except ValueError:
        return f"{_STATE}, which is written last, is cut short"
    except OSError:
        return ""
    return next((f"{name}: {why}" for name in sorted(names) if (why := _fault(folder / name))), "")


def _fault(path: Path) -> str:
    try:
        return "" if path.is_symlink() or not path.is_file() else formats.fault(path)
    except OSError:
        return ""
