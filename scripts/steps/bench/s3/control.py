"""The bench's own door, below `/_`.

GET  /_counts            what happened since the last time, and starts again from zero
POST /_clear             no buckets
POST /_empty?bucket=a    bucket a is there and empty
POST /_fork?from=a&to=b  bucket b holds what a does; the bytes are shared
POST /_warm?bytes=n      so much memory is touched, before somebody is measured who would pay for it
POST /_mischief          a JSON object of Mischief's fields; what it does not name is off
GET  /_hashes?bucket=a   {key: BLAKE2b of its bytes}
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .memory import trim, warm
from .messages import Answer, Request, refusal
from .mischief import Mischief
from .storage import Bucket, Storage


class Control:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.mischief = Mischief()
        self.counts = Counter[str]()

    def answer(self, request: Request) -> Answer:
        asked = self._asked(request.place[0], request.query, request.body)
        return refusal(404, "NoSuchControl") if asked is None else Answer(body=json.dumps(asked).encode())

    def _asked(self, what: str, query: dict[str, str], body: memoryview) -> dict[str, Any] | None:
        buckets, told = self._storage.buckets, dict[str, Any]()
        match what:
            case "_counts":
                told = {**self.counts, "cpu_s": sum(os.times()[:2])}
                self.counts.clear()
            case "_clear":
                buckets.clear()
                self._storage.uploads.clear()
                trim()
            case "_empty":
                buckets[query["bucket"]] = Bucket()
            case "_fork":
                buckets[query["to"]] = Bucket(dict(buckets[query["from"]].objects))
            case "_mischief":
                self.mischief = Mischief(**json.loads(bytes(body)))
            case "_warm":
                warm(int(query["bytes"]))
            case "_hashes":
                told = {key: _hash(found.parts) for key, found in buckets[query["bucket"]].objects.items()}
            case _:
                return None
        return told


def _hash(parts: Iterable[memoryview]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
