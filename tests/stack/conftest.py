"""An account to deploy into, seen by this process as its own; and a deployment without a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config
from moto.cloudformation.models import Stack, cloudformation_backends

from spotrelay.stack import account as stack_account
from spotrelay.stack import changes, destroying, progress
from spotrelay.stack.account import Account
from spotrelay.stack.deploying import Audience, Deployed, Deployment, Wishes
from support.aws_account import Front, own_account
from support.images import ACCOUNT, IMAGE, REGION

STACK = "spotrelay"


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    for module, name in ((progress, "EVERY_S"), (changes, "POLL_S"), (destroying, "POLL_S")):
        monkeypatch.setattr(module, name, 0.0)
    # What the front refuses, it refuses each time: boto3's own second tries would only take seconds.
    monkeypatch.setattr(stack_account, "CONFIG", Config(retries={"total_max_attempts": 1}))
    with own_account(monkeypatch) as found:
        yield found


@pytest.fixture
def aws(front: Front) -> Iterator[Account]:
    with Account() as found:
        yield found


@pytest.fixture
def deploy(aws: Account) -> Callable[..., Deployed]:
    """`deploy(volume_gib=80)`; `said`: a list for everything that is told; `approve`: the answer to a loss."""

    def run(*, said: list[Any] | None = None, approve: bool = True, **wishes: Any) -> Deployed:
        told = [] if said is None else said
        audience = Audience(told.append, told.append, told.append, lambda losses: approve)
        return Deployment(aws, Wishes(**{"stack": STACK, "image": IMAGE, **wishes}), audience).run()

    return run


@pytest.fixture
def in_moto(front: Front) -> Callable[[], Stack]:
    """The stack as moto has it: to put it into a state that moto never comes to by itself."""

    def find() -> Stack:
        return next(each for each in cloudformation_backends[ACCOUNT][REGION].stacks.values() if each.name == STACK)

    return find
