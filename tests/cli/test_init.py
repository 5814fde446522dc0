"""`spotrelay init` writes what was found, and nothing over what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spotrelay.core import spec
from spotrelay.core.spec import Spec
from spotrelay.person import draft, wishes
from support.rehearsals import spotrelay
from support.tree import tree

TORCH = b"import os\nimport torch\n"
FOUND: dict[str, tuple[dict[str | bytes, Any], str, str]] = {
    "nothing": ({}, "python3 train.py", ""),
    "a program": ({"train.py": TORCH, "main.py": b"", "x.py": b""}, "python3 train.py", "torch"),
    "a script": ({"train.sh": b"", "train.py": b""}, "bash train.sh", ""),
    "the only one": ({"digits.py": b"from transformers import Trainer\n"}, "python3 digits.py", "transformers"),
    "one of many": ({"a.py": b"", "b.py": b""}, "python3 train.py", ""),
    "requirements": ({"main.py": b"", "requirements.txt": b"numpy\n"}, "pip install -q -r requirements.txt", ""),
    "no requirements": ({"main.py": b"", "requirements.txt": b"\n"}, "python3 main.py", ""),
    "a package": ({"main.py": b"", "pyproject.toml": b'[project]\nname = "x"\n'}, "pip install -q .", ""),
    "settings of tools": ({"main.py": b"", "pyproject.toml": b"[tool.ruff]\n"}, "python3 main.py", ""),
    "what is no TOML": ({"main.py": b"\xff\xfe", "pyproject.toml": b"[["}, "python3 main.py", ""),
}


def parsed(text: str, directory: Path) -> Spec:
    """As `spotrelay run` reads it."""
    document = spec.toml_document(text, source="run.toml")
    return wishes.wish(document, {}, directory=directory).spec


@pytest.mark.parametrize(("there", "command", "framework"), FOUND.values(), ids=FOUND.keys())
def test_what_is_found_is_filled_in(tmp_path: Path, there: Any, command: str, framework: str) -> None:
    """And the file is one that `run` reads."""
    tree(there).write(tmp_path)
    made = draft.draft(tmp_path)

    assert command in " ".join(parsed(made.text, tmp_path).run.command)
    assert framework == made.framework
    assert ("say it" in made.text) == made.guessed


def test_every_field_is_in_it(tmp_path: Path) -> None:
    """With an example that holds once its # is gone. Otherwise the first thing a person uncomments is an error."""
    plan = {"on_demand": "finish_by", "finish_by": "2030-12-01T08:00:00Z", "work_hours": 6}
    text = draft.draft(tmp_path).text
    for table, fields in spec.FIELDS.items():
        for name, field in fields.items():
            example = spec.toml_document(field.example, source="test")[name]
            together = plan if name in plan and name != "on_demand" else {}
            run = {"name": "a", "command": ["b"], "directory": "/c"}
            document = {"run": run, table: (run if table == "run" else together) | {name: example}}

            assert f"# {field.example}\n" in text or name == "command"
            assert spec.parse(document, source="test")


async def test_it_is_written_once(tmp_path: Path) -> None:
    """A person's own words are never lost."""
    (tmp_path / "train.py").write_text("import torch\n")
    first = await spotrelay("init", cwd=tmp_path)
    (tmp_path / "run.toml").write_text("mine")
    second = await spotrelay("init", cwd=tmp_path)

    assert (0, 2) == (first.status, second.status), first.err
    assert "python3 train.py" in first.out
    assert "there is a run.toml already" in second.err
    assert "mine" == (tmp_path / "run.toml").read_text()


async def test_the_document(tmp_path: Path) -> None:
    said = await spotrelay("init", "--json", cwd=tmp_path)

    assert {"file": "run.toml", "found": [], "command": ["python3", "train.py"], "framework": ""} == said.document
