"""The command of one attempt: how it is started, asked to end, ended if it must be, and how it did end.

Only the facts and the moments (monotonic). What an end means for the run, the attempt says. Whoever asks it to end
after it has ended by itself has not interrupted it: that is the difference between a checkpoint and a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from spotrelay.command import child as children
from spotrelay.command.oom import OomKills
from spotrelay.command.output import OutputShipper
from spotrelay.core import frameworks
from spotrelay.core.ends import End, Exited
from spotrelay.core.errors import CommandError
from spotrelay.core.spec import Spec

# What a helper gets to end once its program has: it has nothing to save, only something to close.
LEFT_BEHIND_S = 3.0


class Running:
    """`path`: what the command says goes there, and `output` ships it. `announcement`: the file that tells it how long
    it has. `wall`: unix seconds; `clock`: monotonic. `cgroup`: the command's own, if there is one."""

    def __init__(
        self,
        spec: Spec,
        path: Path,
        output: OutputShipper,
        announcement: Path,
        *,
        wall: Callable[[], float],
        clock: Callable[[], float],
        cgroup: Path | None,
    ) -> None:
        self.child: children.Child | None = None
        self.end: End | None = None
        self.spawned_at: float | None = None
        self.signalled_at: float | None = None
        self.ended_at: float | None = None
        self.oom_kills = 0
        self.output = output
        self._spec, self._path, self._announcement, self._cgroup = spec, path, announcement, cgroup
        self._wall, self._clock = wall, clock
        self._framework = frameworks.recognise(spec.run.command)
        self._oom: OomKills | None = None
        self._killed = False  # by us, before its program had ended
        self._shipping: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()

    async def spawn(self, environment: Mapping[str, str]) -> None:
        """`environment`: over what its framework wants to be told. Raises CommandError."""
        run = self._spec.run
        self._announcement.unlink(missing_ok=True)
        self._oom = OomKills(self._cgroup)
        try:
            self.child = await children.spawn(
                run.command,
                directory=Path(run.directory),
                output=self._path,
                environment={
                    **(self._framework.environment if self._framework else {}),
                    **environment,
                    "SPOTRELAY_NOTICE": str(self._announcement),
                },
                user=run.user,
                umask=int(run.umask, 8),
                cgroup=self._cgroup,
            )
        except CommandError as error:
            self.end = Exited(error.exit_code)
            raise
        self.spawned_at = self._clock()
        self._shipping = asyncio.create_task(self.output.run(), name="output")
        self._log.info("command.started", pid=self.child.pid, command=list(run.command))

    async def ended(self) -> End:
        """When every process of it is gone."""
        assert self.child is not None
        assert self._oom is not None
        program = await self.child.program()
        ours = self._killed
        if left := self.child.processes():
            self._log.warning("command.left_behind", program=str(program), processes=left)
        self.end = await self.child.wait()
        self.ended_at = self._clock()
        self.oom_kills = self._oom.among(self.end, ours=ours)
        if self.oom_kills:
            self._log.error("command.out_of_memory", kills=self.oom_kills)
        self._log.info("command.ended", end=str(self.end), after_signal=self.signalled_at is not None)
        return self.end

    @property
    def clean(self) -> bool:
        """It ended after our signal, with a code that the spec calls clean."""
        codes = self._spec.interrupt.clean_exit_codes
        if codes is None:
            codes = self._framework.clean_exit_codes if self._framework else (0,)
        return self.signalled_at is not None and isinstance(self.end, Exited) and self.end.code in codes

    @property
    def end_told(self) -> str:
        """How it ended, in words: also why, where that was for want of memory, and then what to do."""
        if self.oom_kills and self._oom is not None:
            return f"{self.end}, {self._oom.told(self.oom_kills)}"
        return str(self.end)

    @property
    def exit_code(self) -> int | None:
        return self.end.status if self.end is not None else None

    def worked_s(self, until: float) -> float:
        """Seconds of work until that moment, or its end."""
        if self.spawned_at is None:
            return 0.0
        return max(0.0, min(until, self.ended_at or until) - self.spawned_at)

    def announce(self, seconds: float) -> None:
        """To the command, before the signal: how long *it* has, the save's share taken off. Whole or not there."""
        said = {"seconds_left": round(seconds, 1), "deadline": round(self._wall() + seconds, 1)}
        written = self._announcement.with_suffix(".new")
        try:
            written.write_text(json.dumps(said) + "\n")
            written.chmod(0o644)
            written.replace(self._announcement)
        except OSError as error:  # the signal tells it, too
            self._log.warning("notice.unannounced", error=str(error))

    async def signal(self) -> None:
        """Ask it to end. One that has ended by itself in the meantime was not interrupted."""
        assert self.child is not None
        delivery = await self.child.signal(signal.Signals[f"SIG{self._spec.interrupt.signal}"])
        if (delivery.programs or delivery.shells) and not delivery.leftovers:
            self.signalled_at = self._clock()
        self._log.info("command.signalled", programs=delivery.programs, shells=delivery.shells)

    async def dismiss(self) -> None:
        """What the program leaves behind after our signal, a helper in the background, must not use up the seconds of
        the save: it is asked, and killed."""
        assert self.child is not None
        await self.child.program()
        if not self.child.processes():
            return
        await self.child.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(LEFT_BEHIND_S):
                await self.child.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        if self.child is None:
            return
        self._log.warning("command.killed", processes=self.child.processes())
        self._killed = True
        try:
            await self.child.kill()
        except TimeoutError as error:
            self._log.error("command.unkillable", error=str(error))

    async def ship_output(self) -> None:
        """All that it said. After snapshot and hand-over: nobody waits for the command's words."""
        if await self._stop_shipping():
            await self.output.finish(None)

    async def _stop_shipping(self) -> bool:
        if self._shipping is None:
            return False
        self._shipping.cancel()
        await asyncio.gather(self._shipping, return_exceptions=True)
        return True

    async def close(self) -> None:
        """No process and no task is left."""
        await self._stop_shipping()
        if self.child is None:
            return
        if self.child.processes():
            await self.kill()
        else:  # the command is gone; on a busy computer its subreaper may not have noticed yet
            with contextlib.suppress(TimeoutError):
                await self.child.kill()
