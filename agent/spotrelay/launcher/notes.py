"""What was learned of pools lately, by any launcher of the stack: kept as empty objects whose names say it.

    pools/evicted/<slot>/<type>@<zone>                  it took an instance from us, in this half hour
    pools/unsupported-<market>/<slot>/<type>@<zone>     the zone does not offer the type there, as of this day

Some types are not to be had on spot at all (hpc7a, mac2): that says nothing about them on demand.

A slot is a stretch of time, so a note is written once and forgotten by itself; the present slot and the one before are
read. Notes only change the order of a hunt: one that is missing or wrong costs a try.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from spotrelay.core import keys
from spotrelay.core.errors import StoreError
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.pools import Place

EVICTED = "evicted"
UNSUPPORTED = {market: f"unsupported-{market}" for market in ("spot", "on-demand")}
SLOT_S = {EVICTED: 1800, **dict.fromkeys(UNSUPPORTED.values(), 86_400)}
# Two listings each half minute at most, whatever the storm.
FRESH_S = 30.0


@dataclass
class _Seen:
    places: frozenset[Place] = frozenset()
    until: float = 0.0
    written: set[str] = field(default_factory=set)


class Notes:
    def __init__(self, objects: Objects, now: Callable[[], float]) -> None:
        self._objects, self._now = objects, now
        self._seen = {note: _Seen() for note in SLOT_S}
        self._lock = threading.Lock()

    def places(self, note: str) -> frozenset[Place]:
        """Never raises for the store's sake: a hunt goes on without."""
        seen, now = self._seen[note], self._now()
        with self._lock:
            if now < seen.until:
                return seen.places
            seen.until = now + FRESH_S
        slot = int(now // SLOT_S[note])
        try:
            names = [name for each in (slot - 1, slot) for name in self._objects.list(keys.pool_notes(note, each))]
        except StoreError:
            return seen.places
        seen.places = frozenset(_place(name) for name in names)
        return seen.places

    def write(self, note: str, place: Place) -> None:
        seen, now = self._seen[note], self._now()
        key = keys.pool_note(note, int(now // SLOT_S[note]), place.type, place.zone)
        if key in seen.written or not (place.type and place.zone):
            return
        try:
            self._objects.create(key, b"")
        except StoreError:
            return
        seen.written.add(key)
        seen.places |= {place}


def _place(name: str) -> Place:
    kind, _, zone = name.rsplit("/", 1)[-1].partition("@")
    return Place(kind, zone)
