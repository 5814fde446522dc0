"""What of this package belongs into the launcher's zip: the core and the launcher, and nothing that needs a wheel.

Both who carry it read it from here, the local cloud (which runs it as it is) and the deployment (which zips it).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parent
_FOLDERS = ("core", "launcher")


def launcher_files() -> Iterator[tuple[str, Path]]:
    """Name in the zip (`spotrelay/core/keys.py`) and file, sorted by name, so that equal sources give equal zips."""
    found = [_PACKAGE / "__init__.py", *(path for folder in _FOLDERS for path in (_PACKAGE / folder).rglob("*"))]
    for path in sorted(found):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(_PACKAGE.parent).as_posix(), path
