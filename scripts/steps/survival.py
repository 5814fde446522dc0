"""The README's table of what frameworks do when they are interrupted: kept from rehearsals, printed from what was kept.

A check of the README has no ten minutes, nor a gigabyte of frameworks: so what scripts/frameworks saw is kept in
scripts/examples/survived.json, with the versions it was seen with, and the table is that file's.

    survival.py keep FOLDER    add what the tests noted there, an example a file
    survival.py table          print it
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "scripts" / "examples" / "survived.json"
PINS = ROOT / "scripts" / "examples" / "requirements.txt"
# Example → what a reader calls it, and which pin says its version.
NAMES = {
    "lightning": ("PyTorch Lightning", "lightning"),
    "transformers": ("Transformers' Trainer", "transformers"),
    "pytorch": ("PyTorch, a plain loop", "torch"),
    "torchrun": ("torchrun, two workers", "torch"),
    "search": ("a search, many small files", ""),
    "shell": ("a shell's pipeline", ""),
    "fortran": ("Fortran, ignores SIGTERM", ""),
}


def keep(folder: Path) -> None:
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for file in sorted(folder.glob("*.json")):
        kept[file.stem] = {"version": version(file.stem), **json.loads(file.read_text())}
    KEPT.write_text(json.dumps({name: kept[name] for name in NAMES if name in kept}, indent=1) + "\n")


def version(example: str) -> str:
    pin = NAMES[example][1]
    if pin:
        found = re.search(rf"(?m)^{pin}==(\S+)", PINS.read_text())
        assert found is not None, f"{pin} is not pinned"
        return found[1]
    if example == "search":
        return f"Python {platform.python_version()}"
    if example == "fortran":
        said = subprocess.run(["gfortran", "-dumpfullversion"], capture_output=True, text=True, check=True)
        return f"gfortran {said.stdout.strip()}"
    return Path("/bin/sh").resolve().name


def table() -> None:
    print("| | version | on SIGTERM | ends with | after s | continued from | same result |")
    print("|---|---|---|---|--:|---|---|")
    for example, row in json.loads(KEPT.read_text()).items():
        print("| " + " | ".join(cells(example, row)) + " |")


def cells(example: str, row: dict[str, Any]) -> list[str]:
    last, following = row["last"], row["next"]
    went_on = f"{row['counter']} {last:g} → {following:g}" if following is not None and last is not None else ""
    return [
        f"[{NAMES[example][0]}](scripts/examples/{example})",
        row["version"],
        row["meaning"],
        row["end"],
        f"{row['seconds']:.1f}",
        went_on + (", an unfinished checkpoint set aside" if row["unfinished"] else ""),
        "yes" if row["equal"] else "**no**",
    ]


if __name__ == "__main__":
    table() if sys.argv[1] == "table" else keep(Path(sys.argv[2]))
