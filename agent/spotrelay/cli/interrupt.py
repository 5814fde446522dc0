"""`spotrelay interrupt`: the options, and what happens next."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from spotrelay.cli.account import AsJson
from spotrelay.cli.groups import grouped
from spotrelay.cli.leaving import said_when_left
from spotrelay.cli.naming import RunName
from spotrelay.cli.place import Bucket, Place
from spotrelay.core.errors import NotInterruptible

if TYPE_CHECKING:
    from spotrelay.aws.fis import Fis
    from spotrelay.core import records


@grouped
def interrupt(
    run: RunName,
    role: Annotated[
        str | None,
        typer.Option(help="What AWS FIS becomes. Default: the stack's InterruptRole.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    *,
    place: Bucket,
) -> None:
    """Interrupt a run on purpose: EC2 gives its machine a real notice.

    By AWS's Fault Injection Service. In two minutes the machine is taken,
    and the run goes on elsewhere. Without an account: `spotrelay rehearse`.

    Example: spotrelay interrupt resnet-7
    """
    from rich.console import Console  # noqa: PLC0415 - half a second of imports, which are not for --help

    from spotrelay.aws.fis import Fis  # noqa: PLC0415
    from spotrelay.person import runs  # noqa: PLC0415
    from spotrelay.person.interrupt import victim  # noqa: PLC0415

    where = place.find()
    if where.store.startswith("file:"):
        step = "interrupt it by what it runs on, or use spotrelay rehearse"
        raise NotInterruptible("a run in a folder has no machine of EC2's to interrupt", next_step=step)
    opened = where.open_store()
    console = Console(stderr=True, highlight=False)

    async def found() -> tuple[str, records.Claim]:
        with said_when_left(console, "Left: nothing was interrupted."):
            name = await runs.find(opened, run)
            return name, await victim(opened, name, at=time.time())

    async def interrupted(fis: Fis, instance: str) -> None:
        with said_when_left(console, lambda: _left(name, fis, place.options)):
            await fis.interrupt(instance)

    # Twice on the loop: between the two the stack is asked, and that is nothing for a loop to wait for.
    name, claim = asyncio.run(found())
    # A zone's name is its region's and a letter; local zones have longer ones, and no spot of this kind.
    fis = Fis(role or _role(place), where.region or claim.zone[:-1])
    try:
        asyncio.run(interrupted(fis, claim.instance))
    finally:
        fis.close()
    if as_json:
        print(json.dumps({"run": name, "instance": claim.instance, "zone": claim.zone}, indent=2))
        return
    console.print(f"{name}: {claim.instance} has its notice, and two minutes.", markup=False, soft_wrap=True)
    console.print(f"  to watch it   spotrelay logs -f {name}{place.options}", markup=False, soft_wrap=True)


def _left(name: str, fis: Fis, options: str) -> str:
    if not fis.begun:
        return "Left: nothing was interrupted."
    return f"Left: {name} may be interrupted all the same. To see it: spotrelay status {name}{options}"


def _role(place: Place) -> str:
    """The stack's. Raises NotInterruptible for one that has none yet."""
    from spotrelay.stack.account import Account  # noqa: PLC0415 - as above
    from spotrelay.stack.standing import look  # noqa: PLC0415

    with Account(region=place.region, profile=place.profile) as account:
        standing = look(account, place.stack)
    found = standing.outputs.get("InterruptRoleArn") if standing is not None else None
    if found is None:
        step = "bring it up to date (spotrelay deploy), or name a role: --role"
        raise NotInterruptible(f"the stack {place.stack} has no role for interruptions", next_step=step)
    return found
