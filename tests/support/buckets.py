"""Buckets as a person's commands may find them: one that a real run left, and what can have become of it since."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from support.rehearsals import environment

RUN = "rehearsal"
# What it prints is what `logs` must show; what it writes, what `pull` must get.
JOB = """
import json, pathlib, signal, sys, time
state = pathlib.Path("state.json")
at = json.loads(state.read_text()) if state.exists() else 0
def save(*_):
    state.write_text(json.dumps(at))
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
pathlib.Path("checkpoints").mkdir(exist_ok=True)
for at in range(at, 30):
    print("step", at, flush=True)
    pathlib.Path("checkpoints", f"{at}.txt").write_text(str(at))
    time.sleep(0.1)
save()
"""


def healthy(folder: Path) -> Path:
    """A store that a rehearsal left: interrupted with notice, died without, went on to its end. Beside it, in `state`,
    what its machines said."""
    project, kept = folder / "project", folder / "kept"
    project.mkdir()
    (project / "job.py").write_text(JOB)
    interruptions = ["--interrupt-after", "1s", "--interrupt-after", "1s:no-notice", "--save-every", "0.5s"]
    words = ["rehearse", "--keep", str(kept), *interruptions, "--", sys.executable, "job.py"]
    code = "import sys; from spotrelay.cli.main import main; sys.argv[0] = 'spotrelay'; main()"
    command = [sys.executable, "-c", code, *words]
    subprocess.run(command, cwd=project, env=environment(), check=True, capture_output=True, timeout=150)
    return kept / "store"


def _each(store: Path, pattern: str) -> list[Path]:
    return [path for path in sorted(store.rglob("*")) if path.is_file() and re.search(pattern, str(path))]


def _rewrite(pattern: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        found = _each(store, pattern)
        assert found, f"nothing matches {pattern}: the damage is none"
        for path in found:
            path.write_bytes(change(path.read_bytes()))

    return damage


def _foreign(store: Path) -> None:
    of_the_run = (f"{RUN}/attempts/first/claim.json", f"{RUN}/attempts/x")
    for name in ("notes.txt", "Not A Run!/x", f"{RUN}-2/readme", *of_the_run):
        path = store / "runs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(50))
    (store / "runs" / RUN / "attempts" / "00001" / "log" / "README").write_text("mine")
    (store / "runs" / RUN / "snapshots" / "00001-x.json.zst").write_text("mine")
    (store / "open").mkdir(exist_ok=True)
    (store / "open" / "No Such Run").touch()


def _gone(pattern: str) -> Callable[[Path], None]:
    def damage(store: Path) -> None:
        for path in _each(store, pattern):
            path.unlink()

    return damage


def _escapes(data: bytes) -> bytes:
    """Words that a terminal would obey, in every string that is shown."""
    return re.sub(rb'("(?:line|message|instance_type|zone|why|result)": )"[^"]*"', rb'\1"\\u001b]0;owned\\u0007"', data)


_RECORDS = r"(claim|status|handover|ledger|outcome|base)\.json$"
DAMAGES: dict[str, Callable[[Path], None]] = {
    "nothing": lambda store: None,
    "foreign objects": _foreign,
    "every json cut short": _rewrite(r"\.json$", lambda data: data[: len(data) // 2]),
    "every json another json": _rewrite(r"\.json$", lambda data: b"[1, 2, 3]"),
    "every json too deep": _rewrite(r"\.json$", lambda data: b"[" * 100_000),
    "every json of wrong types": _rewrite(_RECORDS, lambda data: b'{"at": {}}'),
    "numbers beyond every time": _rewrite(_RECORDS, lambda data: re.sub(rb": \d+\.\d+", b": 1e17", data)),
    "words for the terminal": _rewrite(r"\.json$", _escapes),
    "run.json of a later version": _rewrite(r"run\.json$", lambda data: data.replace(b'"version": 1', b'"version": 2')),
    "no outcome": _gone(r"outcome\.json$"),
    "no run.json": _gone(r"run\.json$"),
    "no claims": _gone(r"claim\.json$"),
    "manifests cut short": _rewrite(r"\.zst$", lambda data: data[:-10]),
    "manifests that are none": _rewrite(r"\.zst$", lambda data: b"hello"),
    "packs of zeros": _rewrite(r"/packs/", lambda data: bytes(len(data))),
    "no packs": _gone(r"/packs/"),
    "objects that are empty": _rewrite(r"/runs/", lambda data: b""),
}
