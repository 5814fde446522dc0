"""What a person's commands ask of, in tests: a bell that remembers its rings, and a place for the installed command: a
bucket in a folder, and a queue on the local control plane.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from spotrelay.core.errors import QueueError
from spotrelay.core.messages import ResumeRequest
from spotrelay.local.server import ControlPlane
from spotrelay.ports import BrowsableStore
from support.rehearsals import Said, spotrelay
from support.stores import in_folder


@dataclass
class Bell:
    """`broken`: it does not ring."""

    broken: bool = False
    posts: list[ResumeRequest] = field(default_factory=list)

    async def post(self, request: ResumeRequest) -> None:
        if self.broken:
            raise QueueError("the line is dead")
        self.posts.append(request)


@dataclass
class Desk:
    """A person's terminal, in `folder`. `environment` names the place."""

    folder: Path
    store: BrowsableStore
    plane: ControlPlane
    environment: Mapping[str, str]

    async def types(self, *words: str, cwd: Path | None = None, **more: str) -> Said:
        return await spotrelay(*words, cwd=cwd or self.folder, env={**self.environment, **more})

    def rings(self) -> int:
        return sum(self.plane.sqs.queue("relay").counts())


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    """`folder/digits` is a project, `folder/store` the bucket."""
    plane = ControlPlane()
    await plane.start()
    try:
        url = plane.sqs.create_queue({"QueueName": "relay"})["QueueUrl"]
        bucket, project = folder / "store", folder / "digits"
        bucket.mkdir()
        project.mkdir()
        (project / "train.py").write_text("print('step 1')\n")
        environment = {
            "SPOTRELAY_STORE": bucket.as_uri(),
            "SPOTRELAY_QUEUE": url,
            "AWS_ENDPOINT_URL": plane.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "HOME": str(folder / "home"),
        }
        yield Desk(project, in_folder(bucket), plane, environment)
    finally:
        await plane.close()
