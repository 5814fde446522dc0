"""`spotrelay destroy`: the options, the question before, and what stays."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.filesize import decimal

from spotrelay.cli.account import STACK, AsJson, Profile, Region, StackName, Yes, command
from spotrelay.cli.deploy import View
from spotrelay.core.errors import UsageError

if TYPE_CHECKING:
    from spotrelay.stack.destroying import Left


def destroy(
    stack_name: StackName = STACK,
    region: Region = None,
    profile: Profile = None,
    yes: Yes = False,
    force: Annotated[
        bool, typer.Option("--force", help="End the stack's instances first, if any are alive. Each saves its run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the stack from the AWS account. Its bucket stays.

    Runs that were not finished stay in the bucket as they are.
    `spotrelay deploy --bucket` takes it over again.
    """
    # Half a second of imports, which are not for --help.
    from spotrelay.stack.account import Account  # noqa: PLC0415
    from spotrelay.stack.destroying import Destruction  # noqa: PLC0415

    view = View(Console(stderr=True, highlight=False), yes=yes)
    with Account(region=region, profile=profile) as account, view.until_interrupted():
        destruction = Destruction(account, stack_name, phase=view.phase, event=view.event)
        standing = destruction.look()
        left = None
        if standing is not None:
            if not (yes or _sure(stack_name, account.region)):
                print("Nothing was removed.")
                raise typer.Exit(1)
            left = destruction.run(standing, force=force)
        removed = standing is not None
        if as_json:
            print(json.dumps(_document(stack_name, account.region, removed, left), indent=2))
        elif removed:
            print(f"{stack_name} is gone from {account.region}.")
            if left is not None:
                _say(left, command(f"deploy --bucket {left.bucket} --image ami-…", stack_name, account.place))
        else:
            print(f"There is no stack {stack_name} in {account.region}: nothing to remove.")


def _sure(stack: str, region: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"this removes the stack {stack} in {region}", next_step="if that is meant, say --yes")
    return typer.confirm(f"This removes the stack {stack} in {region}; its bucket stays. Go on?", err=True)


def _say(left: Left, again: str) -> None:
    more = "more than " if left.more else ""
    objects = f"{left.objects:,} object{'s' * (left.objects != 1)}"
    print(f"Its bucket stays: s3://{left.bucket}, with {more}{decimal(left.bytes)} in {more}{objects}")
    if left.unfinished:
        print(f"  not finished   {', '.join(left.unfinished)}")
    print(f"  to take over   {again}")
    print(f"  to remove      aws s3 rb --force s3://{left.bucket}")


def _document(stack: str, region: str, removed: bool, left: Left | None) -> dict[str, Any]:
    kept = None
    if left is not None:
        kept = {
            "bucket": left.bucket,
            "objects": left.objects,
            "bytes": left.bytes,
            "more": left.more,
            "unfinished": list(left.unfinished),
        }
    return {"stack": stack, "region": region, "removed": removed, "left": kept}
