"""The keys that requests are signed with: asked for once, renewed before they end, for the store and the queue alike.

1. An instance has a role, and the metadata service has its keys: two questions of a client that is there anyway.
2. Who says more than that gets what botocore makes of it: keys in the environment are taken as they are; a profile, a
   file, a web identity or a container's endpoint goes through botocore's own chain.
3. botocore only then: an agent that has it holds 20 MiB more for as long as a run takes, and boots 0.34 s of CPU later.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from spotrelay.core.errors import StoreDenied
from spotrelay.ports import Metadata

ROLE_PATH = "meta-data/iam/security-credentials/"
# EC2 has new ones five minutes before the old ones end, at the latest; botocore begins to look a quarter of an hour
# before, so that a metadata service which is away for some minutes costs nothing.
RENEW_BEFORE_S = 900.0
# botocore renews by itself, and does not say when what it has ends. Half an hour is obstore's own choice for it.
CHAIN_ASKED_EVERY_S = 1800.0
# Of botocore's sources those that are neither the environment's own keys nor the role.
_CHAIN = {
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
}
_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}


@dataclass(frozen=True, slots=True)
class Keys:
    """`ends`: seconds since 1970; None, if they never do."""

    access_key: str
    secret_key: str
    token: str | None = None
    ends: float | None = None


class Credentials(Protocol):
    async def keys(self) -> Keys:
        """Good for a request that begins now. Raises StoreDenied and MetadataUnavailable."""
        ...


def of_instance(metadata: Metadata, environment: Mapping[str, str], *, wall: Callable[[], float]) -> Credentials:
    """What signs on an instance. `wall`: the time of day, in seconds since 1970."""
    said = {name for name, value in environment.items() if value}
    if said >= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}:
        token = environment.get("AWS_SESSION_TOKEN") or None
        return Given(Keys(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], token))
    files = [Path(environment.get(name) or default).expanduser() for name, default in _FILES.items()]
    if said & _CHAIN or any(file.is_file() for file in files):
        return Chain()
    return Role(metadata, wall=wall)


class Given:
    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def keys(self) -> Keys:
        return self._keys


class Role:
    """The instance's. A service that fails is of no account while the keys at hand are good."""

    def __init__(self, metadata: Metadata, *, wall: Callable[[], float] = time.time) -> None:
        self._metadata, self._wall = metadata, wall
        self._known: Keys | None = None
        self._asking = asyncio.Lock()  # a save's first requests come by dozens

    async def keys(self) -> Keys:
        if (known := self._good_for(RENEW_BEFORE_S)) is not None:
            return known
        async with self._asking:
            if (known := self._good_for(RENEW_BEFORE_S)) is not None:
                return known
            try:
                self._known = await self._ask()
            except Exception:
                if (known := self._good_for(0)) is None:
                    raise
                return known
            return self._known

    def _good_for(self, seconds: float) -> Keys | None:
        known = self._known
        return known if known is not None and known.ends is not None and known.ends - self._wall() > seconds else None

    async def _ask(self) -> Keys:
        names = (await self._metadata.text(ROLE_PATH) or "").split()
        document = await self._metadata.text(ROLE_PATH + names[0]) if names else None
        if document is None:
            raise StoreDenied("the instance has no role", next_step="give it an instance profile that has one")
        try:
            return _keys(json.loads(document))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreDenied(
                f"the metadata service has no keys for the role {names[0]}: {document[:200]}",
                next_step="see that the role exists, and that EC2 may assume it",
            ) from error


def _keys(document: dict[str, Any]) -> Keys:
    return Keys(
        document["AccessKeyId"],
        document["SecretAccessKey"],
        document["Token"],
        datetime.fromisoformat(document["Expiration"]).replace(tzinfo=UTC).timestamp(),
    )


class Chain:
    """botocore's own, in a thread: some of its sources are other programs, or other services."""

    def __init__(self, profile: str | None = None) -> None:
        self._profile = profile
        self._source: Any = None

    async def keys(self) -> Keys:
        return await asyncio.to_thread(self._find)

    def _find(self) -> Keys:
        if self._source is None:
            import botocore.session  # noqa: PLC0415 - see the head of this file

            self._source = botocore.session.Session(profile=self._profile).get_credentials()
        if self._source is None:
            raise StoreDenied("there are no credentials", next_step="see what the profile or file says")
        frozen = self._source.get_frozen_credentials()
        return Keys(frozen.access_key, frozen.secret_key, frozen.token, time.time() + CHAIN_ASKED_EVERY_S)
