"""Stories (`support.story`) whose instances are twins of the image.

Everything that an instance touches goes over its own network: S3 is moto's, queue and EC2 are the simulator's. Only
what the job tells its test goes past it: the folder of the story, which every machine sees under the same path.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import boto3

from spotrelay.bundle import launcher_files
from spotrelay.local.cloud import Computer, Image
from support.moto_server import moto_server
from support.story import Stage
from support.twin import rootfs
from support.twin.image import KEYS, Built
from support.twin.machine import Twin
from support.twin.network import Region

BUCKET = "relay-bucket"
DIRECTORY = Path("/home/admin/job")
DROP_IN = "etc/systemd/system/spotrelay-agent.service.d/twin.conf"
# cloud-init's first stage asks before there is a network, and nobody answers DHCP here: it waits for minutes. Since its
# 24.3 stages wait for each other, and none may be left out: there it is told to be quick.
NO_LOCAL_STAGE = (
    {"etc/systemd/system/cloud-init-local.service.d/twin.conf": "[Unit]\nConditionPathExists=/there/is/none\n"}
    if rootfs.SUITE == "bookworm"
    else {"etc/cloud/cloud.cfg.d/95-twin.cfg": "datasource: {Ec2: {strict_id: false, max_wait: 2, timeout: 2}}\n"}
)


@dataclass(slots=True)
class Making:
    """How instances are made from here on. `environment`: more of it for their agents; `files`: more on their disks;
    `layers`: another disk than the image's."""

    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    layers: tuple[Path, ...] = ()
    plugged: bool = True
    cloud_init: bool = False


class TwinStage(Stage):
    """`twins`: those booted, by instance id; `making`: how the next ones are made."""

    python = "/usr/bin/python3"

    def __init__(self, folder: Path, built: Built, region: Region, **options: Any) -> None:
        super().__init__(folder, Image(DIRECTORY, list(launcher_files()), environment={}), **options)
        self.twins: dict[str, Twin] = {}
        self.making = Making()
        self.built, self.region = built, region

    def files(self) -> dict[str, str]:
        """What the next machine has on its disk beside its layers."""
        environment = {
            "SPOTRELAY_ENDPOINT": self.wires[self.provision.endpoint],
            "SPOTRELAY_ENDPOINT_S3": self.wires[str(self.provision.store_endpoint)],
            **self.making.environment,
        }
        drop_in = "[Service]\n" + "".join(f'Environment="{name}={value}"\n' for name, value in environment.items())
        return {DROP_IN: drop_in, **self.making.files}

    async def _boot(self, computer: Computer, imds: str) -> Any:
        making, state = self.making, self.folder / "state"
        twin = await Twin.boot(
            self.folder / "machines" / computer.instance.id,
            layers=making.layers or self.built.layers,
            region=self.region,
            imds=imds,
            console=computer.state / "agent.log",
            files=self.files(),
            visible=[state],
            cloud_init=making.cloud_init,
            plugged=making.plugged,
        )
        self.twins[computer.instance.id] = twin
        return twin

    async def __aenter__(self) -> TwinStage:
        await super().__aenter__()
        found = (self.provision.endpoint, str(self.provision.store_endpoint))
        self.wires = {url: await self.region.wire(url) for url in found}
        return self

    def console(self, instance: str) -> str:
        """What a person sees of it, also when it is gone."""
        return (self.computers[instance].state / "agent.log").read_text(errors="replace")

    async def twin(self, instance: str) -> Twin:
        """When it was switched on."""
        while instance not in self.twins:
            assert not self.computers[instance].off.is_set(), self.console(instance)
            await asyncio.sleep(0.02)
        return self.twins[instance]


Kind = TypeVar("Kind", bound=TwinStage)


@asynccontextmanager
async def twin_stage(folder: Path, built: Built, kind: type[Kind]) -> AsyncIterator[Kind]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with moto_server() as moto:
        environment |= {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": moto,
        }
        with patch.dict(os.environ, environment, clear=True):
            await asyncio.to_thread(_bucket, moto)
            async with Region() as region:
                stage = kind(folder, built, region, store_url=f"s3://{BUCKET}/relay", store_endpoint=moto)
                async with stage:
                    yield stage


def _bucket(moto: str) -> None:
    client = boto3.client("s3", endpoint_url=moto, **KEYS)
    client.create_bucket(Bucket=BUCKET)
    client.close()
