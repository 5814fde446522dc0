"""What holds for every test: a blocked loop is a failure, and nothing may wait for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import structlog

from support.stalls import Witness

# A step of the loop longer than this is a blocked loop: a call that waits for a service that hangs takes longer. The
# time in which a busy computer did not run it is taken off (support/stalls.py); its disk may be busy, too. What a test
# computes in its own coroutine is its own affair.
SLOW_STEP_S = 3.0

# Examples that take long, to draw or to run, say how busy the computer is, and nothing about the code.
hypothesis.settings.register_profile(
    "spotrelay", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("spotrelay")


@pytest.fixture(scope="session", autouse=True)
def _a_stall_is_no_block() -> Iterator[None]:
    witness, log = Witness(SLOW_STEP_S), logging.getLogger("asyncio")
    log.addFilter(witness)
    yield
    log.removeFilter(witness)


@pytest.fixture(autouse=True)
async def _blocked_loop_fails(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = SLOW_STEP_S
    yield
    said = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    steps = [record.getMessage() for record in said if record.name == "asyncio"]
    blocked = [step for step in steps if "took" in step and "coro=<test_" not in step]
    assert not blocked, f"the event loop was blocked: {blocked}"


@pytest.fixture(autouse=True)
def _logs_as_they_are_made() -> Iterator[None]:
    """An entry point that was called in this process has set up logging for all that come after it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _quiet_libraries() -> None:
    logging.getLogger("botocore").setLevel(logging.WARNING)
