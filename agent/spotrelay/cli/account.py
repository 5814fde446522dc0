"""What `deploy`, `destroy` and `doctor` share: options that say which stack, and the way to name it in a command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from spotrelay.stack.refusals import Place

STACK = "spotrelay"


def _stack_name(name: str) -> str:
    """CloudFormation's own rule. Said here, since it is told by AWS in the words of its validator."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,127}", name):
        raise typer.BadParameter(f"{name!r} is no name for a stack: letters, digits and -, a letter first.")
    return name


StackName = Annotated[str, typer.Option(help="The stack's name: several can live side by side.", callback=_stack_name)]
Region = Annotated[str | None, typer.Option(help="Default: AWS_REGION, or the profile's.", show_default=False)]
Profile = Annotated[str | None, typer.Option(help="Of the AWS configuration.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before something is replaced or removed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]


def command(words: str, stack: str, place: Place) -> str:
    """To copy: it means this stack wherever it is typed."""
    return f"spotrelay {words}{'' if stack == STACK else f' --stack-name {stack}'}{place.options}"
