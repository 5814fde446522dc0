"""`spotrelay rehearse`: the options, and the way from them to an exit code."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from spotrelay.cli import network
from spotrelay.cli.moments import moments, seconds
from spotrelay.cli.plan import Plan, check
from spotrelay.core.errors import UsageError

if TYPE_CHECKING:
    from spotrelay.cli.report import Report


def rehearse(
    command: Annotated[list[str], typer.Argument(help="The command, after --.", metavar="COMMAND")],
    interrupt_after: Annotated[
        list[str] | None,
        typer.Option(
            help="Interrupt after so long at work (10s, 2m), or once it says so (/saving/). Repeatable. "
            "With :no-notice behind it the machine simply dies."
        ),
    ] = None,
    interruptions: Annotated[
        int | None, typer.Option(min=0, help="How often; moments that are not given are random. Default: 1.")
    ] = None,
    no_notice: Annotated[bool, typer.Option("--no-notice", help="The machine simply dies.")] = False,
    notice: Annotated[str, typer.Option(help="How long before its end EC2 says so.")] = "120s",
    progress: Annotated[
        str | None, typer.Option(help="Regular expression for a growing number in the output: 'epoch (\\d+)'.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(help="The execution directory: what is preserved. Default: here.", show_default=False)
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Pattern of what is not preserved. Repeatable.")] = None,
    save_every: Annotated[str, typer.Option(help="Save while the command runs: what a sudden death loses.")] = "5s",
    instance_type: Annotated[
        str, typer.Option(help="The instance type whose network the save is held against.")
    ] = network.DEFAULT,
    strict_exit: Annotated[
        bool, typer.Option("--strict-exit", help="After the signal only exit code 0 counts as interrupted.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Leave the final directory here.", show_default=False)] = None,
    keep: Annotated[Path | None, typer.Option(help="Leave the bucket and all logs here.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Makes random moments the same again.", show_default=False)] = None,
    limit: Annotated[str, typer.Option(help="Give up after this long.")] = "1h",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Show that COMMAND survives interruptions, before it meets one.

    Runs it under the real agent in a local cloud, interrupts it, relaunches
    it on a fresh machine that has nothing but the snapshot, and says what to
    change if it did not continue. No AWS account is used.

    Example: spotrelay rehearse --interruptions 2 -- python train.py
    """
    plan = Plan(
        command=command,
        directory=(directory or Path.cwd()).resolve(),
        moments=moments(interrupt_after or [], interruptions, notice=not no_notice, seed=seed),
        notice_s=seconds(notice),
        save_every_s=seconds(save_every),
        progress=_expression(progress),
        instance_type=_known(instance_type),
        exclude=exclude or [],
        strict_exit=strict_exit,
        limit_s=seconds(limit),
        output=output.resolve() if output else None,
        kept=keep.resolve() if keep else None,
    )
    check(plan)
    raise typer.Exit(_hold(plan, as_json=as_json))


def _hold(plan: Plan, *, as_json: bool) -> int:
    """The exit code. Standard output gets the report, and nothing else."""
    # Half a second of imports, which are not for --help, nor for an option that is wrong.
    from rich.console import Console  # noqa: PLC0415

    from spotrelay.cli.rehearsal import hold  # noqa: PLC0415
    from spotrelay.cli.summary import print_report  # noqa: PLC0415
    from spotrelay.cli.view import Stage  # noqa: PLC0415

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with Stage(Console(stderr=True)) as stage:
        report = asyncio.run(_until_stopped(hold(plan, stage.show)))
    if as_json:
        print(json.dumps(report.document(), indent=2))
    else:
        print_report(report, Console())
    return report.exit_code or 0


async def _until_stopped(work: Coroutine[None, None, Report]) -> Report:
    """`work`, ended in good order by the first Ctrl-C, SIGTERM or closed terminal. A second one would only leave
    something behind."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    stopped_by: list[signal.Signals] = []

    def stop(by: signal.Signals) -> None:
        stopped_by.append(by)
        if len(stopped_by) == 1:
            task.cancel()

    for caught in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(caught) != signal.SIG_IGN:  # under nohup
            loop.add_signal_handler(caught, stop, caught)
    try:
        return await task
    except asyncio.CancelledError:
        raise typer.Exit(128 + stopped_by[0] if stopped_by else 1) from None


def _expression(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise UsageError(f"--progress {text!r}: {error}", next_step="write one like 'epoch (\\d+)'") from error


def _known(instance_type: str) -> str:
    if instance_type not in network.BASELINE_GBPS:
        known = ", ".join(sorted(network.BASELINE_GBPS))
        raise UsageError(f"the network of {instance_type} is not known", next_step=f"take one of {known}")
    return instance_type
