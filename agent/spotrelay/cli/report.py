"""What a rehearsal found: the document behind `--json`, stable, and the same for the terminal.

`version` grows when a field changes its meaning or goes; fields may be added. Seconds are wall time on this computer,
bytes are bytes, times are unix seconds. None (null) means: not known, or does not apply.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

VERSION = 1


@dataclass(slots=True)
class AttemptReport:
    """`ended_by`: notice, sudden death, or itself. `end`: "exit code 0", "SIGKILL"; `meaning`: in words. `clean`: it
    ended after our signal with a code that counts as clean. `reacted`: it ended by itself after the signal.
    `oom_kills`: how many processes of it the kernel killed for want of memory.
    `unfinished`: checkpoints that its predecessor had been writing, and what became of them. `signs`: what its output
    complains of (traces.py).
    `changed`: it left its directory other than it had found it. `continued`: it went on from what its predecessor had
    done, False: it started over. `first` and `last`: the counter in its output, of which `output_tail` has the end."""

    number: int
    instance: str
    instance_type: str = ""
    zone: str = ""
    market: str = ""
    ended_by: str | None = None
    end: str | None = None
    exit_code: int | None = None
    meaning: str = ""
    clean: bool | None = None
    reacted: bool | None = None
    term_to_exit_s: float | None = None
    notice_to_term_s: float | None = None
    save_s: float | None = None
    saved_bytes: int | None = None
    oom_kills: int = 0
    restored_bytes: int | None = None
    snapshot: str | None = None
    unfinished: list[str] = field(default_factory=list)
    signs: list[str] = field(default_factory=list)
    changed: bool | None = None
    continued: bool | None = None
    first: float | None = None
    last: float | None = None
    seconds: float | None = None
    output_tail: list[str] = field(default_factory=list)


@dataclass(slots=True)
class OutsideWriteReport:
    path: str
    kind: str
    bytes: int
    attempts: list[int]


@dataclass(slots=True)
class OutcomeReport:
    result: str
    exit_code: int | None
    message: str


@dataclass(slots=True)
class Interruptions:
    """How many were planned, and how many took place before the command ended."""

    planned: int
    held: int


@dataclass(slots=True)
class SaveReport:
    """The largest save at a notice, on a named instance type's baseline network; `needed_s` with the command's own
    share and the reserve, to be held against `notice_s`."""

    bytes: int
    instance_type: str
    upload_s: float
    needed_s: float
    notice_s: float
    fits: bool


@dataclass(slots=True)
class Report:
    """`isolation`: full, or why machines had no disks of their own (then `outside_writes` is None). `framework`: which
    was seen at work, if any. `checkpoints`: files that look like one, in what an interrupted attempt left."""

    command: list[str]
    directory: str
    isolation: str
    ok: bool = False
    verdict: str = ""
    exit_code: int | None = None
    explanation: str = ""
    advice: list[str] = field(default_factory=list)
    attempts: list[AttemptReport] = field(default_factory=list)
    outside_writes: list[OutsideWriteReport] | None = None
    framework: str = ""
    checkpoints: list[str] = field(default_factory=list)
    outcome: OutcomeReport | None = None
    save: SaveReport | None = None
    interruptions: Interruptions = field(default_factory=lambda: Interruptions(0, 0))
    seconds: float = 0.0
    version: int = VERSION

    def document(self) -> dict[str, Any]:
        return asdict(self)
