"""The frameworks, for what they write themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import examples


@pytest.fixture(scope="session")
def frameworks() -> Path:
    return examples.frameworks()
