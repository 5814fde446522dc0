"""The command's output reaches the store: all of it, once, whatever the store does."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from spotrelay.command.output import LONGEST_LINE, OutputShipper, newest_line
from spotrelay.core import keys
from spotrelay.core.errors import StoreDenied, StoreUnavailable
from spotrelay.ports import Store
from support.processes import eventually
from support.stores import Recording, everything, failing, memory

BLOCK = 4096  # what file systems give back


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "output.log"


def shipper(store: Store, path: Path, *, segment_bytes: int = 1 << 20) -> OutputShipper:
    return OutputShipper(store, "run", 1, path, segment_bytes=segment_bytes, period=0.005)


async def segments(store: Store) -> list[bytes]:
    return [await store.get(key) for key in await store.list(keys.log("run", 1))]


async def test_lines_arrive_while_the_command_runs(path: Path) -> None:
    """What is written is in the store a period later, in order. Otherwise nobody sees what a machine that died did."""
    store = memory()
    running = asyncio.ensure_future(shipper(store, path).run())
    with path.open("ab", buffering=0) as file:
        for number in range(5):
            file.write(b"line %d\n" % number)
            while b"".join(await segments(store)).count(b"\n") <= number:
                await asyncio.sleep(0.002)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert b"".join(b"line %d\n" % number for number in range(5)) == b"".join(await segments(store))


async def test_segments_hold_no_more_than_they_may(path: Path) -> None:
    """A long output becomes segments of the given size, the last one shorter: memory is that of one segment."""
    path.write_bytes(content := os.urandom(10_500))
    store = memory()

    assert await shipper(store, path, segment_bytes=1000).finish(None) == 10_500
    assert [1000] * 10 + [500] == [len(segment) for segment in await segments(store)]
    assert content == b"".join(await segments(store))


async def test_command_without_output(path: Path) -> None:
    """A command that never wrote, or never started, has no segment, and that is no error."""
    store = memory()

    assert await shipper(store, path).finish(None) == 0
    path.touch()
    assert await shipper(store, path).finish(None) == 0
    assert await everything(store) == {}


async def test_nothing_lost_or_doubled_while_the_store_fails(path: Path) -> None:
    """Calls fail before or after they arrived, while the file grows: what is joined is what was written. Otherwise a
    person reads lines twice that were printed once, or misses the one that explains the end."""
    inner = memory()
    store = Recording(inner)
    count = 0

    async def before(method: str, _key: str) -> None:
        nonlocal count
        count += 1
        if method == "create" and count % 3 == 0:
            raise StoreUnavailable("throttled")

    async def after(method: str, _key: str) -> None:
        if method == "create" and count % 4 == 0:
            raise StoreUnavailable("the answer was lost")

    store.before, store.after = before, after
    shipping = shipper(store, path, segment_bytes=300)
    running = asyncio.ensure_future(shipping.run())
    written = b""
    with path.open("ab", buffering=0) as file:
        for _ in range(40):
            file.write(line := os.urandom(100))
            written += line
            await asyncio.sleep(0.002)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    deadline = asyncio.get_running_loop().time() + 20
    assert len(written) == await shipping.finish(deadline)
    assert written == b"".join(await segments(inner))


async def test_lost_answer_fixes_the_segment(path: Path) -> None:
    """A segment that may have arrived keeps its range, though the file has grown since. Otherwise what arrived is taken
    for another writer's, and the log ends there."""
    inner = memory()
    store = Recording(inner)

    async def lose(method: str, _key: str) -> None:
        if method == "create":
            store.after = None
            raise StoreUnavailable("the answer was lost")

    store.after = lose
    shipping = shipper(store, path)
    path.write_bytes(b"one")
    assert await shipping.finish(None) == 0
    path.write_bytes(b"onetwo")

    assert await shipping.finish(None) == 6
    assert [b"one", b"two"] == await segments(inner)


async def test_cancelled_at_any_moment(path: Path) -> None:
    """`run` may be cancelled before, in or after a call: `finish` goes on without a gap or an overlap."""
    for steps in range(12):
        path.unlink(missing_ok=True)
        path.write_bytes(content := os.urandom(2500))
        inner = memory()
        store = Recording(inner)
        store.before = store.after = lambda *_: asyncio.sleep(0.001)
        shipping = shipper(store, path, segment_bytes=1000)
        running = asyncio.ensure_future(shipping.run())
        await asyncio.sleep(steps / 1000)  # the moment itself does not matter: each must do
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        with path.open("ab") as file:
            file.write(b"more")

        assert len(content) + 4 == await shipping.finish(None)
        assert content + b"more" == b"".join(await segments(inner))


async def test_store_that_denies_stops_nothing_else(path: Path) -> None:
    """The store's errors never come out of `run`, and `finish` without a deadline gives up at once: an instance must
    not burn on for its log."""
    path.write_bytes(b"words")
    denying = failing(memory(), StoreDenied("no"), when=lambda method, _key: method == "create")
    shipping = shipper(denying, path)
    running = asyncio.ensure_future(shipping.run())

    def tried() -> None:
        assert len(denying.calls) >= 3

    await eventually(tried)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await shipping.finish(None) == 0


async def test_finish_ends_at_its_deadline(path: Path) -> None:
    """A store that hangs cannot hold `finish` beyond its deadline."""
    path.write_bytes(b"words")
    hanging = Recording(memory())
    hanging.before = lambda *_: asyncio.sleep(60)
    now = asyncio.get_running_loop().time()

    async with asyncio.timeout(60):
        assert await shipper(hanging, path).finish(now + 0.05) == 0


async def test_another_writer_is_left_alone(path: Path) -> None:
    """A segment of other bytes is never replaced and nothing follows it: that writer owns the attempt (P1)."""
    store = memory()
    await store.create(keys.log_segment("run", 1, 1), b"theirs")
    path.write_bytes(b"a" * 10 + b"b" * 10 + b"c" * 10)

    assert await shipper(store, path, segment_bytes=10).finish(None) == 10
    assert [b"a" * 10, b"theirs"] == await segments(store)


async def test_disk_is_given_back(path: Path) -> None:
    """What the store holds takes no disk here, and the file's size stays. Otherwise a talkative run fills the disk that
    its checkpoints need."""
    size = 64 * BLOCK
    path.write_bytes(os.urandom(size))
    before = path.stat().st_blocks
    await shipper(memory(), path, segment_bytes=16 * BLOCK).finish(None)

    assert size == path.stat().st_size
    if not punches(path.parent):
        pytest.skip("this file system gives no blocks back")
    assert before > 0
    assert path.stat().st_blocks == 0


def punches(folder: Path) -> bool:
    """Whether the file system can, asked by the tool and not by our own code."""
    probe = folder / "probe"
    probe.write_bytes(b"x" * BLOCK)
    return os.system(f"fallocate --punch-hole --offset 0 --length {BLOCK} {probe} 2>/dev/null") == 0


async def test_output_that_truncates_itself(path: Path) -> None:
    """After `echo > /dev/stderr` has emptied the file, shipping goes on with what is written from then on."""
    store = memory()
    shipping = shipper(store, path)
    path.write_bytes(b"first words\n")
    await shipping.finish(None)
    path.write_bytes(b"then\n")
    await shipping.finish(None)

    assert b"first words\nthen\n" == b"".join(await segments(store))


async def test_shipping_goes_on_where_an_earlier_agent_was(path: Path) -> None:
    """The next agent on the machine continues the log, and a segment whose answer was lost is found done. Otherwise an
    agent that was restarted takes its own segments for another owner's, and the log ends there."""
    store = memory()
    path.write_bytes(b"one\n")
    await shipper(store, path).finish(None)
    with path.open("ab") as file:
        file.write(b"two\n")
    lost = Recording(store)

    async def lose(_method: str, _key: str) -> None:
        raise StoreUnavailable("the answer was lost")

    lost.after = lose
    await shipper(lost, path).finish(None)
    with path.open("ab") as file:
        file.write(b"three\n")
    await shipper(store, path).finish(None)

    assert [b"one\n", b"two\n", b"three\n"] == await segments(store)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"epoch 1\nepoch 2\n", "epoch 2"),
        (b"epoch 1\nepo", "epo"),
        (b"step 1\rstep 2\rstep 3", "step 3"),
        (b"words\n\n  \n", "words"),
        (b"\x1b[32mgreen\x1b[0m \x1b]0;title\x07\x1b[2K", "green"),
        (b"\xff\xfe half", "\ufffd\ufffd half"),
        (b"\x00\x07", ""),
        (b"x" * 5000, "x" * LONGEST_LINE),
        (b"", ""),
    ],
)
def test_the_newest_line_is_fit_for_any_terminal(data: bytes, line: str) -> None:
    """A person sees how far it is; what else the command wrote (colours, titles, bars, bytes) stays in its log.
    Otherwise `ls` rings the bell and renames the window."""
    assert line == newest_line(data)
