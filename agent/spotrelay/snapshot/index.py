"""What we know without reading: files as they were at the last save or restore, and packs that the store has.

It lives in memory. An agent that starts anew restores first, and a restore fills it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from spotrelay.core.manifest import File, Pack
from spotrelay.snapshot.read import Stamp, stamp
from spotrelay.snapshot.scan import Found


@dataclass(slots=True)
class Index:
    files: dict[bytes, tuple[Stamp, File]] = field(default_factory=dict)
    packs: dict[str, Pack] = field(default_factory=dict)

    def unchanged(self, found: Found) -> File | None:
        """The file's entry, if nothing changed: ctime moves with content, mode, owner, links and attributes."""
        known = self.files.get(found.path)
        return known[1] if known is not None and known[0] == stamp(found.status) else None

    def forget(self, gone: Collection[str]) -> None:
        """Packs that the store has no longer, and with them the files that need one."""
        for digest in gone:
            self.packs.pop(digest, None)
        self.files = {
            path: (seen, file)
            for path, (seen, file) in self.files.items()
            if not any(extent.pack in gone for extent in file.extents)
        }
