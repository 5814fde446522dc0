"""`spotrelay doctor`: the options, and the way from them to a report and an exit code."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from spotrelay.cli.account import STACK, AsJson, Profile, Region, StackName
from spotrelay.core.errors import Unwell

if TYPE_CHECKING:
    from spotrelay.doctor.finding import Finding
    from spotrelay.doctor.ground import Asked


def doctor(
    stack_name: StackName = STACK,
    region: Region = None,
    profile: Profile = None,
    types: Annotated[
        str, typer.Option(help="Instance types to look at, with commas. Default: the stack's.", show_default=False)
    ] = "",
    on_demand: Annotated[
        bool, typer.Option("--on-demand", help="Look at the quotas for on-demand instances as well.")
    ] = False,
    drift: Annotated[
        bool,
        typer.Option("--drift", help="Let CloudFormation compare each resource with the template (half a minute)."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look for what would keep runs from being resumed, and say how to mend it.

    Credentials, region, clock; the stack, its launcher, queues and alarms;
    quotas, instance types, image, roles and network. Nothing is changed.

    Example: spotrelay doctor --types g5.xlarge,g6.xlarge
    """
    # Half a second of imports, which are not for --help, nor for an option that is wrong.
    from spotrelay.doctor.ground import Asked, words  # noqa: PLC0415

    _hold(Asked(stack_name, region or "", profile or "", words(types), on_demand, drift), as_json=as_json)


def _hold(asked: Asked, *, as_json: bool) -> None:
    """Raises Unwell. Standard output gets the report, and nothing else."""
    from rich.console import Console  # noqa: PLC0415

    from spotrelay.cli.findings import document, print_findings  # noqa: PLC0415
    from spotrelay.doctor.examination import examine  # noqa: PLC0415
    from spotrelay.doctor.ground import Ground  # noqa: PLC0415

    began = time.monotonic()
    ground = Ground(asked)
    try:
        with Console(stderr=True).status("looking …"):
            found = examine(ground)
    finally:
        ground.close()
    seconds = time.monotonic() - began
    unwell = _judged(found)
    if as_json:
        print(json.dumps(document(asked, found, seconds, unwell.exit_code if unwell else 0), indent=2))
    else:
        print_findings(found, Console())
    if unwell is not None:
        raise unwell


def _judged(found: list[Finding]) -> Unwell | None:
    """What was skipped counts: an examination that could not look at its subject must not pass for a good one."""
    counts = Counter(finding.state.value for finding in found)
    if counts["problem"]:
        number = f"{counts['problem']} problem{'s' * (counts['problem'] > 1)}"
        return Unwell(number, next_step="do what stands beside each, then look again")
    if counts["skipped"]:
        return Unwell(
            f"{counts['skipped']} things could not be looked at", next_step="see above what they need, then look again"
        )
    return None
