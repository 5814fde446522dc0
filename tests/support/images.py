"""The images of the emulated account: two of its own, and none of the 1,300 of Amazon's.

moto would make those anew for each account, in a fifth of a second; and whether it does is decided when the process
first asks for EC2, so that a test which counts on them depends on who ran before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami

import spotrelay

ACCOUNT, REGION = DEFAULT_ACCOUNT_ID, "us-east-1"
IMAGE, ARM_IMAGE = "ami-0123456789abcdef0", "ami-0fedcba9876543210"


@contextmanager
def none_of_amazons() -> Iterator[None]:
    """Around the reset that empties moto, and all that follows."""
    with patch.dict(os.environ, MOTO_EC2_LOAD_DEFAULT_AMIS="false"):
        yield


def make_images() -> None:
    """Under ids that a test can name: by EC2's API they would get others."""
    ec2 = ec2_backends[ACCOUNT][REGION]
    for identity, architecture in ((IMAGE, "x86_64"), (ARM_IMAGE, "arm64")):
        ec2.amis[identity] = Ami(ec2, identity, name=f"spotrelay-{spotrelay.__version__}", architecture=architecture)
