"""The store as the launcher sees it: a few calls on small objects, by boto3 or by the standard library.

The agent moves gigabytes through obstore; the launcher reads and writes some hundred bytes, and its zip carries no
wheel. `tests/contracts/test_store.py` holds both to the same promises, so that what one writes the other reads.
"""

from __future__ import annotations

import os
import secrets
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import boto3
import botocore.exceptions
from botocore.config import Config

from spotrelay.core.errors import StoreDenied, StoreError, StoreUnavailable, UsageError

CONFIG = Config(
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=32,  # as many as the launcher has threads, and some
)
# S3's 409 for two at once says neither that there is one nor that there is none: it wants to be asked again, which
# botocore does not do by itself. Each time one of those who are at it has come through.
MOST_CONFLICTS = 5
_DENIED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "NoSuchBucket"}


class Objects(Protocol):
    def get(self, key: str) -> bytes | None:
        """None when there is no such object."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write it if there is none; False when there is one. (A bucket says True when that has the very same bytes: it
        cannot tell an earlier try of ours, whose answer was lost, from somebody else's.)"""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write it, whatever there was."""
        ...

    def list(self, prefix: str) -> Sequence[str]:
        """Names that begin with `prefix`, sorted."""
        ...

    def folders(self, prefix: str) -> Sequence[str]:
        """The next words below `prefix` (which ends in /) that have something below them, sorted, without the slash."""
        ...

    def delete(self, key: str) -> None:
        """Gone afterwards, whether or not it was there."""
        ...


def open_objects(url: str) -> Objects:
    """`s3://bucket/prefix` or `file:///folder`."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
        return Folder(Path(urllib.parse.unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return Bucket(parts.netloc, parts.path.strip("/"))
    raise UsageError(f"not a store: {url!r}", next_step="give s3://bucket/prefix or file:///folder")


class Folder:
    """Objects as files. A temporary name ends in #digits, which obstore's folder store leaves out of listings too."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, key: str) -> bytes | None:
        try:
            return (self._root / key).read_bytes()
        except FileNotFoundError:
            return None

    def create(self, key: str, data: bytes) -> bool:
        staged = self._stage(key, data)
        try:
            os.link(staged, self._root / key)  # fails where a rename would replace
        except FileExistsError:
            return False
        finally:
            staged.unlink()
        return True

    def put(self, key: str, data: bytes) -> None:
        self._stage(key, data).replace(self._root / key)

    def _stage(self, key: str, data: bytes) -> Path:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f"{path.name}#{secrets.randbelow(10**12)}")
        staged.write_bytes(data)
        return staged

    def list(self, prefix: str) -> Sequence[str]:
        folder = (self._root / prefix).parent if not prefix.endswith("/") else self._root / prefix
        found = (path.relative_to(self._root).as_posix() for path in folder.rglob("*") if path.is_file())
        return sorted(key for key in found if key.startswith(prefix) and "#" not in key)

    def folders(self, prefix: str) -> Sequence[str]:
        here = self._root / prefix
        return sorted(path.name for path in here.iterdir() if path.is_dir()) if here.is_dir() else []

    def delete(self, key: str) -> None:
        (self._root / key).unlink(missing_ok=True)


class Bucket:
    """Objects in S3. Errors come as StoreDenied (final) or StoreUnavailable (the message will be tried again)."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._client: Any = boto3.client("s3", config=CONFIG)
        self._creator: Any = boto3.client("s3", config=CONFIG)
        # The parameter IfNoneMatch is younger (1.36) than the boto3 that a Lambda runtime may bring; the header is not.
        self._creator.meta.events.register("before-call.s3.PutObject", _only_if_there_is_none)

    def close(self) -> None:
        self._client.close()
        self._creator.close()

    def get(self, key: str) -> bytes | None:
        try:
            data: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"].read()
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            if _code(error) in ("NoSuchKey", "404"):
                return None
            raise _classified(error, key) from error
        return data

    def create(self, key: str, data: bytes) -> bool:
        for left in range(MOST_CONFLICTS, -1, -1):
            try:
                self._creator.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data)
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
                if _code(error) in ("PreconditionFailed", "412"):
                    return self.get(key) == data  # ours, when an earlier try got there and its answer was lost
                if _code(error) == "ConditionalRequestConflict" and left:
                    continue
                raise _classified(error, key) from error
            break
        return True

    def put(self, key: str, data: bytes) -> None:
        try:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise _classified(error, key) from error

    def list(self, prefix: str) -> Sequence[str]:
        return [each["Key"].removeprefix(self._prefix) for each in self._pages(prefix, "Contents")]

    def folders(self, prefix: str) -> Sequence[str]:
        found = self._pages(prefix, "CommonPrefixes", Delimiter="/")
        return [each["Prefix"].removeprefix(self._prefix + prefix).rstrip("/") for each in found]

    def delete(self, key: str) -> None:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise _classified(error, key) from error

    def _pages(self, prefix: str, part: str, **options: str) -> Sequence[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix, **options
        )
        try:
            return [each for page in pages for each in page.get(part, [])]
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise _classified(error, prefix) from error


def _only_if_there_is_none(params: dict[str, Any], **_: Any) -> None:
    params["headers"]["If-None-Match"] = "*"


def _code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _classified(error: Exception, key: str) -> StoreError:
    if _code(error) in _DENIED:
        return StoreDenied(f"{key}: {error}", next_step="check the launcher's role and the store's URL")
    return StoreUnavailable(f"{key}: {error}", next_step="the message will be delivered again")
