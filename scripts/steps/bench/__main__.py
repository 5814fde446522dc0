"""scripts/bench: chooses rows, sizes and contenders, runs them, prints a table or a document."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from . import workloads
from .contenders import Contender, contenders
from .moves import moved
from .site import Site, served
from .table import Sample, rows, show

MOVES = {"A": workloads.large, "B": workloads.small}
ROWS = ("A", "B", "D")
# Of S3: 100 to 200 ms a small request, about 5 Gbit/s a connection.
FAR = {"latency_s": 0.1, "rate": 5e9 / 8}


def main() -> None:
    options = parsed()
    available = [each for each in contenders(options.peers) if _takes_part(each, options)]
    sizes = workloads.Sizes().smaller(options.smaller)
    needed = 8 * (sizes.large_files * sizes.large_bytes + sizes.small_files * (16 << 10)) // 2
    with workloads.room(needed) as (folder, where), served(options.peers) as site:
        say(f"trees are {where}")
        site.behave(**(FAR if options.latency else {}))
        samples = measured(options, site, folder, sizes, available)
    found = rows(samples)
    print(json.dumps(document(options, where, found), indent=1) if options.json else show(found))
    if any(row["wrong"] for row in found):
        sys.exit("Something came back other than it was sent, or did not come back")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="How fast it is, beside its peers.")
    parser.add_argument("--rows", default=",".join(ROWS), type=lambda text: text.split(","), help="A,B,D")
    parser.add_argument("--runs", type=int, help="of each contender; default 5, with --quick 2")
    parser.add_argument("--only", type=lambda text: text.split(","), help="these contenders: s5cmd,rclone; and us")
    parser.add_argument("--quick", action="store_true", help="a quarter of everything, in a few minutes")
    parser.add_argument("--latency", action="store_true", help="100 ms a request, 5 Gbit/s a connection: as S3")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--smaller", type=int, help="divide every size by this")
    parser.add_argument(
        "--peers", type=lambda text: Path(text).absolute(), default=Path(sys.prefix), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    options.runs = options.runs or (2 if options.quick else 5)
    options.smaller = options.smaller or (4 if options.quick else 1)
    return options


def _takes_part(contender: Contender, options: argparse.Namespace) -> bool:
    if options.only and contender.name not in ("spotrelay", "the limit", *options.only):
        return False
    if missing := contender.missing():
        say(f"{missing}: left out")
    return not missing


def measured(
    options: argparse.Namespace, site: Site, folder: Path, sizes: workloads.Sizes, available: list[Contender]
) -> list[Sample]:
    found: list[Sample] = []
    for name, build in MOVES.items():
        if {name, "D"} & set(options.rows):
            tree = build(folder / name, sizes)
            for sample in moved(name, site, tree, available, options.runs):
                tell(sample)
                found.append(sample)
            shutil.rmtree(tree)
    return [sample for sample in found if _asked(sample.row, options.rows)]


def _asked(row: str, wanted: list[str]) -> bool:
    name, _, direction = row.partition(" ")
    return "D" in wanted if direction == "down" else name in wanted


def document(options: argparse.Namespace, where: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    machine = {"cores": os.cpu_count(), "trees": where, "latency": options.latency, "smaller": options.smaller}
    return {"version": 1, "machine": machine, "rows": found}


def tell(sample: Sample) -> None:
    spent = sample.measured
    say(f"{sample.row:10} {sample.who:12} {spent.wall_s:7.2f} s {spent.cpu_s:7.2f} CPU s {' '.join(sample.wrong)}")


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
