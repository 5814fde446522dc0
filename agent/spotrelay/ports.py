"""What the relay needs of the outside world. Each method's contract is its docstring; `tests/contracts/` holds every
implementation to it, fakes and real ones alike.

A port says what is meant, not how it is asked for: no ARNs, no HTTP, no SDK types. Errors are those of
`core.errors` and nothing else; an adapter that lets a library's own exception through is broken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from spotrelay.core.messages import ResumeRequest


@dataclass(frozen=True, slots=True)
class Identity:
    """Where this instance is and what it is. `market` is "spot", "on-demand", or another word of EC2's."""

    instance_id: str
    instance_type: str
    zone: str
    region: str
    market: str


class Metadata(Protocol):
    """The instance's own metadata service."""

    async def text(self, path: str) -> str | None:
        """The document at `path` below `/latest/` (`meta-data/instance-id`); None when there is none (404).

        Raises MetadataUnavailable for every other answer and for none at all. A token that the service no longer
        knows (401) is renewed once inside of the call.
        """
        ...

    def server_now(self) -> float | None:
        """EC2's own UTC, in seconds since 1970, carried on from the `Date` of the newest answer; None before there
        is one. The instance's clock may be minutes off while a notice's `time` is EC2's."""
        ...


class Store(Protocol):
    """Objects by name, in a bucket or a folder. Every write is whole or not there at all."""

    async def get(self, key: str) -> bytes:
        """The object's bytes. Raises NotFound."""
        ...

    async def get_stream(self, key: str, begin: Callable[[], Callable[[memoryview], None]]) -> None:
        """Hand the object's bytes over in order, a chunk at a time, to what `begin` returns; each try begins anew.

        Both are called in a thread of the store's, `take(chunk)` with memory that is good until it returns. When
        this has returned or raised, cancelled or not, they are not called any more. Raises NotFound, and what they
        raise.
        """
        ...

    async def put(self, key: str, data: bytes | memoryview) -> None:
        """Write the object, whole, replacing one that is there. `data` may change once this has returned; if it
        raises, never."""
        ...

    async def put_stream(self, key: str, chunks: Callable[[], AsyncIterator[bytes]]) -> None:
        """As `put`, for what is too large for memory. A retry calls `chunks` anew."""
        ...

    async def create(self, key: str, data: bytes) -> None:
        """Write the object only if there is none. Of many who try, exactly one returns.

        Raises AlreadyExists. After a retry whose first try did arrive, an object with these very bytes counts as
        ours and the call returns: callers put what makes them unique (instance id, a token) into `data`.
        """
        ...

    async def list(self, prefix: str) -> list[str]:
        """Names that begin with `prefix`, sorted. Strongly consistent, as S3 is."""
        ...

    async def delete(self, *keys: str) -> None:
        """Remove these objects, in as few requests as there can be (S3: 1,000 in one); none there is no error.

        What it raises leaves any of them there, or none.
        """
        ...


class BrowsableStore(Store, Protocol):
    """What a person's commands ask of a store beside what an agent does; the agent's role may not do it at all."""

    async def folders(self, prefix: str) -> list[str]:
        """The folders right below `prefix`, a folder's name with its `/`, or "": `folders("runs/")` is `["a", "b"]`,
        sorted. One request for a thousand of them, whatever is in them (S3: a listing with a delimiter)."""
        ...

    async def sizes(self, prefix: str) -> dict[str, int]:
        """As `list`, with the bytes that each object has."""
        ...

    async def times(self, prefix: str) -> dict[str, float]:
        """As `list`, with when each object was written, in unix seconds of the store's own clock."""
        ...

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """The object's bytes from `start` on, at most `length` of them: fewer where it ends. It has a byte at `start`.
        Raises NotFound."""
        ...


class Secrets(Protocol):
    """What a run's spec names and does not hold."""

    async def read(self, name: str) -> str:
        """Raises SecretRefused, SecretUnavailable; neither says anything of the value."""
        ...


class ResumeQueue(Protocol):
    """The doorbell of the launcher."""

    async def post(self, request: ResumeRequest) -> None:
        """Deliver at least once, or raise QueueError."""
        ...
