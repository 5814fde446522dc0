"""A first run.toml, from what lies in a directory: what to run, what it needs, and what its framework must be told.

Guesses are made where they can be seen: each is one line of the file, with its reason beside it. All that is not known
is there as well, in comments, each field with the reference's own example, so that nobody has to look for it.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spotrelay.core import run_toml, spec

# In this order: what is called so is most often what is run.
PROGRAMS = ("train.sh", "train.py", "main.py", "run.sh", "run.py", "app.py", "src/train.py", "src/main.py")
# Where it is made anew on each machine. Within the directory it would be saved and restored, which takes as long.
_VENV = "/tmp/venv"  # noqa: S108 - of a machine that has one user and one run
_INSTALL = (
    f"python3 -m venv --system-site-packages {_VENV}"
    f" && {_VENV}/bin/pip install -q {{what}} && export PATH={_VENV}/bin:$PATH && exec {{program}}"
)
_NEEDS = {"requirements.txt": "-r requirements.txt", "pyproject.toml": "."}
# By the module that is imported. Each is what must be so for the next machine to go on instead of starting over.
FRAMEWORKS = {
    "lightning": 'trainer.fit(…, ckpt_path="last"), and a ModelCheckpoint(save_last=True) below this directory',
    "pytorch_lightning": 'trainer.fit(…, ckpt_path="last"), and a ModelCheckpoint(save_last=True) below this directory',
    "transformers": "trainer.train(resume_from_checkpoint=…) where output_dir holds a checkpoint-*",
    "accelerate": "accelerator.load_state(…) at the start, accelerator.save_state(…) now and then",
    "torch": "torch.load(…) model, optimizer and step at the start; torch.save(…) them on SIGTERM, and now and then",
    "keras": "a BackupAndRestore callback whose folder lies below this directory",
    "tensorflow": "a CheckpointManager below this directory, and restore_or_initialize() at the start",
    "jax": "orbax: restore the latest step at the start, save on SIGTERM and now and then",
    "sklearn": "fit in steps (partial_fit, warm_start), and keep the estimator below this directory after each",
}
# A program's head: imports stand there, and a generated file of a megabyte need not be read.
_HEAD = 64 << 10


@dataclass(slots=True)
class Draft:
    """`found`: what it is made of, for a person. `text`: the file."""

    command: tuple[str, ...] = ("python3", "train.py")
    found: list[str] = field(default_factory=list)
    framework: str = ""
    guessed: bool = True
    text: str = ""


def draft(directory: Path) -> Draft:
    """Reads a few files of it. Raises OSError for a directory that cannot be read."""
    made = Draft()
    program = _program(directory)
    if program is not None:
        made.found.append(program)
        made.command, made.guessed = _started(program), False
        made.framework = _framework(directory / program)
    for name, what in _NEEDS.items():
        if _installs(directory / name):
            made.found.append(name)
            installed = _INSTALL.format(what=what, program=" ".join(made.command).replace("python3 ", "python "))
            made.command = ("bash", "-c", installed)
            break
    made.text = "\n".join(_lines(made))
    return made


def _program(directory: Path) -> str | None:
    """One of the usual names, or the only one there is."""
    for name in PROGRAMS:
        if (directory / name).is_file():
            return name
    others = sorted(path.name for path in directory.iterdir() if path.suffix == ".py" and path.is_file())
    plain = [name for name in others if re.fullmatch(r"[\w.-]+", name) and name != "setup.py"]
    return plain[0] if len(plain) == 1 else None


def _started(program: str) -> tuple[str, ...]:
    return ("bash", program) if program.endswith(".sh") else ("python3", program)


def _framework(program: Path) -> str:
    try:
        with program.open("rb") as file:
            text = file.read(_HEAD).decode(errors="replace")
    except OSError:
        return ""
    imported = set(re.findall(r"(?m)^\s*(?:import|from)\s+(\w+)", text))
    return next((name for name in FRAMEWORKS if name in imported), "")


def _installs(path: Path) -> bool:
    """A pyproject may merely hold the settings of tools."""
    try:
        if path.name != "pyproject.toml":
            return path.is_file() and bool(path.read_bytes().strip())
        return "project" in tomllib.loads(path.read_text())
    except (OSError, ValueError):
        return False


def _lines(made: Draft) -> Iterator[str]:
    yield "# What a run is. `spotrelay run` reads this file; a flag wins over it, and --print shows what comes of both."
    for table, fields in spec.FIELDS.items():
        yield from ("", f"[{table}]")
        for name, known in fields.items():
            yield from textwrap.wrap(known.help, 110, initial_indent="# ", subsequent_indent="# ")
            if (table, name) == ("run", "command"):
                yield from _command(made)
            else:
                yield f"# {known.example}"
    yield ""


def _command(made: Draft) -> Iterator[str]:
    if made.guessed:
        yield "# Nothing here looked like what is run: say it."
    if made.command[:2] == ("bash", "-c"):
        yield f"# Each machine installs {made.found[-1]} first. If that takes minutes, bake an image that has it."
    if made.framework:
        yield f"# {made.framework} goes on where it was with {FRAMEWORKS[made.framework]}."
    yield f"command = {run_toml.value(list(made.command))}"
