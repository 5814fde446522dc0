"""The small JSON objects of a run: what each holds, written by one side and checked by every reader.

A record is a dataclass; its JSON is its fields. Readers refuse what is garbled or of the wrong types with RecordInvalid
and ignore fields they do not know, so that an older launcher can read what a newer agent wrote. Times are unix seconds.
What names another object (a run, an attempt, a snapshot) is checked like a message: it becomes part of keys and paths.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from spotrelay.core import checks, keys
from spotrelay.core.errors import StoreError

T = TypeVar("T")


class RecordInvalid(StoreError):
    """An object of ours that does not hold what it must."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """instances/<id>.json: this instance is for that attempt."""

    run: str
    attempt: int

    def __post_init__(self) -> None:
        if not keys.RUN_NAME.fullmatch(self.run):
            raise ValueError(f"run is {self.run!r}")
        if not 1 <= self.attempt <= keys.LAST_ATTEMPT:
            raise ValueError(f"attempt is {self.attempt}")


@dataclass(frozen=True, slots=True)
class Begun:
    """Somebody is at beginning a run of this name: the name is theirs. `by`: a person, on which computer; `directory`:
    there. `wanted`: a digest of the spec, so that the same command goes on, and another one takes another name."""

    by: str
    directory: str
    wanted: str
    at: float


@dataclass(frozen=True, slots=True)
class Claim:
    """The instance that owns an attempt. `token` is fresh for every boot of an agent and makes the object unique."""

    instance: str
    token: str
    at: float
    instance_type: str = ""
    zone: str = ""
    market: str = ""


@dataclass(frozen=True, slots=True)
class Base:
    """The snapshot that an attempt began from; None: it began with the directory as it was."""

    snapshot: str | None
    at: float
    instance: str

    def __post_init__(self) -> None:
        if self.snapshot is not None:
            keys.SnapshotId.parse(self.snapshot)


@dataclass(frozen=True, slots=True)
class Status:
    """The heartbeat. `gone_at`: when the instance will be taken, once that is known. `kept_s`: how long the command had
    worked here when the newest snapshot was begun: what the run has from this attempt whatever happens now.
    `last_save_s`: what the newest snapshot took; `last_save_bytes`: what was sent for it, as Handover.saved_bytes.

    What a notice would ask for, each None as long as nobody knows: `checkpoint_s`, from signal to end; `dirty_bytes`
    that a last save would send; `upload_bytes_s` that the store takes; `needed_s`, all of it together. `warning`: that
    this is more than there is, and what would help. `unfinished`: checkpoints that a dead machine had been writing, and
    what became of them, a line each.

    For a person: `running_since` the command runs here (started again here, as if there had been no pause, so that what
    it has worked is exact), `next_save_at` the next save begins, and the newest `line` that the command wrote.
    """

    instance: str
    phase: str
    at: float
    gone_at: float | None = None
    snapshot: str | None = None
    last_save_s: float | None = None
    last_save_bytes: int | None = None
    restored_bytes: int | None = None
    kept_s: float = 0.0
    checkpoint_s: float | None = None
    dirty_bytes: int | None = None
    upload_bytes_s: float | None = None
    needed_s: float | None = None
    warning: str = ""
    running_since: float | None = None
    next_save_at: float | None = None
    line: str = ""
    unfinished: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Handover:
    """How an attempt ended, and what it leaves.

    `reason`: interrupted, or error. `ended`: how the command ended ("exit 0", "signal 9"), None when it never ran.
    `clean`: it ended, after our signal, with a code that the spec calls clean. `oom_kills`: how many processes of the
    command the kernel killed for want of memory. `errors`: failures in a row so far.
    `kept_s`: seconds of the command's work here that `snapshot` keeps. `saved_bytes`: what was sent for `snapshot`
    since the one that stood when the notice came (without one, since the one before it), by however many saves; so not
    in the seconds of the last one, `timings["save_s"]`. `upload_bytes_s`: what the store took, as measured here.
    `message`: what went wrong; that the last save did not arrive, and which snapshot stands. `warning`, `unfinished`:
    as in Status. `noticed_at`: when the notice came. `worked_s`: how long the command worked here in all (0: it had
    not started; None: nobody knows); what of it `kept_s` does not keep is lost.
    """

    instance: str
    reason: str
    at: float
    ended: str | None
    exit_code: int | None
    clean: bool
    errors: int
    snapshot: str | None
    notice: str | None = None
    message: str = ""
    timings: dict[str, float] = field(default_factory=dict)
    saved_bytes: int = 0
    upload_bytes_s: float | None = None
    restored_bytes: int = 0
    kept_s: float = 0.0
    warning: str = ""
    noticed_at: float | None = None
    worked_s: float | None = None
    unfinished: list[str] = field(default_factory=list)
    oom_kills: int = 0


@dataclass(frozen=True, slots=True)
class Death:
    """The attempt's machine is no more, by EC2's word: it adds nothing to what it left. Written where there is no
    hand-over, for the successor that waits for one."""

    instance: str
    at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: succeeded, failed, stopped, or limit. `message` says why, to a person. `oom_kills`: as in
    Handover."""

    result: str
    attempt: int
    at: float
    exit_code: int | None = None
    snapshot: str | None = None
    message: str = ""
    oom_kills: int = 0


@dataclass(frozen=True, slots=True)
class Cancel:
    """Why a run shall end: a person said so (stopped), or a limit is reached (limit) and `message` says which. `now`:
    without waiting for the command's checkpoint. An older agent does not know that word, and waits."""

    result: str = "stopped"
    message: str = ""
    at: float = 0.0
    now: bool = False

    def __post_init__(self) -> None:
        if self.result not in ("stopped", "limit"):
            raise ValueError(f"result is {self.result!r}")

    @classmethod
    def read(cls, data: bytes) -> Cancel:
        """An empty object, or one of any words, is a person's: whoever puts it there wants the run to stop."""
        try:
            return decode(cls, data, key="cancel")
        except RecordInvalid:
            return cls()


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a run has used up from its beginning through attempt `attempt`; 0: before the first.

    `at`: the end of that attempt. `began`: the first claim. `worked_s`: seconds of the command's work that snapshots
    keep. `machine_s`, `dollars`: of its instances; `unpriced_s`: seconds among them that nobody knew a price for.
    `fruitless`: attempts in a row that ended without notice and left no snapshot. `errors`: failures in a row.
    """

    attempt: int = 0
    at: float = 0.0
    began: float = 0.0
    worked_s: float = 0.0
    machine_s: float = 0.0
    dollars: float = 0.0
    unpriced_s: float = 0.0
    fruitless: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for an hour of an instance type on demand, as the price list said at `at`."""

    hourly: float
    at: float


@dataclass(frozen=True, slots=True)
class Seat:
    """An attempt takes part in fleet `fleet`. `since`: when its hunt began; `rings`: of the bell that led here."""

    fleet: str
    at: float
    since: float
    rings: int = 0

    def __post_init__(self) -> None:
        if not keys.FLEET_ID.fullmatch(self.fleet):
            raise ValueError(f"fleet is {self.fleet!r}")


@dataclass(frozen=True, slots=True)
class Fleet:
    """One CreateFleet call that will be made, with this token and in exactly these words, by whoever finds it open.

    `candidates`: `keys.Member`s as text. Those whose seat names this fleet are its members; their number is the
    capacity that is asked for: the one thing about the call that the seats decide.
    """

    token: str
    at: float
    request: dict[str, Any]
    candidates: list[str]

    def __post_init__(self) -> None:
        for text in self.candidates:
            keys.Member.parse(text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a seat: an instance, or why there is none. `kind`: launched, or a `launcher.refusals.Action`.

    `since`: when the hunt began. `rung`: without an instance, the `rings` of the bell that was rung for the next step,
    and `retry_at` when it is due.
    """

    kind: str
    at: float
    instance: str | None = None
    instance_type: str = ""
    zone: str = ""
    market: str = ""
    errors: list[str] = field(default_factory=list)
    since: float = 0.0
    retry_at: float = 0.0
    rung: int = 0


@dataclass(frozen=True, slots=True)
class Hunt:
    """Why a run waits for a machine: what `status` tells. `person`: somebody must change something, `why` says what.

    `rung`: the `rings` of the bell that will go on with it, at `next_at`.
    """

    attempt: int
    step: int
    since: float
    at: float
    why: str
    market: str = ""
    errors: list[str] = field(default_factory=list)
    next_at: float = 0.0
    person: bool = False
    rung: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """A person is being told of something: for the first time at `since`, for the `tries`-th time at `at`, by whoever
    made `token` up. `confirmed_at`: whoever carries the message has taken it."""

    since: float
    at: float
    token: str
    tries: int = 1
    confirmed_at: float | None = None


def encode(record: Any) -> bytes:
    return json.dumps(asdict(record)).encode()


def decode(cls: type[T], data: bytes, *, key: str) -> T:
    """Raises RecordInvalid, which names `key`, for everything but a record of this class."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecordInvalid(f"{key} is not JSON: {error}", next_step=_NEXT) from error
    if not isinstance(document, dict):
        raise RecordInvalid(f"{key} is not an object", next_step=_NEXT)
    hints = _hints(cls)  # type: ignore[arg-type]  # every class is hashable
    known = {f.name: document[f.name] for f in fields(cls) if f.name in document}  # type: ignore[arg-type]
    for name, value in known.items():
        if not _fits(value, hints[name]):
            raise RecordInvalid(f"{key}: {name} is {checks.shown(value)}", next_step=_NEXT)
    try:
        return cls(**known)
    except (TypeError, ValueError) as error:  # a field is missing, or names what cannot be
        raise RecordInvalid(f"{key}: {error}", next_step=_NEXT) from error


# They are read from the source's text each time, which takes longer than all the rest of reading a record.
_hints = functools.cache(typing.get_type_hints)
_NEXT = "the object was damaged or written by something else; look at it, and remove it if it is not the run's"
# Beyond every time and size there is. Infinity and NaN are no JSON, yet Python reads them: a machine that is gone at
# infinity would be waited for.
_LARGEST = 1e18


def _fits(value: Any, hint: Any) -> bool:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return any(_fits(value, option) for option in options)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, options[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and (options[1] is Any or all(_fits(v, options[1]) for v in value.values()))
    if hint in (int, float):
        number = isinstance(value, int | hint) and not isinstance(value, bool)
        return number and -_LARGEST < value < _LARGEST
    return isinstance(value, hint)
