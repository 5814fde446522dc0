"""The table's arithmetic."""

from __future__ import annotations

import json

from bench.measure import Measured
from bench.sample import Role, Sample
from bench.table import rows, show


def sample(who: str, role: Role, wall_s: float, cpu_s: float, *wrong: str, row: str = "A up") -> Sample:
    return Sample(row, who, role, Measured(wall_s, cpu_s, 1_000_000), {"PUT": 2, "bytes_in": 7}, wrong=wrong)


SAMPLES = [
    *(sample("spotrelay", Role.OURS, wall, 1.0) for wall in (9.0, 1.0, 2.0)),
    sample("fast", Role.PEER, 4.0, 10.0),
    sample("thrifty", Role.PEER, 8.0, 5.0),
    sample("broken", Role.PEER, 0.1, 0.1, "a\nis missing"),
    sample("the limit", Role.LIMIT, 1.0, 0.5),
    sample("spotrelay", Role.OURS, 3.0, 3.0, row="B up"),
]


def test_a_row_is_the_median_and_its_ratios() -> None:
    """To the best peer by each measure, which need not be the same peer, and to the limit. One that brought back other
    bytes is no peer to be compared with. Otherwise the fastest way to lose data wins.
    """
    ours, *_, alone = rows(SAMPLES)

    assert (3, 2.0, 1.0, 2, 7) == tuple(ours[name] for name in ("runs", "wall_s", "cpu_s", "requests", "bytes_in"))
    assert (0.5, 0.2) == (ours["wall_to_best_peer"], ours["cpu_to_best_peer"])
    assert (2.0, 2.0) == (ours["wall_to_limit"], ours["cpu_to_limit"])
    assert ("B up", None, None) == (alone["row"], alone["wall_to_best_peer"], alone["wall_to_limit"])


def test_the_document_is_json_and_the_table_names_what_is_wrong() -> None:
    found = rows(SAMPLES)

    assert found == json.loads(json.dumps(found))
    assert 2 + len(found) == len(show(found).splitlines())
    assert ["WRONG: a is missing |"] == [line[-21:] for line in show(found).splitlines() if "broken" in line]


def test_figures_of_a_row_are_medians_too() -> None:
    samples = [
        Sample("E", "spotrelay", Role.OURS, Measured(1, 1, 1), figures={"bytes": number}, note="right")
        for number in (1, 5, 600)
    ]

    assert [({"bytes": 5}, ["right"])] == [(row["figures"], row["notes"]) for row in rows(samples)]
    assert "| bytes 5, right |" in show(rows(samples))
