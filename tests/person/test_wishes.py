"""Flags and run.toml say the same by the same names, and a flag wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spotrelay.core import keys, spec
from spotrelay.core.errors import SpecError, UsageError
from spotrelay.person import wishes
from spotrelay.person.wishes import Wish

HERE = Path("/home/ada/My Project!")
COMMAND = {"run.command": ["python", "train.py"]}


def wish(file: dict[str, Any] | None = None, given: dict[str, Any] | None = None, *settings: str) -> Wish:
    return wishes.wish(file, COMMAND if given is None else given, settings, directory=HERE)


def test_what_nobody_says_is_made_of_the_directory() -> None:
    """`spotrelay run -- python train.py` is enough."""
    made = wish()

    assert not made.named
    assert ("my-project", "/srv/my-project") == (made.spec.run.name, made.spec.run.directory)
    assert "/home/ubuntu/my-project" == wish(None, COMMAND | {"run.user": "ubuntu"}).spec.run.directory


def test_a_flag_wins_over_the_file() -> None:
    """And what it does not speak of, the file says. Names of variables are merged one by one."""
    file = {
        "run": {"name": "vit", "command": ["sh", "a.sh"], "env": {"A": "1", "B": "1"}},
        "limits": {"dollars": 10, "hours": 5},
    }
    made = wish(file, {"run.env": {"B": "2"}, "limits.dollars": 40.0, "run.user": None}, "limits.hours=7")

    assert made.named
    assert ("sh", "a.sh") == made.spec.run.command
    assert {"A": "1", "B": "2"} == made.spec.run.env
    assert (40, 7) == (made.spec.limits.dollars, made.spec.limits.hours)
    assert {"A": "1", "B": "1"} == file["run"]["env"], "the file's own document stays as it is"


@pytest.mark.parametrize("table", spec.FIELDS)
def test_every_field_of_the_reference_can_be_set(table: str) -> None:
    """By the reference's own example. Otherwise something can be said in the file alone."""
    plan = {"on_demand": "finish_by", "finish_by": "2030-12-01T08:00:00Z", "work_hours": 6}
    for name, field in spec.FIELDS[table].items():
        wanted = spec.toml_document(field.example, source="test")[name]
        file = {"instance": plan} if name in ("finish_by", "work_hours") else {}
        made = wish(file, COMMAND, f"{table}.{field.example.replace(' = ', '=', 1)}")

        assert wanted == made.spec.document()[table][name] or name == "on_demand", name


@pytest.mark.parametrize("text", ["hours=3", "limits.hours", "limits.minutes=3", "version=1", "=", ""])
def test_a_setting_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"limits\.hours=48"):
        wishes.setting(text)


def test_a_setting_that_is_no_toml_is_a_text() -> None:
    """`--set run.name=vit` needs no quotes within quotes."""
    assert ("run.name", "vit") == wishes.setting("run.name=vit")
    assert ("instance.types", ["g5.xlarge"]) == wishes.setting('instance.types=["g5.xlarge"]')


@pytest.mark.parametrize(
    "document", [{"run": 7}, {"run": {"name": 7}}, {"limits": [1]}, {"run": {"umask": 3}}, {"x": 1}]
)
def test_a_wrong_file_is_told(document: dict[str, Any]) -> None:
    """As a spec's problems, whatever a flag says beside it."""
    with pytest.raises(SpecError, match=r"run\.toml"):
        wish(document, COMMAND | {"run.env": {"A": "b"}, "limits.dollars": 3.0})


@pytest.mark.parametrize("name", ["-", "ÄÖ", "a" * 60, "x-" * 30, "7", ".hidden", "a_b.c"])
def test_any_directory_has_a_name_for_a_run(name: str) -> None:
    """And a thousand more where that is taken, all different."""
    names = wishes.numbered(wishes.name_of(Path("/", name)))

    assert all(keys.RUN_NAME.fullmatch(each) for each in names)
    assert len(names) == len(set(names)) > 900


def test_a_moment_is_the_persons_own() -> None:
    """No zone: the laptop's. Half a day earlier or later is what a deadline is about."""
    assert spec.checks.moment(wishes.moment("2030-12-01 08:00"))
    assert "2030-12-01T08:00:00Z" == wishes.moment("2030-12-01T08:00:00Z")
    assert "2030-13-01 08:00" == wishes.moment("2030-13-01 08:00"), "for the spec to refuse"
