"""A spec as run.toml: what `spotrelay run --print` shows, and what `parse` reads back as an equal spec.

Only what differs from the defaults is written, in the order of the reference, and what cannot be left out. No library:
the standard one reads TOML and does not write it, and what a spec holds is texts, numbers, lists of these and one table
of texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from spotrelay.core.errors import SpecError
from spotrelay.core.spec import FIELDS, Run, Spec


def write(spec: Spec) -> str:
    """Raises SpecError for a text that no TOML can hold: a file name whose bytes are no UTF-8."""
    tables = []
    for name in FIELDS:
        lines = list(_lines(getattr(spec, name)))
        if lines:
            tables.append("\n".join([f"[{name}]", *lines]))
    text = "\n\n".join(tables) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SpecError([f"run.toml: {error.object[error.start - 20 : error.end]!r} is no UTF-8: rename it"]) from error
    return text


def value(given: Any) -> str:
    """Of a text, a number, true or false, a list or a table of these."""
    if isinstance(given, Mapping):
        inside = ", ".join(f"{_key(name)} = {value(each)}" for name, each in given.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(given, list | tuple):
        return f"[{', '.join(map(value, given))}]"
    if isinstance(given, float) and given.is_integer() and abs(given) < 1e15:
        return str(int(given))
    # Not ensure_ascii: JSON's pairs of surrogates are no TOML. DEL is no control character to JSON, but to TOML it is.
    return json.dumps(given, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else value(name)


def _lines(table: Any) -> list[str]:
    defaults = None if isinstance(table, Run) else type(table)()
    found = []
    for each in fields(table):
        given = getattr(table, each.name)
        usual = each.default if defaults is None else getattr(defaults, each.name)
        if given is None or given == usual or (defaults is None and not given):
            continue
        found.append(f"{each.name} = {value(given)}")
    return found
