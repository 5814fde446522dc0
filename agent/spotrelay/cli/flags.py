"""What flags can say of a run, and which fields of run.toml that is. A field that nobody names is not in `given`, or
None there: then run.toml says it, or the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from spotrelay.core import spec
from spotrelay.person import wishes

_WHAT, _WHERE, _UNTIL = "What is run", "On what", "Until when"

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Any field of run.toml: limits.hours=48. Repeatable."),
]
Follow = Annotated[bool, typer.Option("--follow", help="Stay, and show what it says, until it is over.")]


@dataclass(frozen=True, slots=True)
class Job:
    name: Annotated[
        str | None,
        typer.Option(help="Default: the directory's, numbered if taken.", show_default=False, rich_help_panel=_WHAT),
    ] = None
    directory: Annotated[
        str | None,
        typer.Option(help="Where it will be there. Default: /srv/NAME.", show_default=False, rich_help_panel=_WHAT),
    ] = None
    user: Annotated[
        str | None, typer.Option(help="Whom to run as. Default: root.", show_default=False, rich_help_panel=_WHAT)
    ] = None
    env: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE. No secrets. Repeatable.", rich_help_panel=_WHAT)
    ] = None
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=ssm:/PATH", help="From SSM, read there. Repeatable.", rich_help_panel=_WHAT),
    ] = None
    exclude: Annotated[
        list[str] | None, typer.Option(help="Pattern of what is never saved. Repeatable.", rich_help_panel=_WHAT)
    ] = None

    def given(self) -> Mapping[str, Any]:
        """Raises UsageError."""
        return {
            "run.name": self.name,
            "run.directory": self.directory,
            "run.user": self.user,
            "run.env": wishes.pairs(self.env or [], "--env"),
            "run.secrets": wishes.pairs(self.secret or [], "--secret"),
            "run.exclude": self.exclude or None,
        }


@dataclass(frozen=True, slots=True)
class Machines:
    instance_type: Annotated[
        list[str] | None, typer.Option(help="Any of these will do. Repeatable.", rich_help_panel=_WHERE)
    ] = None
    use_spot: Annotated[
        bool | None,
        typer.Option("--use-spot/--on-demand", help="Default: spot.", show_default=False, rich_help_panel=_WHERE),
    ] = None

    def given(self) -> Mapping[str, Any]:
        market = None if self.use_spot is None else "spot" if self.use_spot else "on-demand"
        return {"instance.types": self.instance_type or None, "instance.market": market}


@dataclass(frozen=True, slots=True)
class Until:
    auto_resume: Annotated[
        bool | None,
        typer.Option(
            "--auto-resume/--no-auto-resume",
            help="Go on after an interruption; or be saved, and end. Default: go on.",
            show_default=False,
            rich_help_panel=_UNTIL,
        ),
    ] = None
    finish_by: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="On demand, once spot would be too late. With --work-hours.",
            show_default=False,
            rich_help_panel=_UNTIL,
        ),
    ] = None
    work_hours: Annotated[
        float | None, typer.Option(help="How long it takes, undisturbed.", show_default=False, rich_help_panel=_UNTIL)
    ] = None
    max_cost: Annotated[
        float | None,
        typer.Option(metavar="DOLLARS", help="At most, for instances.", show_default=False, rich_help_panel=_UNTIL),
    ] = None

    def given(self) -> Mapping[str, Any]:
        attempts = None if self.auto_resume is None else spec.Limits().attempts if self.auto_resume else 1
        return {
            "instance.on_demand": spec.FINISH_BY if self.finish_by is not None else None,
            "instance.finish_by": None if self.finish_by is None else wishes.moment(self.finish_by),
            "instance.work_hours": self.work_hours,
            "limits.dollars": self.max_cost,
            # Without an attempt after the first, an interruption saves the directory and ends the run. A person may
            # resume.
            "limits.attempts": attempts,
        }


@dataclass(frozen=True, slots=True)
class Changes:
    """Of a run that is taken up again."""

    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, beside those it has. Repeatable.")] = None
    instance_type: Annotated[list[str] | None, typer.Option(help="In place of those it had. Repeatable.")] = None
    use_spot: Annotated[
        bool | None, typer.Option("--use-spot/--on-demand", help="Default: as before.", show_default=False)
    ] = None
    max_cost: Annotated[
        float | None, typer.Option(metavar="DOLLARS", help="At most, for the whole run.", show_default=False)
    ] = None

    def given(self) -> Mapping[str, Any]:
        """Raises UsageError."""
        return {
            "run.env": wishes.pairs(self.env or [], "--env"),
            **Machines(self.instance_type, self.use_spot).given(),
            "limits.dollars": self.max_cost,
        }
