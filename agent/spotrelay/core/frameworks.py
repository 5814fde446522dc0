"""What is known of launchers that a command may begin with, and only where it changes what is right.

Most frameworks need nothing of this: Lightning and Transformers save on SIGTERM and exit, and whatever ends after the
signal counts as interrupted. A row is here for what would go wrong without it, has the source of its fact (as of the
versions in scripts/examples/requirements.txt), and a test with the real program (tests/examples/test_launchers.py).

A person's word goes first: [interrupt] clean_exit_codes replaces a row's codes, [run] env its environment.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Framework:
    """`programs`, `modules`: how it is called, `torchrun …` or `python -m torch.distributed.run …`.

    `clean_exit_codes`: with what it ends after the signal although its program saved. `environment`: what gives the
    program the time that there is. `forwards`: False: it waits for the program and passes no signal on, so the signal
    goes through it, as through a shell. `fact`: what was found, and where.
    """

    name: str
    programs: frozenset[str]
    modules: frozenset[str] = frozenset()
    clean_exit_codes: tuple[int, ...] = (0,)
    environment: Mapping[str, str] = field(default_factory=dict)
    forwards: bool = True
    fact: str = ""


FRAMEWORKS = (
    Framework(
        "torchrun",
        frozenset({"torchrun"}),
        frozenset({"torch.distributed.run", "torch.distributed.launch"}),
        clean_exit_codes=(0, 1),
        # Not more than there is: two minutes, less the save's least share. Ours ends before that if it must.
        environment={"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "110"},
        fact="passes SIGTERM on to its workers, kills what is left of them after 30 s, and exits 1 whatever they did "
        "(torch 2.13: elastic/agent/server/api.py run, elastic/multiprocessing/api.py _close, launcher/api.py)",
    ),
    Framework(
        "accelerate",
        frozenset({"accelerate", "accelerate-launch"}),
        frozenset({"accelerate.commands.launch"}),
        clean_exit_codes=(0, 1),
        environment={"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "110"},
        forwards=False,
        fact="with one process it starts the program, waits, and dies of SIGTERM alone; with several it is torchrun "
        "(accelerate 1.15: commands/launch.py simple_launcher, multi_gpu_launcher)",
    ),
)


def recognise(command: Sequence[str]) -> Framework | None:
    """By the words before the program's own script: `env A=b torchrun …`, `sh -c "cd x && torchrun …"`, too."""
    for word in _words(command):
        if word.endswith(".py"):
            return None
        for framework in FRAMEWORKS:
            if word.rpartition("/")[2] in framework.programs or word in framework.modules:
                return framework
    return None


def _words(command: Sequence[str]) -> list[str]:
    words: list[str] = []
    for word in command:
        try:
            words += shlex.split(word)
        except ValueError:  # a quote that is not closed: a program's own language
            words.append(word)
    return words
