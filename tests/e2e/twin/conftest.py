"""`image`: spotrelay's, built once a session by packer. `cloud`: a stage whose instances are twins of it.

Where no twin can be booted, every test here skips, and says what is missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.twin import rootfs
from support.twin.image import Built, built
from support.twin.stage import TwinStage, twin_stage


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.root)


@pytest.fixture(autouse=True)
def _blocked_loop_fails() -> None:
    """Not here: the loop of these tests is the region's, on a computer that boots machines beside it. The agent's own
    turns on the machine, where its watchdog looks."""


@pytest.fixture(scope="session")
def image() -> Built:
    if reason := rootfs.why_not():
        pytest.skip(reason)
    return built()


@pytest.fixture
async def cloud(tmp_path: Path, image: Built) -> AsyncIterator[TwinStage]:
    async with twin_stage(tmp_path, image, TwinStage) as stage:
        yield stage
