"""What a person wants to run, put together from run.toml and from flags, which say the same by the same names.

    --print shows                 [instance] types = ["g5.xlarge"]
    the file says                 [instance] types = ["g5.xlarge"]
    --instance-type says          instance.types
    --set says                    instance.types=["g5.xlarge"], and so any field of the reference

A flag wins over the file. It replaces what the file says; a table of names (env, secrets) is merged name by name. What
nobody says, and a spec must have, is made from the directory that is run:

    name         its name, as far as a run's name can hold it
    directory    /srv/<that>, or /home/<user>/<that> for a run with a user. It depends on nothing else, so that paths
                 which a program has written down are right in the next run, too
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from spotrelay.core import keys, spec
from spotrelay.core.errors import UsageError
from spotrelay.core.spec import Spec

FILE = "run.toml"
_LONGEST = 40
_OTHER = re.compile(r"[^a-z0-9]+")
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wish:
    """`named`: the person chose the name; otherwise it may be numbered where it is taken."""

    spec: Spec
    named: bool

    def called(self, name: str) -> Spec:
        return replace(self.spec, run=replace(self.spec.run, name=name))


def wish(
    file: Mapping[str, Any] | None,
    given: Mapping[str, Any],
    settings: Sequence[str] = (),
    *,
    directory: Path,
    source: str = FILE,
) -> Wish:
    """`file`: a decoded run.toml. `given`: what flags say, by "table.field"; None: not said. `settings`: those of
    `--set`. Raises SpecError with all problems, UsageError."""
    document = merged(file or {}, {**dict(map(setting, settings)), **given})
    run = document.setdefault("run", {})
    if not isinstance(run, dict):
        return Wish(spec.parse(document, source=source), named=True)
    named, name = "name" in run, name_of(directory)
    run.setdefault("name", name)
    user = run.get("user")
    home = PurePosixPath("/home", user) if isinstance(user, str) and user not in ("", "root") else PurePosixPath("/srv")
    run.setdefault("directory", str(home / name))
    return Wish(spec.parse(document, source=source), named)


def merged(file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A document with both; `given` wins."""
    document = {name: dict(table) if isinstance(table, Mapping) else table for name, table in file.items()}
    for path, value in given.items():
        if value is None:
            continue
        table, _, name = path.partition(".")
        fields = document.setdefault(table, {})
        if not isinstance(fields, dict):
            continue  # said by whoever checks the document
        before = fields.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        fields[name] = {**before, **value} if both else value  # type: ignore[dict-item]
    return document


def setting(text: str) -> tuple[str, Any]:
    """`limits.hours=48`, as field and value. The value is TOML; what is none is a text. Raises UsageError."""
    path, sign, value = text.partition("=")
    table, _, name = path.partition(".")
    if not sign or name not in spec.FIELDS.get(table, {}):
        raise UsageError(f"--set {text!r}: no field of run.toml", next_step="write it like --set limits.hours=48")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value


def pairs(texts: Sequence[str], option: str) -> dict[str, str] | None:
    """Those of `--env K=V`; None for none. Raises UsageError."""
    for text in texts:
        if not text.partition("=")[1]:
            raise UsageError(f"{option} {text!r}: not NAME=VALUE", next_step=f"write it like {option} EPOCHS=90")
    return {name: value for name, _, value in (text.partition("=") for text in texts)} or None


def moment(text: str) -> str:
    """`2030-12-01 08:00`, in the person's own time zone, as the spec has moments; anything else as it is."""
    if not _LOCAL.fullmatch(text):
        return text
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except (ValueError, OverflowError):
        return text


def name_of(directory: Path) -> str:
    """`/home/ada/My Project` → `my-project`."""
    return _OTHER.sub("-", directory.name.lower())[:_LONGEST].strip("-") or "run"


def numbered(name: str) -> list[str]:
    """`name`, and those to take in its place: name-2, name-3…"""
    suffixes = ("", *(f"-{number}" for number in range(2, 1000)))
    found = [f"{name[: _LONGEST - len(suffix)].rstrip('-')}{suffix}" for suffix in suffixes]
    return [each for each in found if keys.RUN_NAME.fullmatch(each)]
