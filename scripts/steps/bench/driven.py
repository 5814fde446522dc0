"""A process while it lives. Ours: it has saved, and does more when it is told (see `ours`)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .contenders import driver
from .measure import Measured
from .plan import Bench


class Driven:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.said: list[dict[str, float]] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        while (line := self._line()) != "ready":
            self.said.append(json.loads(line))

    def tell(self) -> None:
        """A line: go on, or rest."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def again(self) -> tuple[Measured, dict[str, float]]:
        """A further save: what it cost, and what it says of itself."""
        self.tell()
        told = self.json()
        return Measured(told["wall_s"], told["cpu_s"], int(told["peak_rss"])), told

    def json(self) -> dict[str, float]:
        """The next line that it says."""
        told: dict[str, float] = json.loads(self._line())
        return told

    def kill(self) -> None:
        self._process.kill()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"our process ended with {self._process.wait()}: see above")
        return line.strip()

    def end(self) -> None:
        """Everything that it still says is in `said`."""
        out, _ = self._process.communicate()
        self.said += [json.loads(line) for line in out.splitlines()]


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Driven]:
    """Killed in the end, if it has not ended."""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield Driven(process)
        finally:
            process.kill()


@contextmanager
def driven(bench: Bench, action: str, tree: Path, *words: str) -> Iterator[Driven]:
    """Ours, ready."""
    with started([*map(str, driver(action, tree)), *words], bench.ours.environment(bench.site)) as ours:
        ours.wait_until_ready()
        yield ours
        ours.end()
