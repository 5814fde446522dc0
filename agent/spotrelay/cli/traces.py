"""Which framework was at work, where its checkpoints are, and what it complained of: read off what really happened.

Not off the script, which may do anything: off lines that were printed and files that were left. Each sign is a text of
the library itself, as of the versions in scripts/examples/requirements.txt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from spotrelay.core import frameworks

LIGHTNING, TRANSFORMERS, TORCHRUN, TORCH = "Lightning", "Transformers", "torchrun", "PyTorch"
BROKEN, WORKER, KILLED_WORKERS = "broken checkpoint", "worker died", "workers killed"

_SAID = {
    LIGHTNING: re.compile(r"`Trainer\.(?:fit|validate)`|lightning[./]pytorch|HPU available: |Lightning automatically"),
    # {'loss': …, 'epoch': …} of its progress, {'train_runtime': …} of its end; the state's name in its errors.
    TRANSFORMERS: re.compile(r"\{'(?:loss|train_runtime)': .*'epoch': |transformers[./]trainer"),
    TORCHRUN: re.compile(r"torch[./]distributed[./]elastic"),
    TORCH: re.compile(r"[/.]torch[/.](?:nn|utils|optim|serialization|_C)\b"),
}
_LEFT = {
    LIGHTNING: re.compile(r"(?:^|/)lightning_logs/|\.ckpt$"),
    TRANSFORMERS: re.compile(r"(?:^|/)checkpoint-\d+/(?:trainer_state\.json|training_args\.bin)$"),
    TORCH: re.compile(r"\.(?:pt|pth)$"),
}
_CHECKPOINT = re.compile(r"\.(?:ckpt|pt|pth|safetensors|npz|keras|h5|distcp)$|checkpoint[^/]*$", re.IGNORECASE)
_SIGNS = {
    BROKEN: re.compile(
        r"PytorchStreamReader failed|failed finding central directory|BadZipFile|UnpicklingError|SafetensorError"
        r"|EOFError|JSONDecodeError"
    ),
    WORKER: re.compile(r"DataLoader worker \(pid\(?s?\)? [\d, ]+\) (?:exited unexpectedly|is killed by signal)"),
    KILLED_WORKERS: re.compile(r"Unable to shutdown process \d+ via .*forcefully exiting"),
}


def framework(command: Sequence[str], texts: Iterable[str], paths: Sequence[str]) -> str:
    """Its name for people; empty: none that we know."""
    known = frameworks.recognise(command)
    if known is not None and known.name == "torchrun":
        return TORCHRUN
    texts = list(texts)
    for name in (TRANSFORMERS, LIGHTNING, TORCHRUN, TORCH):
        if any(_SAID[name].search(text) for text in texts):
            return name
        if name in _LEFT and any(_LEFT[name].search(path) for path in paths):
            return name
    return ""


def checkpoints(paths: Iterable[str]) -> list[str]:
    """Those that look like one."""
    return sorted(path for path in paths if _CHECKPOINT.search(path))


def signs(text: str) -> list[str]:
    """What it complained of."""
    return [sign for sign, said in _SIGNS.items() if said.search(text)]
