"""Names of objects in the store, and nowhere else.

    runs/<run>/run.json                       the spec, create-only; only a resume by a person replaces it
    runs/<run>/begun.json                     create-only: who is at beginning it; gone once the bell has rung
    runs/<run>/attempts/<n>/claim.json        create-only: which instance owns attempt n
    runs/<run>/attempts/<n>/base.json         create-only: the snapshot attempt n began from; fixed after the claim
    runs/<run>/attempts/<n>/status.json       heartbeat, replaced
    runs/<run>/attempts/<n>/handover.json     create-only: how attempt n ended, and the snapshot it leaves
    runs/<run>/attempts/<n>/log/<k>           the command's output, in segments
    runs/<run>/snapshots/<n>-<k>.json.zst     manifest, create-only; attempt 0 is the laptop's first snapshot
    runs/<run>/packs/<hash>                   content, named by its hash
    runs/<run>/outcome.json                   create-only; a resume by a person takes it away
    runs/<run>/outcomes/<n>-<ms>              those that it took away: after attempt n, at that time
    runs/<run>/attempts/<n>/death.json        create-only: EC2 says that the machine of attempt n is dead
    runs/<run>/attempts/<n>/ledger.json       create-only: what the run has used up through attempt n
    runs/<run>/hunt.json                      why the run waits for a machine, replaced
    runs/<run>/cancel                         a person, or a limit, said stop
    runs/<run>/told/<n>-<event>.json          create-only: a person is being told of it; replaced once that is done
    runs/<run>/artifacts/...                  after the end: the directory as plain objects
    launches/<run>/<n>-<step>.json            create-only: attempt n's seat in a fleet, for one step of its hunt
    launches/<run>/<n>-<step>.answer.json     create-only: what came of it
    fleets/<id>.json                          create-only: one CreateFleet call that will be made, for all its members
    instances/<instance-id>.json              create-only: the assignment to (run, attempt)
    open/<run>                                the run may need somebody; made before run.json, gone after the outcome
    pools/<note>/<slot>/<type>@<zone>         create-only: what was learned of a pool in that stretch of time
    prices/<region>/<type>.json               what an hour of the type costs on demand
    launcher/<sha256>.zip                     the launcher's code

Numbers in names are padded so that a listing sorts as the numbers do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# A run's name is part of object names, tags and paths: one lower-case DNS-like label. 40 characters fit on a line.
RUN_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
INSTANCE_ID = re.compile(r"i-[0-9a-f]{8,17}")
FLEET_ID = re.compile(r"f-[0-9a-f]{20}")
_MANIFEST = re.compile(r".*/(\d{5})-(\d{7})\.json\.zst", re.ASCII | re.DOTALL)
PACK_NAME = re.compile(r"[0-9a-f]{64}")
RUNS = "runs/"
LAST_ATTEMPT = 99_999
LAST_SNAPSHOT = 9_999_999


@dataclass(frozen=True, slots=True, order=True)
class SnapshotId:
    """Snapshot `number` (from 0) of attempt `attempt` (0: the first, before any attempt). Orders as they were made."""

    attempt: int
    number: int

    def __str__(self) -> str:
        return f"{self.attempt}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> SnapshotId:
        """Raises ValueError."""
        match = re.fullmatch(r"(\d{1,5})-(\d{1,7})", text, re.ASCII)
        if match is None:
            raise ValueError(f"not a snapshot's name: {text!r}")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """Step `step` (from 0) of the hunt for attempt `attempt` of a run: one seat in a fleet."""

    run: str
    attempt: int
    step: int

    def __str__(self) -> str:
        return f"{self.run}/{self.attempt}/{self.step}"

    @classmethod
    def parse(cls, text: str) -> Member:
        """Raises ValueError."""
        match = re.fullmatch(rf"({RUN_NAME.pattern})/([1-9]\d{{0,4}})/(\d{{1,9}})", text, re.ASCII)
        if match is None:
            raise ValueError(f"not a fleet's member: {text!r}")
        return cls(match[1], int(match[2]), int(match[3]))


def run(name: str) -> str:
    return f"runs/{name}/"


def spec(name: str) -> str:
    return f"runs/{name}/run.json"


def begun(name: str) -> str:
    return f"runs/{name}/begun.json"


def outcome(name: str) -> str:
    return f"runs/{name}/outcome.json"


def past_outcomes(name: str) -> str:
    return f"runs/{name}/outcomes/"


def past_outcome(name: str, attempt: int, at: float) -> str:
    """`at`: unix seconds. A run that ends twice after the same attempt does so at two times."""
    return f"{past_outcomes(name)}{attempt:05d}-{round(at * 1000):015d}"


def cancel(name: str) -> str:
    return f"runs/{name}/cancel"


def told(name: str, attempt: int, event: str, at: float | None = None) -> str:
    """That a person is told what happened to an attempt. `at`: unix seconds, of what can happen to it several times."""
    return f"runs/{name}/told/{attempt:05d}-{event}{'' if at is None else f'-{round(at * 1000):015d}'}.json"


def hunt(name: str) -> str:
    return f"runs/{name}/hunt.json"


def artifact(name: str, path: str) -> str:
    return f"runs/{name}/artifacts/{path}"


def attempts(name: str) -> str:
    return f"runs/{name}/attempts/"


def _attempt(name: str, attempt: int) -> str:
    return f"runs/{name}/attempts/{attempt:05d}"


def claim(name: str, attempt: int) -> str:
    return f"{_attempt(name, attempt)}/claim.json"


def base(name: str, attempt: int) -> str:
    return f"{_attempt(name, attempt)}/base.json"


def status(name: str, attempt: int) -> str:
    return f"{_attempt(name, attempt)}/status.json"


def handover(name: str, attempt: int) -> str:
    return f"{_attempt(name, attempt)}/handover.json"


def death(name: str, attempt: int) -> str:
    return f"{_attempt(name, attempt)}/death.json"


def ledger(name: str, attempt: int) -> str:
    return f"{_attempt(name, attempt)}/ledger.json"


def log(name: str, attempt: int) -> str:
    return f"{_attempt(name, attempt)}/log/"


def log_segment(name: str, attempt: int, segment: int) -> str:
    return f"{log(name, attempt)}{segment:06d}"


def snapshots(name: str, attempt: int | None = None) -> str:
    """The prefix of all manifests, or of one attempt's."""
    return f"runs/{name}/snapshots/" + ("" if attempt is None else f"{attempt:05d}-")


def snapshot(name: str, snapshot: SnapshotId) -> str:
    return f"{snapshots(name)}{snapshot.attempt:05d}-{snapshot.number:07d}.json.zst"


def snapshots_among(names: Iterable[str]) -> list[SnapshotId]:
    """The inverse of `snapshot`, for a listing: sorted, without what is no manifest's name. A stray object (a folder
    marker of the console, somebody's note) must not keep a run from its snapshots."""
    matches = (_MANIFEST.fullmatch(name) for name in names)
    return sorted(SnapshotId(int(match[1]), int(match[2])) for match in matches if match)


def packs(name: str) -> str:
    return f"runs/{name}/packs/"


def pack(name: str, digest: str) -> str:
    return f"{packs(name)}{digest}"


def launches(name: str, attempt: int | None = None) -> str:
    """The prefix of the seats and answers of all hunts, or of one."""
    return f"launches/{name}/" + ("" if attempt is None else f"{attempt:05d}-")


def seat(member: Member) -> str:
    return f"{launches(member.run, member.attempt)}{member.step:04d}.json"


def answer(name: str, attempt: int, step: int) -> str:
    return f"{launches(name, attempt)}{step:04d}.answer.json"


def assignment(instance: str) -> str:
    return f"instances/{instance}.json"


def fleet(identity: str) -> str:
    return f"fleets/{identity}.json"


def open_runs() -> str:
    return "open/"


def open_run(name: str) -> str:
    return f"open/{name}"


def pool_notes(note: str, slot: int) -> str:
    """The prefix of all notes of one kind in one stretch of time."""
    return f"pools/{note}/{slot:010d}/"


def pool_note(note: str, slot: int, instance_type: str, zone: str) -> str:
    return f"{pool_notes(note, slot)}{instance_type}@{zone}"


def price(region: str, instance_type: str) -> str:
    return f"prices/{region}/{instance_type}.json"


def launcher_code(digest: str) -> str:
    return f"launcher/{digest}.zip"
