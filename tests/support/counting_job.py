"""A job whose result tells whether it was relayed well. It lies in the run's directory and starts in milliseconds.

    counting_job.py SHARED STEPS [KIND]

It counts to STEPS and hashes each number into a chain; counter and chain are one small file, replaced now and then and
at SIGTERM. `result` is the chain's end: a lost or doubled step gives another one. SHARED is outside of the machine:

    SHARED/lock         held as long as it runs; found taken, it writes `overlap`: two owners at one time
    SHARED/journal      "<attempt> <what> <counter>", a line for each start and each end
    SHARED/ready-<n>    attempt n has come to its middle, and reacts to SIGTERM
    SHARED/told-<n>     attempt n got SIGTERM

KIND: `holds` waits in its middle for SIGTERM, in the first attempt, `holds-twice` and `holds-thrice` in as many more,
`holds-always` in each; so does `stubborn` in the first, and does not hear it; so does `slow-to-save`, and ends when
SHARED/may-save is there; so does `unclean`, and exits 4; so does `restarted`, until SHARED/may-go-on is there. `weighs`
waits too, and what it leaves there and at SIGTERM weighs WEIGHT bytes of noise more; so it does, while it waits, each
time that it finds SHARED/again and removes it. `fails` exits 3 in its middle, `fails-once` as long as the directory
does not know of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

STEP_S = 0.005
CHECKPOINT_EVERY = 10
# More than what tells how fast the wire to the store is (line.LEAST_BYTES).
WEIGHT = 9 << 20
# The attempts in which a job of this kind goes no further than its middle.
HOLDS = {"holds-twice": 2, "holds-thrice": 3, "holds-always": 1_000}
HOLDS |= dict.fromkeys(("holds", "stubborn", "slow-to-save", "unclean", "restarted", "weighs"), 1)


def chain(counter: int, chained: str) -> str:
    return hashlib.sha256(f"{chained}{counter}".encode()).hexdigest()


def result(steps: int) -> str:
    """What an uninterrupted count comes to."""
    chained = ""
    for counter in range(1, steps + 1):
        chained = chain(counter, chained)
    return chained


class Job:
    def __init__(self, shared: Path, steps: int, kind: str) -> None:
        self._shared, self._steps, self._kind = shared, steps, kind
        self._attempt = int(os.environ["SPOTRELAY_ATTEMPT"])
        self._counter, self._chain = json.loads(_read("state") or '[0, ""]')
        self._told = False

    def main(self) -> int:
        signal.signal(signal.SIGTERM, self._on_term)
        with (self._shared / "lock").open("w") as lock:
            self._own(lock.fileno())
            self._write("start")
            code = self._count()
            self._write(f"exit-{code}")
        return code

    def _own(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (self._shared / "overlap").write_text(str(self._attempt))

    def _on_term(self, *_: object) -> None:
        (self._shared / f"told-{self._attempt}").touch()
        self._told = self._kind != "stubborn" or self._attempt > 1

    def _count(self) -> int:
        while self._counter < self._steps:
            if self._counter == self._steps // 2 and not self._told and (code := self._middle()):
                return code
            if self._told:
                return self._saved()
            time.sleep(STEP_S)
            self._counter += 1
            self._chain = chain(self._counter, self._chain)
            if self._counter % CHECKPOINT_EVERY == 0:
                self._checkpoint()
                print("step", self._counter, flush=True)  # noqa: T201
        self._checkpoint()
        Path("result").write_text(self._chain)
        return 0

    def _saved(self) -> int:
        while self._kind == "slow-to-save" and not (self._shared / "may-save").exists():
            time.sleep(STEP_S)
        self._weigh()
        self._checkpoint()
        return 4 if self._kind == "unclean" else 0

    def _middle(self) -> int:
        self._weigh()
        self._checkpoint()
        (self._shared / f"ready-{self._attempt}").touch()
        if self._kind == "fails" or (self._kind == "fails-once" and not _read("failed")):
            Path("failed").write_text("once")
            return 3
        while not self._told and self._attempt <= HOLDS.get(self._kind, 0):
            if self._kind == "restarted" and (self._shared / "may-go-on").exists():
                break
            if (self._shared / "again").exists():
                (self._shared / "again").unlink()
                self._weigh()
            time.sleep(STEP_S)
        return 0

    def _weigh(self) -> None:
        if self._kind == "weighs" and self._attempt == 1:
            Path("weights.new").write_bytes(os.urandom(WEIGHT))
            Path("weights.new").replace("weights")

    def _checkpoint(self) -> None:
        Path("state.new").write_text(json.dumps([self._counter, self._chain]))
        Path("state.new").replace("state")

    def _write(self, what: str) -> None:
        with (self._shared / "journal").open("a") as journal:
            journal.write(f"{self._attempt} {what} {self._counter}\n")


def _read(name: str) -> str:
    return Path(name).read_text() if Path(name).exists() else ""


if __name__ == "__main__":
    sys.exit(Job(Path(sys.argv[1]), int(sys.argv[2]), *(sys.argv[3:] or [""])).main())
