"""The launcher's zip: the same bytes from the same sources, and alone enough."""

from __future__ import annotations

import io
import os
import zipfile

from spotrelay.bundle import launcher_files
from spotrelay.core import keys
from spotrelay.stack import code


def test_same_sources_same_bytes() -> None:
    """Times and rights of files leave no trace. Otherwise each checkout deploys a new launcher for nothing."""
    first = code.packed()
    _, path = next(iter(launcher_files()))
    before = path.stat()
    os.utime(path, (before.st_atime, before.st_mtime + 100))
    try:
        assert first == code.packed()
    finally:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_contents() -> None:
    """The handler is where Lambda looks, and all can be read by another user. Otherwise the first request fails."""
    with zipfile.ZipFile(io.BytesIO(code.packed())) as archive:
        names = archive.namelist()

        assert [name for name, _ in launcher_files()] == names
        assert "spotrelay/launcher/handler.py" in names
        assert {0o644} == {entry.external_attr >> 16 for entry in archive.infolist()}


def test_name_is_of_the_contents() -> None:
    """Other code has another name. Otherwise CloudFormation sees no change, and the old launcher stays."""
    assert code.key_of(b"a") != code.key_of(b"b")
    assert keys.launcher_code("")[:9] == code.key_of(b"a")[:9]
