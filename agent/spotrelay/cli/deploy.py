"""`spotrelay deploy`: the options, and what a person sees of it. Standard output gets the result; the way there goes to
standard error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from spotrelay.core.errors import UsageError

if TYPE_CHECKING:
    from spotrelay.stack.changes import Change, Plan
    from spotrelay.stack.deploying import Deployed
    from spotrelay.stack.progress import Event

STACK = "spotrelay"
_SIGNS = {"Add": "+", "Modify": "~", "Remove": "-", "Import": "+", "Dynamic": "?"}


def deploy(
    stack_name: Annotated[str, typer.Option(help="The stack's name: several can live side by side.")] = STACK,
    region: Annotated[
        str | None, typer.Option(help="Default: the profile's, or AWS_REGION.", show_default=False)
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Of the AWS configuration.", show_default=False)] = None,
    image: Annotated[
        str | None, typer.Option(help="The machine image with the agent in it. Needed at first.", show_default=False)
    ] = None,
    types: Annotated[
        str | None,
        typer.Option(help="Instance types for runs that name none, with commas. Default: a dozen of two cores."),
    ] = None,
    zones: Annotated[
        str | None, typer.Option(help="Availability zones, with commas. Default: all.", show_default=False)
    ] = None,
    email: Annotated[
        str | None, typer.Option(help="Where alarms go; '' for nowhere. Default: nowhere.", show_default=False)
    ] = None,
    bucket: Annotated[
        str | None,
        typer.Option(help="A bucket that is there, such as the one `destroy` left. Default: makes one."),
    ] = None,
    volume_gib: Annotated[
        int | None, typer.Option(min=8, max=16384, help="An instance's root volume. Default: 50.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the template and what would change; change nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before something is replaced or removed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Make the stack in an AWS account, or bring it up to date.

    What is not given stays as it is. Once more is always safe: it goes on
    from whatever stands there, and changes nothing where nothing differs.

    Example: spotrelay deploy --image ami-0123456789abcdef0
    """
    # Half a second of imports, which are not for --help.
    from spotrelay.stack import template  # noqa: PLC0415
    from spotrelay.stack.account import Account  # noqa: PLC0415
    from spotrelay.stack.deploying import Audience, Deployment, Wishes  # noqa: PLC0415

    wishes = Wishes(
        stack=stack_name,
        image=image,
        types=_words(types),
        zones=_words(zones),
        email=email,
        bucket=bucket or None,
        volume_gib=volume_gib,
    )
    view = View(Console(stderr=True, highlight=False), yes=yes)
    with Account(region=region, profile=profile) as account:
        deployment = Deployment(account, wishes, Audience(view.phase, view.event, view.plan, view.approve))
        if dry_run:
            if deployment.rehearse() is None:
                view.phase(f"no stack {stack_name} to update in {account.region}: it would be made")
            print(template.text(), end="")
            return
        deployed = deployment.run()
        if as_json:
            print(json.dumps(_document(deployed, account.region), indent=2))
        else:
            _say(deployed, account.region)
    raise typer.Exit(0 if deployed.approved else 1)


class View:
    """What is seen on the way."""

    def __init__(self, console: Console, *, yes: bool) -> None:
        self._console, self._yes = console, yes

    def phase(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def event(self, event: Event) -> None:
        style = "red" if event.status.endswith("_FAILED") else "dim" if event.status.endswith("_IN_PROGRESS") else ""
        reason = f"  {event.reason}" if event.status.endswith("_FAILED") else ""
        self._console.print(f"  {event.resource:<22} {event.status}{reason}", style=style, markup=False, soft_wrap=True)

    def plan(self, plan: Plan) -> None:
        if plan.change_set is None:
            self.phase("nothing to change")
        elif not plan.changes:
            self.phase("no resource changes, only what the stack says of itself")
        for change in plan.changes:
            self.phase(f"{_SIGNS.get(change.action, '?')} {change.resource:<22} {change.kind}{_about(change)}")

    def approve(self, plan: Plan) -> bool:
        names = ", ".join(change.resource for change in plan.losses)
        if self._yes:
            return True
        if not sys.stdin.isatty():
            raise UsageError(f"this replaces or removes {names}", next_step="if that is meant, say --yes")
        return typer.confirm(f"This replaces or removes {names}. Go on?", err=True)


def _about(change: Change) -> str:
    words = [
        *(["replaced"] if change.replaced else []),
        *(["kept in the account"] if change.kept and change.action == "Remove" else []),
        *([", ".join(change.properties)] if change.properties else []),
    ]
    return f"  ({'; '.join(words)})" if words else ""


def _say(deployed: Deployed, region: str) -> None:
    if not deployed.approved:
        print("Nothing of that was changed.")
        return
    outputs = deployed.standing.outputs
    did = "is up to date" if not deployed.changes else "is deployed"
    print(f"{deployed.standing.name} {did} in {region} (spotrelay {outputs.get('StackVersion', '')})")
    print(f"  store   {outputs.get('StoreUrl', '')}")
    print(f"  queue   {outputs.get('QueueUrl', '')}")


def _document(deployed: Deployed, region: str) -> dict[str, Any]:
    return {
        "stack": deployed.standing.name,
        "region": region,
        "status": deployed.standing.status,
        "approved": deployed.approved,
        "changes": [
            {"action": each.action, "resource": each.resource, "type": each.kind, "replaced": each.replaced}
            for each in deployed.changes
        ],
        "outputs": deployed.standing.outputs,
    }


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]
