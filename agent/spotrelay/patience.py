"""Wait for surroundings that are slow, wrong, down or throttling (P6), but not for ever (P5).

The adapters try again for seconds. Here is the longer patience of steps that the attempt cannot do without: an outage
of S3, or an instance role that is not there yet (IAM takes up to a minute), must not end what waiting would save.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
import tenacity

from spotrelay.core.errors import QueueError, SecretUnavailable, StoreDenied, StoreUnavailable

T = TypeVar("T")
_PASSING = (StoreUnavailable, StoreDenied, QueueError, SecretUnavailable, OSError)
# How long a step may wait for its surroundings. Ten minutes of an instance cost less than starting over on another;
# an outage of hours would burn more than it saves (P5), so then it ends, and EC2's event finds another.
PATIENCE_S = 600.0
# The adapters have waited before; here it goes on at a pace that a recovering service can bear.
_WAIT = tenacity.wait_random_exponential(multiplier=0.5, min=0.2, max=20)


async def patiently(call: Callable[[], Awaitable[T]], *, what: str, for_s: float) -> T:
    """What `call` returns, tried for `for_s` seconds; then its last error. Errors that do not pass come at once.

    No try begins after `for_s`: who asks for so long plans with it.
    """
    log = structlog.get_logger()

    def tell(retry: tenacity.RetryCallState) -> None:
        error = retry.outcome and retry.outcome.exception()
        log.warning("surroundings.failing", what=what, error=str(error), tries=retry.attempt_number)

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(_PASSING),
        wait=_WAIT,
        stop=tenacity.stop_before_delay(for_s),
        before_sleep=tell,
        reraise=True,
        sleep=asyncio.sleep,
    )

    async def tried() -> T:  # tenacity awaits what is declared async, not what returns an awaitable
        return await call()

    return await retrying(tried)
