"""`spotrelay deploy`: what it does, and what a person sees of it. Standard output gets the result; the way there goes
to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from spotrelay.cli.account import STACK, AsJson, Profile, Region, StackName, Yes, command
from spotrelay.cli.groups import grouped
from spotrelay.cli.wanted import Wanted
from spotrelay.core.errors import UsageError

if TYPE_CHECKING:
    from spotrelay.stack.account import Account
    from spotrelay.stack.changes import Change, Plan
    from spotrelay.stack.deploying import Deployed
    from spotrelay.stack.progress import Event

_SIGNS = {"Add": "+", "Modify": "~", "Remove": "-", "Import": "+", "Dynamic": "?"}


@grouped
def deploy(
    stack_name: StackName = STACK,
    region: Region = None,
    profile: Profile = None,
    *,
    wanted: Wanted,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the template, or with --json the plan; change nothing.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make the stack in an AWS account, or bring it up to date.

    What is not given stays as it is. Once more is always safe: it goes on
    from whatever stands there, and changes nothing where nothing differs.

    Example: spotrelay deploy --image ami-0123456789abcdef0
    """
    # Half a second of imports, which are not for --help.
    from spotrelay.stack import template  # noqa: PLC0415
    from spotrelay.stack.account import Account  # noqa: PLC0415
    from spotrelay.stack.deploying import Audience, Deployment  # noqa: PLC0415

    view = View(Console(stderr=True, highlight=False), yes=yes)
    with Account(region=region, profile=profile) as account, view.until_interrupted():
        audience = Audience(view.phase, view.event, view.plan, view.approve)
        deployment = Deployment(account, wanted.wishes(stack_name), audience)
        if dry_run:
            plan = _planned(deployment.rehearse(), stack_name, account.region)
            print(json.dumps(plan, indent=2) if as_json else template.text().rstrip())
            return
        deployed = deployment.run()
        if as_json:
            print(json.dumps(_document(deployed, account.region), indent=2))
        else:
            _say(deployed, account, wanted)
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

    def approve(self, losses: str) -> bool:
        """`losses`: what "this" does."""
        if self._yes:
            return True
        if not sys.stdin.isatty():
            raise UsageError(f"this {losses}", next_step="if that is meant, say --yes")
        return typer.confirm(f"This {losses}. Go on?", err=True)

    @contextmanager
    def until_interrupted(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            self.phase(
                "interrupted; what CloudFormation has begun, it goes on with: the same command takes it up again"
            )
            raise


def _about(change: Change) -> str:
    words = [
        *(["replaced"] if change.replaced else []),
        *(["kept in the account"] if change.kept and change.action == "Remove" else []),
        *([", ".join(change.properties)] if change.properties else []),
    ]
    return f"  ({'; '.join(words)})" if words else ""


def _say(deployed: Deployed, account: Account, wanted: Wanted) -> None:
    if not deployed.approved:
        print("Nothing of that was changed.")
        return
    name, outputs = deployed.standing.name, deployed.standing.outputs
    did = "is up to date" if not deployed.changes else "is deployed"
    print(f"{name} {did} in {account.region} (spotrelay {outputs.get('StackVersion', '')})")
    print(f"  store   {outputs.get('StoreUrl', '')}")
    print(f"  queue   {outputs.get('QueueUrl', '')}")
    if wanted.email and any(change.resource == "Alarms" for change in deployed.changes):
        print(f"  alarms  {wanted.email}: AWS asks there for a confirmation; without it no alarm arrives")
    if wanted.notify and any(change.resource == "Notifications" for change in deployed.changes):
        print(f"  told    {wanted.notify}: AWS asks there for a confirmation; without it no notification arrives")
    if deployed.changes:
        print(f"  check   {command('doctor', name, account.place)}")


def _document(deployed: Deployed, region: str) -> dict[str, Any]:
    return {
        "stack": deployed.standing.name,
        "region": region,
        "status": deployed.standing.status,
        "approved": deployed.approved,
        "changes": _listed(deployed.changes),
        "outputs": deployed.standing.outputs,
    }


def _planned(plan: Plan | None, stack: str, region: str) -> dict[str, Any]:
    """`changes` null: there is no whole stack to compare with."""
    return {"stack": stack, "region": region, "changes": None if plan is None else _listed(plan.changes)}


def _listed(changes: Iterable[Change]) -> list[dict[str, Any]]:
    return [
        {"action": each.action, "resource": each.resource, "type": each.kind, "replaced": each.replaced}
        for each in changes
    ]
