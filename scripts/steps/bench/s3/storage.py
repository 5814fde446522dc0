"""Buckets and objects."""

from __future__ import annotations

import bisect
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_numbers = itertools.count(1)


@dataclass(slots=True)
class Object:
    """`parts` one after the other are its bytes. `about`: the headers that come back with it."""

    parts: Sequence[memoryview]
    about: dict[str, str] = field(default_factory=dict)
    # The dash says "not an MD5", as after a multipart upload: no client then holds its own MD5 against it.
    etag: str = field(default_factory=lambda: f'"{next(_numbers):032x}-1"')
    modified: float = field(default_factory=time.time)
    size: int = 0

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.parts))

    def slices(self, begin: int, end: int) -> Iterator[memoryview]:
        at = 0
        for part in self.parts:
            if at < end and begin < at + len(part):
                yield part[max(0, begin - at) : end - at]
            at += len(part)


@dataclass(slots=True)
class Upload:
    about: dict[str, str]
    parts: dict[int, Object] = field(default_factory=dict)


class Bucket:
    def __init__(self, objects: dict[str, Object] | None = None) -> None:
        self.objects = objects or {}
        self._sorted: list[str] | None = None

    def put(self, key: str, found: Object) -> None:
        if key not in self.objects:
            self._sorted = None
        self.objects[key] = found

    def delete(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            self._sorted = None

    def page(self, prefix: str, after: str, most: int, delimiter: str) -> Page:
        """What comes after `after`. A name of `Page.folders` stands for all that begin with it."""
        if self._sorted is None:
            self._sorted = sorted(self.objects)
        keys, page = self._sorted, Page()
        at = max(bisect.bisect_left(keys, prefix), bisect.bisect_right(keys, after))
        while at < len(keys) and keys[at].startswith(prefix):
            if len(page.keys) + len(page.folders) == most:
                page.more = True
                break
            cut = keys[at].find(delimiter, len(prefix)) if delimiter else -1
            if cut < 0:
                page.keys.append(keys[at])
                page.last = keys[at]
                at += 1
            else:
                folder = keys[at][: cut + len(delimiter)]
                page.folders.append(folder)
                page.last = folder + "\U0010ffff"
                at = bisect.bisect_right(keys, page.last)
        return page


@dataclass(slots=True)
class Page:
    keys: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    last: str = ""
    more: bool = False


@dataclass(slots=True)
class Storage:
    buckets: dict[str, Bucket] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)

    def begin_upload(self, about: dict[str, str]) -> str:
        name = f"upload-{next(_numbers)}"
        self.uploads[name] = Upload(about)
        return name
