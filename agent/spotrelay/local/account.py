"""What one account has in one region: the parts that every launch needs, made once and handed on together."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from spotrelay.local.clock import Clock
from spotrelay.local.instances import Instances
from spotrelay.local.launch_templates import LaunchTemplates
from spotrelay.local.pools import Pools
from spotrelay.local.throttle import Throttle
from spotrelay.local.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Account:
    number: str
    clock: Clock
    rng: Random
    pools: Pools
    instances: Instances
    templates: LaunchTemplates
    tokens: Tokens
    throttle: Throttle
