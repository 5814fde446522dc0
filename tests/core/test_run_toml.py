"""run.toml as it is written: what was meant comes back from it, and it says no more than that."""

from __future__ import annotations

import pytest
from hypothesis import given

from core.test_spec import SPECS
from spotrelay.core import run_toml, spec
from spotrelay.core.errors import SpecError
from spotrelay.core.spec import Spec

RUN = {"run": {"name": "demo", "command": ["python", "train.py"], "directory": "/srv/demo"}}


@given(SPECS)
def test_a_spec_comes_back_from_its_toml(wanted: Spec) -> None:
    """`run --print > run.toml` and `run -f run.toml` are the same run. Otherwise what is kept is another one."""
    try:
        text = run_toml.write(wanted)
    except SpecError:
        assert b"\\udc" in wanted.encode(), "only what is no text cannot be written"
    else:
        assert wanted == spec.from_toml(text, source="run.toml")


def test_only_what_was_meant_is_written() -> None:
    """A person reads five lines, not thirty defaults."""
    wanted = spec.parse({**RUN, "limits": {"dollars": 40}, "run": {**RUN["run"], "env": {"A": 'b"'}}}, source="test")

    assert run_toml.write(wanted) == (
        '[run]\nname = "demo"\ncommand = ["python", "train.py"]\ndirectory = "/srv/demo"\nenv = { A = "b\\"" }\n\n'
        "[limits]\ndollars = 40\n"
    )


def test_bytes_that_are_no_text_are_refused() -> None:
    """TOML is UTF-8. The file's name is told; it is not written as something else."""
    wanted = spec.parse({"run": {**RUN["run"], "command": ["./caf\udce9"]}}, source="test")

    with pytest.raises(SpecError, match="rename it"):
        run_toml.write(wanted)
