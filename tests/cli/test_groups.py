"""A group of options is declared once, and is the same in each command that has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from spotrelay.cli import main
from spotrelay.cli.groups import Without, grouped


@dataclass(frozen=True)
class Place:
    store: Annotated[str | None, typer.Option(envvar="GROUPS_STORE", help="Where.")] = None
    stack: Annotated[str, typer.Option("--stack-name")] = "one"
    queue: Annotated[str | None, typer.Option()] = None


@dataclass(frozen=True)
class Other:
    stack: Annotated[str, typer.Option("--other")] = "other"


def asked(command: object, *words: str, **environment: str) -> str:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    said = CliRunner().invoke(app, list(words), env=environment)
    return said.output.strip()


@grouped
def whole(name: str, *, place: Place, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
    typer.echo(f"{name} {place} {loud}")


@grouped
def part(*, place: Annotated[Place, Without("queue")]) -> None:
    typer.echo(str(place))


def test_a_command_gets_what_was_said_of_the_group() -> None:
    """By word, by environment and by default, among its own options."""
    said = asked(whole, "--stack-name", "two", "--loud", "x", GROUPS_STORE="s3://b")

    assert "x Place(store='s3://b', stack='two', queue=None) True" == said


def test_what_a_command_has_no_use_for_is_no_option_of_it() -> None:
    """And has its default. Otherwise `ls` asks for a queue that it never rings."""
    assert "Place(store=None, stack='one', queue=None)" == asked(part)
    assert "No such option" in asked(part, "--queue", "x")


def test_one_name_is_one_option() -> None:
    """Said when the command is made, not when somebody gives the one that is never heard of."""

    def command(*, place: Place, other: Other) -> None:
        pass

    # Annotations are names of this module for whoever looks at them.
    with pytest.raises(ValueError, match="stack"):
        grouped(command)


def test_every_command_about_runs_is_told_in_the_same_words_where_they_are() -> None:
    """Whoever has a place in the shell's history can put it behind any other command. Those that ring have a queue."""
    commands = typer.main.get_command(main.app).commands  # type: ignore[attr-defined]
    options = {name: {option.name for option in command.params} for name, command in commands.items()}
    about_runs = {name for name, own in options.items() if "store" in own}

    assert {"store", "stack", "region", "profile"} <= set.intersection(*(options[name] for name in about_runs))
    assert {"run", "resume", "stop", "ui"} == {name for name, own in options.items() if "queue" in own}
    assert {"ls", "status", "logs", "snapshots", "pull", "receipt", "interrupt", "rm"} == about_runs - {
        "run", "resume", "stop", "ui",
    }  # fmt: skip
