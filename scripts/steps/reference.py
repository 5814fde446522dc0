"""Tables of the README that are made from the code: `reference.py exit-codes`, `reference.py spec`."""

from __future__ import annotations

import re
import sys

from spotrelay.cli import verdict
from spotrelay.core import errors, spec

_ERROR = re.compile(r"(?m)^\W*(\w+) +(\d+)   (.+)$")


def exit_codes() -> None:
    print("| code | name | meaning |\n|---|---|---|")
    rows = [(v.exit_code, v.name, v.text) for v in verdict.ALL]
    for match in _ERROR.finditer(errors.__doc__ or ""):
        rows.append((int(match[2]), match[1], match[3]))
    rows += [
        (129, "SIGHUP", "the terminal was closed"),
        (130, "SIGINT", "Ctrl-C"),
        (143, "SIGTERM", "it was told to end"),
    ]
    for code, name, text in sorted(rows):
        print(f"| {code} | {name} | {text} |")


def fields() -> None:
    for table, known in spec.FIELDS.items():
        print(f"\n**[{table}]**\n\n| field | example | |\n|---|---|---|")
        for name, field in known.items():
            required = " *Required.*" if field.required else ""
            print(f"| `{name}` | `{field.example}` | {field.help}{required} |")


if __name__ == "__main__":
    {"exit-codes": exit_codes, "spec": fields}[sys.argv[1]]()
