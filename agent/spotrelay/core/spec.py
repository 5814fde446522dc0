"""The run's specification: what a person writes in run.toml, in user data or behind flags, and what run.json keeps.

One table of fields holds name, type, default, bounds and the remedy that an error offers; the reader, the writer and
the README's reference are all made from it, so a field is added in one place. Every problem of a spec is reported at
once, each with its place: `run.toml: [run] command is empty — set command = ["python", "train.py"]`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from spotrelay.core import checks, keys
from spotrelay.core.checks import Check
from spotrelay.core.errors import SpecError

SIGNALS = ("TERM", "INT", "USR1", "USR2", "HUP", "QUIT")
MARKETS = ("spot", "on-demand")
UNFINISHED = ("previous", "aside", "keep")
FINISH_BY = "finish_by"
VERSION = 1
# What /etc/passwd can hold between two colons; whether there is such a user, the instance finds out.
_USER = re.compile(r"[^\s:/]{1,255}")
_INSTANCE_TYPE = re.compile(r"[a-z0-9-]{2,20}\.[a-z0-9-]{2,20}")


@dataclass(frozen=True, slots=True)
class Run:
    """[run]: what is run, where, as whom, and what of the directory is kept."""

    name: str
    command: tuple[str, ...]
    directory: str
    user: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    umask: str = "022"
    exclude: tuple[str, ...] = ()
    # None where there are none: an agent that does not know the field reads such a spec.
    secrets: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Interrupt:
    """[interrupt]: how the command is told, and which endings after that count as clean; None: what is known of its
    framework says so (frameworks.py), 0 otherwise."""

    signal: str = "TERM"
    clean_exit_codes: tuple[int, ...] | None = None
    strict_exit: bool = False


@dataclass(frozen=True, slots=True)
class Save:
    """[save]: how often the directory is saved while the command runs, 0 only at its end and at a notice; how much
    memory the bytes on their way may take; and what becomes of a checkpoint that was being written when all ended."""

    every_s: float = 300.0
    memory_mib: int = 512
    unfinished: str = "previous"


@dataclass(frozen=True, slots=True)
class Limits:
    """[limits]: what ends a run that does not end by itself.

    Two of them know a crash loop. `error_retries` counts failures that the agent sees and hands over: the command ended
    with an error. `fruitless` counts attempts that left nothing, not even that word: the machine died under them, or
    they could not begin.
    """

    attempts: int = 100
    error_retries: int = 0
    fruitless: int = 5
    hours: float = 0.0
    dollars: float = 0.0


@dataclass(frozen=True, slots=True)
class Instance:
    """[instance]: what it runs on."""

    types: tuple[str, ...] = ()
    market: str = "spot"
    on_demand: str = "never"
    finish_by: str | None = None
    work_hours: float = 0.0
    keep_alive: bool = False

    @property
    def on_demand_after_s(self) -> float | None:
        """How long a hunt goes without on-demand instances; None where it is not time that brings them."""
        return checks.after_s(self.on_demand)

    @property
    def finish_at(self) -> float | None:
        """`finish_by` in unix seconds."""
        return None if self.finish_by is None else checks.unix(self.finish_by)


@dataclass(frozen=True, slots=True)
class Spec:
    run: Run
    interrupt: Interrupt = field(default_factory=Interrupt)
    save: Save = field(default_factory=Save)
    limits: Limits = field(default_factory=Limits)
    instance: Instance = field(default_factory=Instance)

    def document(self) -> dict[str, Any]:
        """What run.json holds; `parse` of it gives an equal Spec."""
        tables = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            "version": VERSION,
            **{
                table: {
                    f.name: _plain(getattr(value, f.name)) for f in fields(value) if getattr(value, f.name) is not None
                }
                for table, value in tables.items()
            },
        }

    def encode(self) -> bytes:
        return json.dumps(self.document(), indent=1).encode()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True)
class Field:
    """One line of the reference: `example` is both the remedy that errors offer and the documentation."""

    check: Check
    example: str
    help: str
    required: bool = False


FIELDS: dict[str, dict[str, Field]] = {
    "run": {
        "name": Field(
            checks.matching(keys.RUN_NAME, "a name of a-z, 0-9 and -, at most 40"),
            'name = "resnet-7"',
            "The run's name: a-z, 0-9 and -, at most 40 characters.",
            required=True,
        ),
        "command": Field(
            checks.command,
            'command = ["python", "train.py"]',
            "The program and its arguments. Run as they are, by no shell.",
            required=True,
        ),
        "directory": Field(
            checks.directory,
            'directory = "/home/ubuntu/job"',
            "The execution directory: the command starts in it, and it is what outlives the machine.",
            required=True,
        ),
        "user": Field(
            checks.matching(_USER, "a user's name"),
            'user = "ubuntu"',
            "The user to run as; by default the agent's own.",
        ),
        "env": Field(
            checks.environment, 'env = { EPOCHS = "90" }', "Environment variables. No secrets: run.json is readable."
        ),
        "umask": Field(
            checks.matching(re.compile("[0-7]{3,4}"), "an octal number"), 'umask = "022"', "The command's umask."
        ),
        "exclude": Field(
            checks.list_of(checks.pattern),
            'exclude = ["*.tmp", "cache/"]',
            "Patterns of what is neither saved nor restored.",
        ),
        "secrets": Field(
            checks.secrets,
            'secrets = { WANDB_API_KEY = "ssm:/spotrelay/wandb" }',
            "Environment variables from the Parameter Store of AWS Systems Manager, read as the command starts. What "
            "they are is in no bucket, log or command line. The stack lets instances read what is below /spotrelay/.",
        ),
    },
    "interrupt": {
        "signal": Field(checks.one_of(SIGNALS), 'signal = "TERM"', "The signal that asks the command to save and end."),
        "clean_exit_codes": Field(
            checks.list_of(checks.number(0, 255, whole=True)),
            "clean_exit_codes = [0]",
            "Exit codes that count as a clean end after the signal; by default 0, and of torchrun and accelerate 1.",
        ),
        "strict_exit": Field(
            checks.flag,
            "strict_exit = false",
            "true: an end after the signal with another code is an error, not resumed.",
        ),
    },
    "save": {
        "every_s": Field(
            checks.number(0, 86_400),
            "every_s = 300",
            "Seconds between saves while the command runs: what a machine that dies without notice loses. 0: never.",
        ),
        "memory_mib": Field(
            checks.number(64, 65_536, whole=True),
            "memory_mib = 512",
            "MiB of memory for what is on its way to the store or from it. 512 fill a line of 10 Gbit/s with 200 ms a "
            "request; the directory's entries come on top, 0.4 KiB each.",
        ),
        "unfinished": Field(
            checks.one_of(UNFINISHED),
            'unfinished = "previous"',
            "A checkpoint that was being written when its machine died (torch, safetensors, NumPy, Keras, a Trainer's "
            "folder): previous, it is set aside and what was whole under its name is put back; aside, without that; "
            "keep, it stays as it is.",
        ),
    },
    "limits": {
        "attempts": Field(
            checks.number(1, keys.LAST_ATTEMPT, whole=True), "attempts = 100", "At most so many attempts."
        ),
        "error_retries": Field(
            checks.number(0, keys.LAST_ATTEMPT, whole=True),
            "error_retries = 0",
            "How many failures in a row of the command itself are tried again. Machines that die are no failures of "
            "it: see fruitless.",
        ),
        "fruitless": Field(
            checks.number(0, keys.LAST_ATTEMPT, whole=True),
            "fruitless = 5",
            "So many attempts in a row that ended without notice and left no snapshot end the run: a crash loop of the "
            "machine (out of memory, a driver) or of its beginning, where error_retries sees none. 0: no limit.",
        ),
        "hours": Field(checks.number(0, 100_000), "hours = 48", "Hours since the run began; 0: no limit."),
        "dollars": Field(
            checks.number(0, 10_000_000),
            "dollars = 40",
            "US dollars for instances, at EC2's spot prices and list prices; disks and traffic are not counted. Looked "
            "at every few minutes. 0: no limit.",
        ),
    },
    "instance": {
        "types": Field(
            checks.list_of(checks.matching(_INSTANCE_TYPE, "an instance type")),
            'types = ["g5.xlarge", "g6.xlarge"]',
            "Instance types, any of which will do.",
        ),
        "market": Field(checks.one_of(MARKETS), 'market = "spot"', "spot or on-demand."),
        "on_demand": Field(
            checks.policy,
            'on_demand = "after 30m"',
            "When a run on spot may take an on-demand instance: never; after 90s, 30m, 2h… without spot capacity, "
            "each time anew; finish_by: once that can no longer be met otherwise.",
        ),
        "finish_by": Field(
            checks.moment,
            'finish_by = "2030-12-01T08:00:00Z"',
            'When the run should be finished; with on_demand = "finish_by" and work_hours.',
        ),
        "work_hours": Field(
            checks.number(0, 100_000), "work_hours = 6", "How many hours the run takes where nothing interrupts it."
        ),
        "keep_alive": Field(
            checks.flag, "keep_alive = false", "true: leave the instance running at the end. It costs."
        ),
    },
}
_TABLES: dict[str, type] = {"run": Run, "interrupt": Interrupt, "save": Save, "limits": Limits, "instance": Instance}


def parse(document: Any, *, source: str) -> Spec:
    """The spec in a decoded document, TOML or JSON; `source` names it in errors. Raises SpecError with all problems."""
    if not isinstance(document, Mapping):
        raise SpecError([f"{source}: not a table — begin with [run]"])
    problems = [
        f"{source}: [{table}] is not known — use {', '.join(f'[{t}]' for t in FIELDS)}"
        for table in document
        if table not in FIELDS and table != "version"
    ]
    version = document.get("version", VERSION)
    if version != VERSION or not isinstance(version, int) or isinstance(version, bool):
        problems.append(f"{source}: version {checks.shown(version)} is not known — this spotrelay reads {VERSION}")
    tables = {table: _table(document.get(table, {}), table, source, problems) for table in FIELDS}
    if not any(problem.startswith(f"{source}: [instance]") for problem in problems):
        problems += [f"{source}: [instance] {problem}" for problem in _together(Instance(**tables["instance"]))]
    twice = set(tables["run"].get("env", {})) & set(tables["run"].get("secrets", {}))
    problems += [f"{source}: [run] env and secrets both set {name} — leave one out" for name in sorted(twice)]
    if problems:
        raise SpecError(problems)
    return Spec(**{table: _TABLES[table](**values) for table, values in tables.items()})


def _table(given: Any, table: str, source: str, problems: list[str]) -> dict[str, Any]:
    known, values = FIELDS[table], {}
    if not isinstance(given, Mapping):
        problems.append(f"{source}: [{table}] is not a table — write [{table}] and its fields below")
        return {}
    for name in given:
        if name not in known:
            problems.append(f"{source}: [{table}] {name} is not known — use {', '.join(known)}")
    for name, spec_field in known.items():
        if name not in given:
            if spec_field.required:
                problems.append(f"{source}: [{table}] {name} is missing — set {spec_field.example}")
            continue
        try:
            values[name] = spec_field.check(given[name])
        except checks.Wrong as wrong:
            problems.append(f"{source}: [{table}] {name} {wrong} — set {spec_field.example}")
    return values


def _together(instance: Instance) -> Iterator[str]:
    """What is wrong between the fields of [instance]. A deadline that nobody would heed is told, not ignored."""
    examples = FIELDS["instance"]
    if instance.on_demand != FINISH_BY:
        for name in ("finish_by", "work_hours"):
            if getattr(instance, name):
                yield f'{name} is heeded by no policy — set on_demand = "{FINISH_BY}"'
        return
    for name in ("finish_by", "work_hours"):
        if not getattr(instance, name):
            yield f'{name} is needed for on_demand = "{FINISH_BY}" — set {examples[name].example}'


def from_toml(text: str | bytes, *, source: str) -> Spec:
    return parse(toml_document(text, source=source), source=source)


def toml_document(text: str | bytes, *, source: str) -> dict[str, Any]:
    """Raises SpecError where the text is no TOML."""
    try:
        return tomllib.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:  # ValueError: bad TOML, bad UTF-8, a number of 5,000 digits
        raise SpecError([f"{source}: not TOML: {error} — see the reference of run.toml in the README"]) from error


def from_json(data: bytes, *, source: str) -> Spec:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SpecError([f"{source}: not JSON: {error} — the object was damaged; start the run anew"]) from error
    return parse(document, source=source)
