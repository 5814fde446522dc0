"""What flags can say of the stack that `spotrelay deploy` makes. What nobody says stays as it is there, or is the
template's default.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from spotrelay.stack.deploying import Wishes


def _bucket(name: str | None) -> str | None:
    """With s3:// as well, as `destroy` and `doctor` write it."""
    bare = (name or "").removeprefix("s3://").rstrip("/")
    if bare and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bare):
        raise typer.BadParameter(f"{name!r} is no bucket's name.")
    return bare or None


def _email(address: str | None) -> str | None:
    if address and not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
        raise typer.BadParameter(f"{address!r} is no e-mail address.")
    return address


def _notify(where: str | None) -> str | None:
    """What is wrong is not said back: a webhook's address is a secret, and this may be most of one."""
    email, topic = r"[^@\s:/]+@[^@\s:/]+", r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[\w-]+"
    webhook = r"https://[^\s@/?#]+([/?][!-~]*)?"
    if where and not re.fullmatch(f"{email}|{topic}|{webhook}", where, re.ASCII):
        raise typer.BadParameter("that is no e-mail address, no https:// URL and no SNS topic's ARN.")
    return where


@dataclass(frozen=True, slots=True)
class Wanted:
    image: Annotated[
        str | None, typer.Option(help="The machine image with the agent in it. Needed at first.", show_default=False)
    ] = None
    types: Annotated[
        str | None,
        typer.Option(help="Instance types for runs that name none, with commas. Default: a dozen of two cores."),
    ] = None
    zones: Annotated[
        str | None, typer.Option(help="Availability zones, with commas. Default: all.", show_default=False)
    ] = None
    email: Annotated[
        str | None,
        typer.Option(help="Where alarms go; '' for nowhere. Default: nowhere.", show_default=False, callback=_email),
    ] = None
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="EMAIL|URL|ARN",
            envvar="SPOTRELAY_NOTIFY",
            help="Who is told when a run is interrupted, resumed, finished or stuck: an e-mail address, a webhook "
            "(Slack, Mattermost, Discord, your own), or an SNS topic; '' for nobody. Default: nobody.",
            show_default=False,
            callback=_notify,
        ),
    ] = None
    bucket: Annotated[
        str | None,
        typer.Option(
            help="A bucket that is there, such as the one `destroy` left. Default: makes one.", callback=_bucket
        ),
    ] = None
    volume_gib: Annotated[
        int | None, typer.Option(min=8, max=16384, help="An instance's root volume. Default: 50.", show_default=False)
    ] = None

    def wishes(self, stack: str) -> Wishes:
        from spotrelay.stack.deploying import Wishes  # noqa: PLC0415 - half a second of imports, which are not for --help

        return Wishes(
            stack=stack,
            image=self.image,
            types=_words(self.types),
            zones=_words(self.zones),
            email=self.email,
            notify=self.notify,
            bucket=self.bucket,
            volume_gib=self.volume_gib,
        )


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]
