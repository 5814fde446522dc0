"""The lifecycle of an attempt as a Mermaid diagram, drawn from the table that the agent runs by.

Rows that do nothing and stay where they are (a second notice, a plan made anew) are left out: the table has them.
"""

from __future__ import annotations

import re
from collections import defaultdict

from spotrelay.core.lifecycle import TABLE, Phase


def main() -> None:
    arrows: dict[tuple[Phase, Phase], list[str]] = defaultdict(list)
    for phase, rows in TABLE.items():
        for kind, row in rows.items():
            if row.phase is not phase:
                arrows[phase, row.phase].append(words(kind.__name__))
    print("stateDiagram-v2\n    direction TB\n    [*] --> ARRIVING")
    for (before, after), events in arrows.items():
        print(f"    {before.name} --> {after.name}: {', '.join(events)}")
    print("    LEAVING --> [*]")


def words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


if __name__ == "__main__":
    main()
