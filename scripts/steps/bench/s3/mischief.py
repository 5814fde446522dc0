"""What makes the server slow or wrong, and how often. Everything off is a fast and honest S3."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Mischief:
    """Shares are of the requests for objects, 0 to 1; each is drawn apart, from one seed.

    latency_s, rate: every request waits so long, and no connection moves more than `rate` bytes a second.
    refuse: 503 SlowDown, before anything happened. cut: the connection ends in the middle of the body, up or down.
    stall, stall_s: silence for so long, then the answer. flip: one byte of an answer's body is another one.
    forget: what is put is not kept, for who puts more than the memory holds and reads nothing back.
    """

    latency_s: float = 0.0
    rate: float = 0.0
    refuse: float = 0.0
    cut: float = 0.0
    stall: float = 0.0
    stall_s: float = 30.0
    flip: float = 0.0
    forget: bool = False
    seed: int = 1
    _dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    @property
    def honest(self) -> bool:
        """An answer's body leaves whole, right and as fast as it can."""
        return not (self.rate or self.cut or self.flip)

    def strikes(self, share: float) -> bool:
        return bool(share) and self._dice.random() < share

    def place(self, size: int) -> int:
        return self._dice.randrange(size)

    def due(self, size: int, taken_s: float) -> float:
        """How much longer a body of `size` bytes takes that has arrived after `taken_s`, its latency included."""
        slow = size / self.rate - taken_s if self.rate else 0.0
        return self.latency_s + max(0.0, slow)
