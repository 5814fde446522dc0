"""After the end the directory lies in the store as plain objects."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

from spotrelay.core import keys
from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots
from support.stores import RUN
from support.tree import link, pipe, same_as, tree

Make = Callable[..., Snapshots]


async def test_files_become_objects(store: Store, snapshots: Make, here: Path) -> None:
    """Each regular file is one object under its path, the large ones streamed. Otherwise results need our own tool."""
    large = os.urandom(17 << 20)
    tree({
        "model/": {"w.bin": large, "empty": b""}, "again": same_as("model/w.bin"),
        "link": link("model"), "pipe": pipe(), "x.tmp": b"no",
    }).write(here)  # fmt: skip

    published = await snapshots(here, exclude=["*.tmp"]).publish_artifacts()

    found = {key.removeprefix(keys.artifact(RUN, "")): await store.get(key) for key in await store.list("")}
    assert {"model/w.bin": large, "model/empty": b"", "again": large} == found
    assert 3 == published.files


async def test_odd_names_can_be_read_back(store: Store, snapshots: Make, here: Path) -> None:
    """Any byte in a name survives the quoting, and no two names meet. Otherwise one result overwrites another."""
    names = [b"a b+c=d@e,f~g", b"\xff\xfe", b"new\nline", b"%41", b"A", b"#1", b"x#1", b"\xc3\xa9", b"...", b"a?b*c\\d"]
    tree({name: name for name in names}).write(here)

    published = await snapshots(here).publish_artifacts()

    objects = [key.removeprefix(keys.artifact(RUN, "")) for key in await store.list("")]
    assert sorted(names) == sorted(unquote_to_bytes(name) for name in objects)
    assert "a b+c=d@e,f~g" in objects
    assert () == published.skipped


async def test_a_name_beyond_the_stores_limit_is_said(snapshots: Make, here: Path) -> None:
    """A path longer than an object's name may be is left out, and named."""
    deep: dict[bytes, object] = {b"f": b"1"}
    for _ in range(5):
        deep = {b"\xff" * 100: deep}
    tree(deep).write(here)

    published = await snapshots(here).publish_artifacts()

    assert (0, 1) == (published.files, len(published.skipped))
