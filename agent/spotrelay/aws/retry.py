"""One policy for trying again. It knows that StoreUnavailable may pass and that nothing else does, and nothing of S3.

No attempt starts once `patience` seconds have passed since the first, nor after a cancellation: "cancelled" means that
nothing more is written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_before_delay, wait_random_exponential

from spotrelay.core.errors import StoreUnavailable

R = TypeVar("R")

# Full jitter: agents throttled together must not come back together. 0.1 s is what the SDKs begin with; 5 s at most,
# because at the end of an instance each second counts.
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0


async def retrying(attempt: Callable[[], Awaitable[R]], *, patience: float) -> R:
    """The first answer. Raises what the last attempt raised."""
    policy = AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=wait_random_exponential(multiplier=FIRST_WAIT_S, max=LONGEST_WAIT_S),
        stop=stop_before_delay(patience),
        reraise=True,
    )
    async for turn in policy:
        with turn:
            return await attempt()
    raise AssertionError("unreachable: the policy answers or raises")
