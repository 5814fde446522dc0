"""A store in memory, with the promises of `launcher.objects` (tests/launcher/test_objects.py holds it to them).

A storm of ten thousand runs makes half a million objects and reads them several times: as files that is minutes.
For the timeline's tasks, of which one runs at a time; what threads may race for is `create`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence


class Memory:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._data: dict[str, bytes] = {}
        # By folder, the names in it; those of folders end in a slash.
        self._names: dict[str, set[str]] = {"": set()}

    def get(self, key: str) -> bytes | None:
        return self._data.get(key)

    def create(self, key: str, data: bytes) -> bool:
        with self._lock:
            if key in self._data:
                return False
            self.put(key, data)
            return True

    def put(self, key: str, data: bytes) -> None:
        self._data[key] = data
        self._enter(key)

    def list(self, prefix: str) -> Sequence[str]:
        folder, slash, beginning = prefix.rpartition("/")
        names = self._names.get(folder + slash, ())
        return sorted(key for name in names if name.startswith(beginning) for key in self._below(folder + slash + name))

    def folders(self, prefix: str) -> Sequence[str]:
        return sorted(name[:-1] for name in self._names.get(prefix, ()) if name.endswith("/"))

    def delete(self, key: str) -> None:
        if self._data.pop(key, None) is None:
            return
        while key:
            folder = key.rstrip("/").rpartition("/")
            parent = folder[0] + folder[1]
            self._names[parent].discard(key.removeprefix(parent))
            if self._names[parent] or not parent:
                return
            del self._names[parent]
            key = parent

    def _enter(self, key: str) -> None:
        while key:
            folder = key.rstrip("/").rpartition("/")
            parent = folder[0] + folder[1]
            known = parent in self._names
            self._names.setdefault(parent, set()).add(key.removeprefix(parent))
            if known:
                return
            key = parent

    def _below(self, key: str) -> Iterator[str]:
        if not key.endswith("/"):
            yield key
            return
        for name in self._names[key]:
            yield from self._below(key + name)
