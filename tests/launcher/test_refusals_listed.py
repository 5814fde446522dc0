"""The table of refusals and its sources: each documented code is accounted for, and each row has a source."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter

import pytest

from spotrelay.launcher import refusals
from spotrelay.launcher.refusals import TABLE, Action, Class, refusal
from support.ec2_codes import (
    BOTOCORE,
    COMMON,
    COMMON_ERROR_TYPES,
    FIELD,
    FORMERLY,
    OTHER_ACTIONS,
    ROWS,
    SERVER,
    SPECIFIC,
    STATE_REASONS,
)


@pytest.mark.parametrize(
    "listed",
    [COMMON, SERVER, COMMON_ERROR_TYPES, STATE_REASONS, FORMERLY, list(FIELD), BOTOCORE],
    ids=["common", "server", "types", "state-reasons", "formerly", "field", "botocore"],
)
def test_each_listed_code_has_a_row(listed: list[str]) -> None:
    assert [] == [code for code in listed if refusal(code).class_ is Class.UNKNOWN]


def about(code: str) -> list[str]:
    return [reason for reason, pattern in OTHER_ACTIONS.items() if re.fullmatch(pattern, code)]


def test_each_specific_code_has_a_row_or_a_reason() -> None:
    """Never both, never neither. Otherwise a refusal that EC2 documents for a launch is one that we do not know."""
    row = {code: refusal(code).class_ is not Class.UNKNOWN for code in SPECIFIC}

    assert [] == [code for code in SPECIFIC if not row[code] and not about(code)], "neither"
    assert [] == [(code, about(code)) for code in SPECIFIC if row[code] and about(code)], "both"


def test_each_row_has_a_source() -> None:
    """A code that nobody documents and nobody met is one that we made up."""
    listed = [*COMMON, *SERVER, *SPECIFIC, *COMMON_ERROR_TYPES, *STATE_REASONS, *FORMERLY, *FIELD, *BOTOCORE]
    sources = {name.casefold() for code in listed for name in (code, code.split(".", 1)[-1])}

    assert [] == [code for code in ROWS if code.casefold() not in sources]


def test_no_code_has_two_rows() -> None:
    """Whatever its spelling. In a literal the later one wins, and nobody is told."""
    tree = ast.parse(inspect.getsource(refusals))
    keys = [
        key.value.casefold()
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    ]

    assert len(ROWS) == len(keys), "the reading found other literals than the table"
    assert [] == [code for code, times in Counter(keys).items() if times > 1]


def test_every_action_and_class_is_used() -> None:
    """UNKNOWN is for what stands in no row."""
    assert set(Action) == {row.action for rows in TABLE.values() for row in rows.values()}
    assert set(Class) - {Class.UNKNOWN} == set(TABLE)
