"""Where a person's runs are: which store and which queue. What every command about runs begins with.

1. `--store` and `--queue`, or SPOTRELAY_STORE and SPOTRELAY_QUEUE: as they are. No stack is asked, and a command that
   only reads needs no queue. A folder (`file:///…`) is a store too.
2. Otherwise the stack's own outputs, by `--stack-name`, `--region` and `--profile`: one question to CloudFormation.

The environment is read, and never changed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from spotrelay.cli.account import STACK, command
from spotrelay.cli.groups import Without
from spotrelay.core.errors import StackError, UsageError

if TYPE_CHECKING:
    from spotrelay.aws.queue import SqsQueue
    from spotrelay.ports import BrowsableStore

_WHERE = "Where the runs are"
# A person waits: what S3 does not answer within this is said.
PATIENCE_S = 20.0
# A pack of 16 MiB by a line of 1 Mbit/s, which four packs share. One on which nothing arrives any more ends at once.
STREAM_S = 600.0


@dataclass(frozen=True, slots=True)
class Where:
    """Found. `queue` None: a store was given, and no queue."""

    store: str
    queue: str | None = None
    region: str | None = None
    profile: str | None = None

    def open_store(self) -> BrowsableStore:
        """Raises UsageError."""
        from spotrelay.aws.credentials import Chain  # noqa: PLC0415
        from spotrelay.aws.store import open_store  # noqa: PLC0415

        keys_of = Chain(self.profile) if self.profile else None
        return open_store(self.store, credentials=keys_of, region=self.region, patience=PATIENCE_S, stream_s=STREAM_S)

    def open_queue(self) -> SqsQueue:
        """Raises UsageError."""
        from spotrelay.aws.credentials import Chain  # noqa: PLC0415
        from spotrelay.aws.json_request import Caller  # noqa: PLC0415
        from spotrelay.aws.queue import SqsQueue  # noqa: PLC0415

        if self.queue is None:
            raise UsageError("a store is given, and no queue", next_step="say --queue as well, or neither")
        return SqsQueue(self.queue, Caller(self.region or "", Chain(self.profile)))


@dataclass(frozen=True, slots=True)
class Place:
    """As the options say, which each command about runs has."""

    store: Annotated[
        str | None,
        typer.Option(
            envvar="SPOTRELAY_STORE", help="Instead of the stack's.", show_default=False, rich_help_panel=_WHERE
        ),
    ] = None
    queue: Annotated[
        str | None,
        typer.Option(
            envvar="SPOTRELAY_QUEUE", help="Instead of the stack's.", show_default=False, rich_help_panel=_WHERE
        ),
    ] = None
    stack: Annotated[str, typer.Option("--stack-name", help="The stack's name.", rich_help_panel=_WHERE)] = STACK
    region: Annotated[
        str | None,
        typer.Option(help="Default: AWS_REGION, or the profile's.", show_default=False, rich_help_panel=_WHERE),
    ] = None
    profile: Annotated[
        str | None, typer.Option(help="Of the AWS configuration.", show_default=False, rich_help_panel=_WHERE)
    ] = None

    @property
    def options(self) -> str:
        """To copy behind a command that shall mean the same place. What the environment says needs no repeating."""
        given = (
            ("--store", self.store, os.environ.get("SPOTRELAY_STORE")),
            ("--queue", self.queue, os.environ.get("SPOTRELAY_QUEUE")),
            ("--stack-name", self.stack, STACK),
            ("--region", self.region, None),
            ("--profile", self.profile, None),
        )
        return "".join(f" {option} {value}" for option, value, known in given if value and value != known)

    def find(self) -> Where:
        """Raises StackError."""
        if not self.store:
            return self._of_stack()
        region = self.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        return Where(self.store, self.queue, region, self.profile)

    def _of_stack(self) -> Where:
        # Half a second of imports, which whoever names a store does not need.
        from spotrelay.stack.account import Account  # noqa: PLC0415
        from spotrelay.stack.standing import look  # noqa: PLC0415

        with Account(region=self.region, profile=self.profile) as account:
            standing = look(account, self.stack)
            outputs = standing.outputs if standing is not None else {}
            if standing is None or not {"StoreUrl", "QueueUrl"} <= outputs.keys():
                what = "has not been made" if standing is None else f"is not whole: it is {standing.status}"
                raise StackError(
                    f"the stack {self.stack} {what} ({account.place})",
                    next_step=command("deploy", self.stack, account.place),
                )
            return Where(outputs["StoreUrl"], self.queue or outputs["QueueUrl"], account.region, self.profile)


# Of a command that only reads, or rings no bell.
Bucket = Annotated[Place, Without("queue")]
