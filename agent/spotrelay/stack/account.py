"""Whose account, and in which region: the person's own credentials, and a client for each service that is asked."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

import botocore.exceptions
from botocore.config import Config

from spotrelay.core.errors import StackRegion
from spotrelay.stack import clients
from spotrelay.stack.refusals import Place, of_client, told

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_iam import IAMClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_s3 import S3Client
    from types_boto3_sts import STSClient

# A person waits: what does not answer within seconds is said, not waited for. Retries are for throttling.
CONFIG = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 4})


class Account:
    """A context manager: it closes its clients. Raises StackRegion, StackCredentials."""

    def __init__(self, *, region: str | None = None, profile: str | None = None) -> None:
        try:
            session = clients.session(region, profile)
        except botocore.exceptions.BotoCoreError as error:
            raise of_client(error, "use the profile", Place(region or "unknown", profile)) from error
        if not session.region_name:
            raise StackRegion("no region is set", next_step="give --region, or set AWS_REGION")
        self.place = Place(session.region_name, profile)
        self._clients = clients.Clients(lambda: session, lambda: self.region, CONFIG)

    def __enter__(self) -> Account:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clients.close()

    @property
    def region(self) -> str:
        return self.place.region

    def number(self) -> str:
        """The account's. The cheapest question that needs credentials: whatever is wrong with them shows here."""
        with told("see whose account this is", self.place):
            return self.sts.get_caller_identity()["Account"]

    @property
    def cloudformation(self) -> CloudFormationClient:
        client: CloudFormationClient = self._client("cloudformation")
        return client

    @property
    def ec2(self) -> EC2Client:
        client: EC2Client = self._client("ec2")
        return client

    @property
    def iam(self) -> IAMClient:
        client: IAMClient = self._client("iam")
        return client

    @property
    def functions(self) -> LambdaClient:
        client: LambdaClient = self._client("lambda")
        return client

    @property
    def s3(self) -> S3Client:
        client: S3Client = self._client("s3")
        return client

    @property
    def sts(self) -> STSClient:
        client: STSClient = self._client("sts")
        return client

    def _client(self, service: str) -> Any:
        with told(f"speak to {service}", self.place):
            return self._clients(service)
