"""How a Python module of ours starts on a machine whose empty execution directory hides where it comes from.

The most usual place for a virtual environment is the project itself, `./.venv`, and that is the execution directory.
On EC2 the agent lives in the image under a path of its own; here the parts of this interpreter that would be hidden are
carried to such a path. Binding them where they were would be simpler, but then the directory would not be empty, and
the snapshot would hold an environment that the image is to provide.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spotrelay.core.errors import SpotrelayError

# At the top, as nothing of the person's is there; an ordinary user's machine has a / of its own, so it can be made.
_PLACE = Path("/.spotrelay")
_SOURCE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Program:
    """`argv`, and the folders that the machine must have for it: here → there. Both go to `Machine.boot`."""

    argv: Sequence[str]
    carried: Mapping[Path, Path]


def program(module: str, *arguments: str, directory: Path) -> Program:
    """This interpreter running `module`, wherever `directory` is. Raises SpotrelayError if Python itself is there."""
    if _hidden(sys.base_prefix, directory):
        raise SpotrelayError(
            f"the Python in {sys.base_prefix} is part of {directory}",
            next_step="use a Python from outside of the execution directory",
        )
    carried: dict[Path, Path] = {}
    python = Path(sys.executable)
    if _hidden(sys.prefix, directory):
        carried[Path(sys.prefix)] = _PLACE / "python"
        python = _PLACE / "python" / python.relative_to(sys.prefix)
    sources = [] if _SOURCE.is_relative_to(sys.prefix) or not _hidden(_SOURCE, directory) else [_SOURCE]
    for number, source in enumerate(sources + _other_packages(directory)):
        carried[source] = _PLACE / "path" / str(number)
    paths = [str(there) for there in carried.values() if there.is_relative_to(_PLACE / "path")]
    # -P: the working directory is /, and no module is to come from there. -B: what is compiled goes with the machine,
    # and would look like something that the command wrote. No PYTHONPATH: the command would inherit it.
    start = f"import runpy, sys; sys.path[:0] = {paths!r}; runpy.run_module({module!r}, None, '__main__', True)"
    run = ["-c", start] if paths else ["-m", module]
    return Program((str(python), "-P", "-B", *run, *arguments), carried)


def _other_packages(directory: Path) -> list[Path]:
    """Folders of packages beside the interpreter's own: those of a user, when the directory is a home."""
    found = (Path(path) for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
    return [path for path in found if _hidden(path, directory) and not path.is_relative_to(sys.prefix)]


def _hidden(path: str | Path, directory: Path) -> bool:
    return Path(path).resolve().is_relative_to(directory.resolve())
