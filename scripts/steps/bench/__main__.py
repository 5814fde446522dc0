"""scripts/bench: chooses rows, sizes and contenders, runs them, prints a table or a document."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import workloads
from .again import saved_again
from .beside import slowed
from .contenders import Contender, Leanest, Ours
from .ending import last_checkpoint
from .faults import unwell
from .footprint import footprint
from .held import held
from .measure import Measured
from .moves import moved
from .peers import peers
from .plan import Bench
from .sample import Role, Sample
from .site import Site, served
from .table import rows, show
from .unchanged import nothing_changed

Row = Callable[[Bench, Path], Iterator[Sample]]
ROWS: dict[str, Row] = {
    "A": lambda bench, tree: moved("A", bench, workloads.large(tree, bench.sizes)),
    "B": lambda bench, tree: moved("B", bench, workloads.small(tree, bench.sizes)),
    "C": saved_again,
    "E": nothing_changed,
    "F": slowed,
    "G": last_checkpoint,
    "agent": footprint,
    "memory": held,
    "faults": unwell,
}
NAMES = ("A", "B", "C", "D", "E", "F", "G", "agent", "memory")
# Of S3: 100 to 200 ms a small request, about 5 Gbit/s a connection.
FAR = {"latency_s": 0.1, "rate": 5e9 / 8}
# What a line needs at once: whole pieces, and small requests. s5cmd has 256 in any case.
CONNECTIONS, WIDE = 4, 32
FAR_CONNECTIONS, FAR_WIDE = 32, 256
QUICK_ENTRIES = 100_000


def main() -> None:
    options = parsed()
    before = os.getloadavg()[0]
    with workloads.room(_needed(options)) as (folder, where), served(options.peers) as site:
        say(f"trees are {where}")
        site.usual = FAR if options.latency else {}
        site.behave()
        site.warm(options.sizes.large_files * options.sizes.large_bytes)
        all_peers = peers(options.peers, folder, wide=FAR_WIDE if options.latency else WIDE)
        takes_part = [each for each in all_peers if _takes_part(each, site, options.only)]
        limit = Leanest(FAR_CONNECTIONS if options.latency else CONNECTIONS)
        bench = Bench(site, folder, options.sizes, options.runs, Ours(), limit, takes_part)
        samples: list[Sample] = []
        with suppress(KeyboardInterrupt):  # what there is by then is shown
            samples.extend(measured(bench, options.rows))
    found = rows(samples)
    machine = _machine(options, where) | {"load": [before, os.getloadavg()[0]]}
    document = {"version": 1, "machine": machine, "rows": found}
    print(json.dumps(document, indent=1) if options.json else show(found))
    say("load on {cores} cores: {load[0]:.1f} before, {load[1]:.1f} after".format(**machine))
    if any(row["wrong"] for row in found):
        sys.exit("Something came back other than it was sent, or did not come back")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="How fast it is, beside its peers.")
    listed = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--rows", default=",".join(NAMES), type=listed, help=",".join([*NAMES, "faults"]))
    parser.add_argument("--runs", type=int, help="of each contender; default 5, with --quick 2")
    parser.add_argument("--only", type=listed, help="these peers: s5cmd,rclone")
    parser.add_argument("--quick", action="store_true", help="a quarter of everything, in some minutes")
    parser.add_argument("--faults", action="store_true", help="a store that is not well, too")
    parser.add_argument("--latency", action="store_true", help="100 ms a request, 5 Gbit/s a connection: as S3")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--smaller", type=int, metavar="N", help="divide all sizes by N")
    parser.add_argument("--entries", type=int, metavar="N", help="of row E")
    parser.add_argument("--peers", type=lambda text: Path(text).absolute(), default=sys.prefix, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.runs = options.runs or (2 if options.quick else 5)
    options.sizes = workloads.Sizes().smaller(options.smaller or (4 if options.quick else 1))
    if entries := options.entries or (options.quick and QUICK_ENTRIES):
        options.sizes = dataclasses.replace(options.sizes, entries=entries)
    options.rows += ["faults"] * options.faults
    if "F" in options.rows and options.sizes.beside_bytes > (most := workloads.free_memory() // 2):
        options.sizes = dataclasses.replace(options.sizes, beside_bytes=most)
        say(f"row F has {most >> 20} MiB: half of the memory that is free")
    if unknown := set(options.rows) - {*NAMES, "faults"}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    return options


def _takes_part(peer: Contender, site: Site, only: Sequence[str] | None) -> bool:
    if only is not None and peer.name not in only:
        return False
    if missing := peer.missing(site):
        say(f"{missing}: left out")
    return not missing


def measured(bench: Bench, wanted: Sequence[str]) -> Iterator[Sample]:
    for name, row in ROWS.items():
        if name not in wanted and not (name in ("A", "B") and "D" in wanted):
            continue
        tree = bench.folder / name
        for sample in _to_its_end(name, row(bench, tree)):
            say(str(sample))
            if ("D" if sample.row.endswith(" down") else name) in wanted:
                yield sample
        shutil.rmtree(tree, ignore_errors=True)


def _to_its_end(name: str, samples: Iterator[Sample]) -> Iterator[Sample]:
    """A row that breaks is wrong, and the next one runs: half an hour of others is not lost with it."""
    try:
        yield from samples
    except Exception as error:
        traceback.print_exc()
        yield Sample(
            name, "the bench", Role.PEER, Measured(0, 0, 0, status=1), wrong=[f"{type(error).__name__}: {error}"]
        )


def _needed(options: argparse.Namespace) -> int:
    """At once, in the trees and in the server."""
    sizes: workloads.Sizes = options.sizes
    both = sizes.large_files * sizes.large_bytes + sizes.small_files * (20 << 10)
    needed = {
        "A": 3 * both,  # the tree, what is stored, what came back
        "B": 3 * both,
        "C": 5 * both,  # two layouts of the unchanged tree besides
        "D": 3 * both,
        "E": sizes.entries * (6 << 10),  # a page and an inode each
        "F": sizes.beside_bytes + (2 << 30),  # of what is saved, nothing is kept
        "G": 4 * sizes.checkpoint_bytes,
        "memory": max(sizes.entries * (7 << 10), 3 * sizes.dense_bytes // 2),
    }
    return max(needed.get(row, both) for row in options.rows)


def _machine(options: argparse.Namespace, where: str) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "trees": where,
        "latency": options.latency,
        "sizes": dataclasses.asdict(options.sizes),
    }


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
