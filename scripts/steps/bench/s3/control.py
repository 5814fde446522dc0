"""The bench's own door, below `/_`.

GET  /_counts            what happened since the last time, and starts again from zero
POST /_clear             no buckets
POST /_fork?from=a&to=b  bucket b holds what a does; the bytes are shared
POST /_mischief          a JSON object of Mischief's fields; what it does not name is off
GET  /_hashes?bucket=a   {key: BLAKE2b of its bytes}
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter

from .messages import Answer, Request, refusal
from .mischief import Mischief
from .storage import Bucket, Storage


class Control:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.mischief = Mischief()
        self.counts = Counter[str]()

    def answer(self, request: Request) -> Answer:
        query = request.query
        match request.place[0]:
            case "_counts":
                told = {**self.counts, "cpu_s": sum(os.times()[:2])}
                self.counts.clear()
                return _json(told)
            case "_clear":
                self._storage.buckets.clear()
                self._storage.uploads.clear()
                return _json({})
            case "_fork":
                self._storage.buckets[query["to"]] = Bucket(dict(self._storage.buckets[query["from"]].objects))
                return _json({})
            case "_mischief":
                self.mischief = Mischief(**json.loads(bytes(request.body)))
                return _json({})
            case "_hashes":
                objects = self._storage.buckets[query["bucket"]].objects
                return _json({key: _hash(found.parts) for key, found in objects.items()})
        return refusal(404, "NoSuchControl")


def _json(document: object) -> Answer:
    return Answer(200, [("Content-Type", "application/json")], json.dumps(document).encode())


def _hash(parts: object) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:  # type: ignore[attr-defined]
        digest.update(part)
    return digest.hexdigest()
