"""The Store port over obstore: `s3://bucket/prefix`, `file:///folder`, and `memory://` for tests.

1. obstore speaks, `_classified` turns its errors into ours, `retry.retrying` tries again; nothing else does.
   obstore's own retries (10 in up to 3 minutes) are off: two policies multiply, and the inner one knows no deadline.
2. Create-only is S3's `If-None-Match: *`, and in a folder a hard link from a temporary file, which fails if the name
   is taken. S3 answers 409 for "somebody is at it, ask again", which obstore calls "exists" as well: so a refusal is
   believed only once the object has been seen.
3. A folder gets whole objects by rename or link, without fsync: what it must survive is a killed process, as
   rehearsals and tests have it. A run that must survive the machine keeps its store in S3.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions as theirs
from obstore.store import LocalStore, MemoryStore, S3Store

from spotrelay.aws.credentials import Credentials
from spotrelay.aws.retry import retrying
from spotrelay.core.errors import (
    AlreadyExists,
    MetadataUnavailable,
    NotFound,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UsageError,
)
from spotrelay.ports import BrowsableStore

if TYPE_CHECKING:
    from obstore import ObjectMeta

    from spotrelay.aws.download import Downloads

R = TypeVar("R")

# One call and its repetitions. A save has its own deadline and cancels what is under way; this is for calls that have
# none.
PATIENCE_S = 60.0
# One attempt, its body included: 16 MiB in 30 s are 0.6 MB/s. Longer means a stalled connection, and a new one helps.
ATTEMPT_S = 30
CONNECT_S = 5
SIGNED_FOR = timedelta(minutes=5)  # one attempt; S3 looks at the time when it begins
# S3 takes 10,000 parts: 16 MiB each allow for objects of 160 GB.
PART = 16 << 20
# What S3 deletes by one request.
BULK = 1000
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def open_store(
    url: str,
    *,
    credentials: Credentials | None = None,
    region: str | None = None,
    patience: float = PATIENCE_S,
    stream_s: float = ATTEMPT_S,
) -> BrowsableStore:
    """`patience`: seconds after which a call is not tried again. `stream_s`: how long one attempt of `get_stream` may
    take as long as something arrives. Raises UsageError.

    S3 takes its credentials and its region, if none are given, as boto3 does (environment, profile, instance role) and
    honours AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL; plain HTTP is spoken to loopback only. Nothing is connected to
    before the first call.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "s3" if parts.netloc:
            return ObjectStore(_s3(parts.netloc, parts.path.strip("/"), credentials, region), patience, stream_s)
        case "file" if not parts.netloc and len(parts.path) > 1:
            return ObjectStore(_folder(Path(unquote(parts.path))), patience)
        case "memory":
            return ObjectStore(MemoryStore(), patience)
        case _:
            raise UsageError(f"not a store's URL: {url!r}", next_step="use s3://bucket/prefix or file:///folder")


def _holds(folder: Path) -> bool:
    return any(files for _, _, files in os.walk(folder))


def _folder(path: Path) -> LocalStore:
    try:
        return LocalStore(path, mkdir=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be a store: {error}", next_step="name a folder that can be made") from error


def _s3(bucket: str, prefix: str, credentials: Credentials | None, region: str | None) -> S3Store:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    options: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    options |= {"region": region} if region else {}
    options["credential_provider"] = _credentials() if credentials is None else _Provider(credentials)
    return S3Store(
        bucket,
        prefix=prefix or None,
        # A signature over a pack's bytes takes SHA-256 of them: 0.8 s of CPU for 1.5 GiB. They are named by their hash
        # as it is, and TLS sees to it that what is sent arrives.
        unsigned_payload=True,
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=ATTEMPT_S)},
        client_options={
            "allow_http": endpoint is not None and urlsplit(endpoint).hostname in LOOPBACK,
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "timeout": timedelta(seconds=ATTEMPT_S),
        },
        **options,
    )


def _credentials() -> Any:
    """None leaves it to obstore, which knows the environment, but not what else boto3 looks at for what is missing."""
    said = {name for name, value in os.environ.items() if value}
    if said >= {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} and said & {"AWS_REGION", "AWS_DEFAULT_REGION"}:
        return None
    # Late: boto3 costs 0.35 s of CPU and 17 MB, and neither a folder nor plain keys need any of it.
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415

    return Boto3CredentialProvider()


class _Provider:
    """Credentials, as obstore asks for them: it keeps them until five minutes before they end."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def __call__(self) -> dict[str, Any]:
        keys = await self._credentials.keys()
        ends = None if keys.ends is None else datetime.fromtimestamp(keys.ends, UTC)
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": ends,
        }


class ObjectStore:
    """Fulfils ports.Store and ports.BrowsableStore over any of obstore's stores."""

    def __init__(self, store: LocalStore | MemoryStore | S3Store, patience: float, stream_s: float = ATTEMPT_S) -> None:
        self._store, self._patience, self._stream_s = store, patience, stream_s

    @cached_property
    def _downloads(self) -> Downloads:
        # Late: a save has no use for it, and http.client takes 9 ms of CPU to import.
        from spotrelay.aws.download import Downloads  # noqa: PLC0415

        return Downloads(self._stream_s)

    async def get(self, key: str) -> bytes:
        async def attempt() -> bytes:
            with _classified(key):
                found = await obstore.get_async(self._store, key)
                return bytes(await found.bytes_async())

        return await self._retrying(attempt)

    async def get_stream(self, key: str, begin: Callable[[], Callable[[memoryview], None]]) -> None:
        async def attempt() -> None:
            if isinstance(self._store, S3Store):
                with _classified(key):
                    url = await obstore.sign_async(self._store, "GET", key, SIGNED_FOR)
                await self._downloads.get(key, url, begin)
            else:
                with _classified(key):
                    data = await (await obstore.get_async(self._store, key)).bytes_async()
                await self._downloads.hand_over(memoryview(data), begin)

        await self._retrying(attempt)

    async def put(self, key: str, data: bytes | memoryview) -> None:
        if isinstance(self._store, MemoryStore):
            data = bytes(data)  # it would keep the caller's own memory
        await self._retrying(lambda: self._put(key, data, "overwrite"))

    async def put_stream(self, key: str, chunks: Callable[[], AsyncIterator[bytes]]) -> None:
        async def attempt() -> None:
            with _classified(key):
                await obstore.put_async(self._store, key, chunks(), chunk_size=PART, max_concurrency=4)

        await self._retrying(attempt)

    async def create(self, key: str, data: bytes) -> None:
        unanswered = False  # an earlier attempt may have arrived

        async def attempt() -> None:
            nonlocal unanswered
            try:
                await self._put(key, data, "create")
            except StoreUnavailable:
                unanswered = True
                raise
            except AlreadyExists:
                if not (await self._is_there(key, data) and unanswered):
                    raise

        await self._retrying(attempt)

    async def folders(self, prefix: str) -> list[str]:
        async def attempt() -> list[str]:
            with _classified(prefix):
                found = await obstore.list_with_delimiter_async(self._store, prefix.rstrip("/") or None)
            names = sorted(name.rpartition("/")[2] for name in found["common_prefixes"])
            if isinstance(self._store, LocalStore):
                # What is left of a folder on a disk when all in it has been deleted; a bucket has no such thing.
                root = Path(str(self._store.prefix), prefix)
                names = [name for name in names if await asyncio.to_thread(_holds, root / name)]
            return names

        return await self._retrying(attempt)

    async def list(self, prefix: str) -> list[str]:
        return list(await self.sizes(prefix))

    async def sizes(self, prefix: str) -> dict[str, int]:
        return {meta["path"]: meta["size"] for meta in await self._listing(prefix)}

    async def times(self, prefix: str) -> dict[str, float]:
        return {meta["path"]: meta["last_modified"].timestamp() for meta in await self._listing(prefix)}

    async def _listing(self, prefix: str) -> Sequence[ObjectMeta]:
        # obstore lists folders ("a/"), the port any beginning of a name ("a/b").
        folder = prefix.rpartition("/")[0]

        async def attempt() -> Sequence[ObjectMeta]:
            with _classified(prefix):
                found = await obstore.list(self._store, folder or None, chunk_size=1000).collect_async()
                return sorted((each for each in found if each["path"].startswith(prefix)), key=itemgetter("path"))

        return await self._retrying(attempt)

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        async def attempt() -> bytes:
            with _classified(key):
                try:
                    return bytes(await obstore.get_range_async(self._store, key, start=start, length=length))
                except theirs.GenericError as error:
                    if "non-partial response" not in str(error):
                        raise
            # A server may answer with the whole object; rclone does so where the range is all of it.
            return (await self.get(key))[start : start + length]

        return await self._retrying(attempt)

    async def delete(self, *keys: str) -> None:
        for begin in range(0, len(keys), BULK):
            some = keys[begin : begin + BULK]
            try:
                await self._delete(some)
            except NotFound:  # a folder minds, and stops there; S3 does not
                for key in some:
                    with suppress(NotFound):
                        await self._delete([key])

    async def _delete(self, keys: Sequence[str]) -> None:
        async def attempt() -> None:
            with _classified(keys[0]):
                await obstore.delete_async(self._store, list(keys))

        await self._retrying(attempt)

    async def _put(self, key: str, data: bytes | memoryview, mode: Any) -> None:
        with _classified(key):
            await obstore.put_async(self._store, key, data, mode=mode, use_multipart=False)

    async def _is_there(self, key: str, data: bytes) -> bool:
        """Whether the object that stands in the way has these bytes. Raises StoreUnavailable if there is none."""
        try:
            with _classified(key):
                found = await obstore.get_async(self._store, key)
                return bytes(await found.bytes_async()) == data
        except NotFound as error:
            raise StoreUnavailable(f"{key}: refused for a conflict, but there is no such object") from error

    async def _retrying(self, attempt: Callable[[], Awaitable[R]]) -> R:
        return await retrying(attempt, patience=self._patience)


@contextmanager
def _classified(key: str) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise _classify(key, error) from error


# What tells errors apart within obstore's GenericError is their text alone: S3's codes, and the system's error numbers.
_DENIALS = (theirs.PermissionDeniedError, theirs.UnauthenticatedError)
# Of the keys' own source: a metadata service that does not answer now.
_ASKED_IN_VAIN = (MetadataUnavailable.__name__,)
_DENIED = (
    "ExpiredToken",
    "InvalidToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "NoCredentials",
    "(os error 13)",
)
_FULL = ("(os error 28)", "(os error 122)", "507 Insufficient Storage", "QuotaExceeded")
_WRONG = (
    "(os error 20)",
    "(os error 21)",
    "NotImplemented",
    "InvalidBucketName",
    "redirect without LOCATION",
    "Bad Request",
)


def _classify(key: str, error: Exception) -> StoreError:
    said = str(error).partition("\n\nDebug source:")[0]
    what = f"{key}: {said}"
    match error:
        case _ if "NoSuchBucket" in said:
            known = StoreError(what, next_step="create the bucket, or correct the store's URL")
        case FileNotFoundError():
            known = NotFound(f"{key}: there is no such object")
        case theirs.UnauthenticatedError() if _has(error, _ASKED_IN_VAIN):
            known = StoreUnavailable(what)
        case theirs.AlreadyExistsError():
            known = AlreadyExists(f"{key}: exists already")
        case _ if isinstance(error, _DENIALS) or _has(error, _DENIED):
            known = StoreDenied(what, next_step="see that the role or profile may use this bucket and prefix")
        case _ if _has(error, _FULL):
            known = StoreFull(what, next_step="make room, or choose another store")
        case theirs.GenericError() | TimeoutError() if not _has(error, _WRONG):
            known = StoreUnavailable(what)
        case _:
            known = StoreError(what)
    return known


def _has(error: Exception, signs: tuple[str, ...]) -> bool:
    return any(sign in str(error) or sign in type(error).__name__ for sign in signs)
