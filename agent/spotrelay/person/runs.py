"""Which runs there are, and which one a person means.

A listing with a delimiter gives the names, a request for a thousand, and the marks below `open/` say which of them may
still need somebody. Neither looks into a run.
"""

from __future__ import annotations

from collections.abc import Iterable

from spotrelay.core import keys
from spotrelay.core.errors import AmbiguousRun, NoSuchRun
from spotrelay.ports import BrowsableStore


async def names(store: BrowsableStore) -> list[str]:
    """All there are, sorted. A folder whose name cannot be a run's is somebody else's."""
    return [name for name in await store.folders(keys.RUNS) if keys.RUN_NAME.fullmatch(name)]


async def open_names(store: BrowsableStore) -> set[str]:
    """Those that are not over, and perhaps some that have just ended."""
    marks = (key.removeprefix(keys.open_runs()) for key in await store.list(keys.open_runs()))
    return {name for name in marks if keys.RUN_NAME.fullmatch(name)}


async def find(store: BrowsableStore, text: str) -> str:
    """The run called `text`, or the only one whose name begins so. One request for a whole name, one more for every
    thousand runs otherwise. Raises NoSuchRun, AmbiguousRun."""
    if keys.RUN_NAME.fullmatch(text) and await store.folders(keys.run(text)):
        return text
    return meant(text, await names(store))


def meant(text: str, among: Iterable[str]) -> str:
    """As `find`, of names that are known."""
    known = sorted(among)
    if text in known:
        return text
    matches = [name for name in known if text and name.startswith(text)]
    if len(matches) > 1:
        shown = ", ".join(matches[:5]) + (", …" if len(matches) > 5 else "")
        raise AmbiguousRun(f"{text!r} may be any of {len(matches)} runs: {shown}", next_step="type more of its name")
    if not matches:
        raise NoSuchRun(f"there is no run {text!r}", next_step="see which there are: spotrelay ls")
    return matches[0]
