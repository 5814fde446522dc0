"""A manifest says what it was told, and whatever else arrives is refused in words of our own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core import manifest, manifest_reader
from spotrelay.core.errors import ManifestInvalid, ManifestUnknown
from spotrelay.core.manifest import Directory, Manifest
from support.manifests import EVERYTHING, HASH, HEADER, HOSTILE, META, PACK, lines, rows


def load(changed: list[dict[str, Any]]) -> Manifest:
    return manifest_reader.load(json.dumps(row).encode() for row in changed)


def test_what_is_written_reads_back() -> None:
    """Every kind of entry, any byte in names, holes, attributes, times before 1970."""
    assert Manifest(HEADER, {HASH: PACK}, EVERYTHING) == manifest_reader.load(lines())


def test_the_format_stays_as_it_is() -> None:
    """The lines are what version 1 means. Otherwise yesterday's snapshots cannot be restored by today's agent."""
    assert [
        b'{"format":"spotrelay-manifest","version":1,"run":"demo","snapshot":"1-0"}\n',
        b'{"kind":"directory","path":"","mode":493,"mtime":-1,"uid":0,"gid":0,"xattrs":{"user.a\\udcff":"AAE="}}\n',
        b'{"kind":"pack","number":7,"hash":"' + HASH.encode() + b'","size":100,"stored":60}\n',
        b'{"kind":"file","path":"a","mode":420,"mtime":1000000000000000001,"uid":1000,"gid":1000,"size":10,'
        b'"extents":[[0,7,5,4],[6,7,0,4]],"state":"kept","linked":true}\n',
    ] == lines()[:4]
    assert b'{"kind":"end","entries":9,"packs":1,"bytes":10}\n' == lines()[-1]


@pytest.mark.parametrize("length", range(1, len(lines())))
def test_a_manifest_cut_short_is_no_shorter_manifest(length: int) -> None:
    """Without its last row nothing is a manifest. Otherwise a cut download restores half a tree and calls it whole."""
    with pytest.raises(ManifestInvalid):
        manifest_reader.load(lines()[:length])


def test_no_lines_at_all() -> None:
    """An empty object is not an empty directory."""
    with pytest.raises(ManifestInvalid):
        manifest_reader.load([])


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None, 10**30])
def test_another_version_is_refused_by_name(version: object) -> None:
    """A version that this reader does not know is said to be that, before anything else is looked at. Otherwise the
    user hears of a damaged manifest where an update would do."""
    with pytest.raises(ManifestUnknown, match="this spotrelay reads 1"):
        load([{"format": manifest.FORMAT, "version": version, "news": []}, *rows()[1:]])


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_rows_are_refused(change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Each of these would write outside of the directory, through a link, over something else, or without end (P7)."""
    changed = rows()
    change(changed)

    with pytest.raises(ManifestInvalid) as refused:
        load(changed)
    assert "manifest line" in str(refused.value)


def test_nothing_in_this_table_is_refused_for_another_reason() -> None:
    """The rows the table starts from are good."""
    assert EVERYTHING == load(rows()).entries


@pytest.mark.parametrize("line", [b"[" * 100_000, b"1" * 5000, b"null", b"[]", b"", b"\xff", b'{"a":NaN}'])
def test_lines_that_are_no_rows(line: bytes) -> None:
    """Deep nesting, numbers without end, no UTF-8: refused like the rest."""
    for number in range(3):
        with pytest.raises(ManifestInvalid):
            manifest_reader.load([*lines()[:number], line, *lines()[number:]])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@given(
    number=st.integers(0, 11), key=st.sampled_from(sorted({key for row in rows() for key in row})), value=json_values
)
def test_no_other_error_whatever_a_field_holds(number: int, key: str, value: object) -> None:
    """A field of any type is fine or refused, never a KeyError. Otherwise a damaged manifest kills the agent (P6)."""
    changed = rows()
    changed[number][key] = value
    with contextlib.suppress(ManifestInvalid, ManifestUnknown):
        load(changed)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.integers(0, 12))
def test_no_other_error_whatever_the_bytes(garbage: list[bytes], after: int) -> None:
    """Bytes of any kind are refused in the same way."""
    with pytest.raises((ManifestInvalid, ManifestUnknown)):
        manifest_reader.load(lines()[:after] + garbage)


# What a row's numbers may be, and what is just beyond.
EDGES = [edge + by for edge in (0, 5, 10, 95, 100, 0o7777, 1 << 32, 1 << 63, 10**19) for by in (-2, -1, 0, 1)]
NUMBERS = {
    "mode": 0o644,
    "mtime": 10**18,
    "uid": 1,
    "gid": 1,
    "size": 10,
    "offset": 0,
    "pack": 7,
    "at": 5,
    "length": 10,
}
NAMES = [f"d/a{chr(code)}b" for code in range(0x100)]
NAMES += ["d/" + 256 * "n", "d/.", "d/..", "d//a", "d/", "/a", "c", "d", "e/a", "", "d/\udcff", "d/\ud800"]


def whole(path: str = "d/a", **changed: int) -> bytes:
    """The row of a file that lies whole in a pack."""
    mode, mtime, uid, gid, size, *extent = (NUMBERS | changed).values()
    return manifest.file_row(path, manifest.Meta(mode, mtime, uid, gid), size, [tuple(extent)], linked=False)  # type: ignore[list-item]


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("sign", [1, -1])
def test_pattern_and_json_read_the_same_numbers(field: str, sign: int) -> None:
    """The quick way takes what the other takes, and gives what it gives. Otherwise there are two formats."""
    for edge in EDGES:
        row = whole(**{field: sign * edge})

        assert _read(row) == _read(row.replace(b":", b": ", 1)), edge


def test_pattern_and_json_read_the_same_names() -> None:
    """Likewise."""
    for name in NAMES:
        row = whole(name)

        assert _read(row) == _read(row.replace(b":", b": ", 1)), name


@pytest.mark.parametrize("at", [0, -1])
def test_usual_row_is_refused_where_none_may_stand(at: int) -> None:
    """Before the first and after the last. Otherwise what was appended to a manifest is restored."""
    good = [*_around(whole()), manifest.closing(3, 1, 10)]
    good.insert(at % (len(good) + 1), whole("d/b"))

    with pytest.raises(ManifestInvalid):
        manifest_reader.load(good)


def test_what_is_usual_is_read_the_quick_way() -> None:
    """A row as we write it, and no other. Otherwise nothing is won, or a row is kept that is not as we write it."""
    row, reader = whole("d/a b.bin"), manifest_reader.Reader()
    seen = {}
    for line in (*_around(row), manifest.closing(3, 1, 10)):
        reader.take(line)
        seen[line] = reader.as_written

    assert {row} == {line for line, as_written in seen.items() if as_written}


def _around(row: bytes) -> list[bytes]:
    above = [Directory(b"", META), Directory(b"d", META)]
    return [manifest.opening(HEADER), *(manifest.row(entry, {}) for entry in above), manifest.pack_row(7, PACK), row]


def _read(row: bytes) -> object:
    """What a manifest with that row holds; or None, if it is refused."""
    try:
        size = json.loads(row)["size"]
        return manifest_reader.load([*_around(row), manifest.closing(3, 1, size)])
    except ManifestInvalid:
        return None
