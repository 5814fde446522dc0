"""Samples become rows: medians, and how they stand to the best peer and to the limit."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .sample import Role, Sample


def rows(samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """One for each row and contender, in the order of their first sample."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.row, sample.who), []).append(sample)
    found = [_row(row, who, group) for (row, who), group in groups.items()]
    for each in found:
        beside = [other for other in found if other["row"] == each["row"] and not other["wrong"]]
        peers = [other for other in beside if other["role"] == Role.PEER.value]
        limit = [other for other in beside if other["role"] == Role.LIMIT.value]
        for what in ("wall", "cpu"):
            each[f"{what}_to_best_peer"] = _ratio(each, peers, f"{what}_s")
            each[f"{what}_to_limit"] = _ratio(each, limit, f"{what}_s")
    return found


def _row(row: str, who: str, samples: Sequence[Sample]) -> dict[str, Any]:
    def median(value: Callable[[Sample], float]) -> float:
        return statistics.median(value(sample) for sample in samples)

    return {
        "row": row,
        "who": who,
        "role": samples[0].role.value,
        "runs": len(samples),
        "wall_s": median(lambda s: s.measured.wall_s),
        "cpu_s": median(lambda s: s.measured.cpu_s),
        "peak_rss": median(lambda s: s.measured.peak_rss),
        "requests": median(lambda s: s.requests),
        "bytes_in": median(lambda s: s.counts.get("bytes_in", 0)),
        "bytes_out": median(lambda s: s.counts.get("bytes_out", 0)),
        "figures": {name: median(lambda s, name=name: s.figures[name]) for name in samples[0].figures},  # type: ignore[misc]
        "quartiles": {name: _quartiles([s.figures[name] for s in samples]) for name in samples[0].figures},
        "notes": sorted({sample.note for sample in samples if sample.note}),
        "wrong": [words for sample in samples for words in sample.wrong],
    }


def _quartiles(values: Sequence[float]) -> list[float]:
    """The lower and the upper."""
    return statistics.quantiles(values, n=4, method="inclusive")[::2] if len(values) > 1 else [values[0]] * 2


def _ratio(one: dict[str, Any], others: Sequence[dict[str, Any]], what: str) -> float | None:
    """To the best of the others, by the same measure. The best peer in wall time may be another than in CPU time."""
    best = min((other[what] for other in others), default=0)
    return one[what] / best if best else None


def show(found: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| row | who | n | wall s | CPU s | peak MB | requests | wall, best peer | CPU, best peer | wall, limit |  |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for each in found:
        ratios = (each["wall_to_best_peer"], each["cpu_to_best_peer"], each["wall_to_limit"])
        lines.append(
            f"| {each['row']} | {each['who']} | {each['runs']} | {each['wall_s']:.2f} | {each['cpu_s']:.2f} "
            f"| {each['peak_rss'] / 1e6:.0f} | {each['requests']:,.0f} | {' | '.join(map(_times, ratios))} "
            f"| {_words(each)} |"
        )
    return "\n".join(lines)


def _words(each: dict[str, Any]) -> str:
    if each["wrong"]:
        return f"WRONG: {' '.join(each['wrong'][0].split())[:200]}"
    return ", ".join([*(_figure(each, name) for name in each["figures"]), *each["notes"]])


def _figure(each: dict[str, Any], name: str) -> str:
    """A percentage may be all noise: so with its quartiles."""
    low, high = each["quartiles"][name]
    spread = f" ({low:,.3g} to {high:,.3g})" if name.endswith("%") and low < high else ""
    return f"{name} {each['figures'][name]:,.3g}{spread}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f} ×"
