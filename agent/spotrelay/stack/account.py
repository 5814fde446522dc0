"""Whose account, and in which region: the person's own credentials, and a client for each service that is asked."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions
from botocore.config import Config

from spotrelay.core.errors import StackRegion
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
            self._session = boto3.Session(region_name=region, profile_name=profile)
        except botocore.exceptions.BotoCoreError as error:
            raise of_client(error, "use the profile", Place(region or "unknown", profile)) from error
        if not self._session.region_name:
            raise StackRegion("no region is set", next_step="give --region, or set AWS_REGION")
        self.place = Place(self._session.region_name, profile)
        self._clients: list[Any] = []

    def __enter__(self) -> Account:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            client.close()

    @property
    def region(self) -> str:
        return self.place.region

    def number(self) -> str:
        """The account's. The cheapest question that needs credentials: whatever is wrong with them shows here."""
        with told("see whose account this is", self.place):
            return self.sts.get_caller_identity()["Account"]

    @cached_property
    def cloudformation(self) -> CloudFormationClient:
        client: CloudFormationClient = self._made("cloudformation")
        return client

    @cached_property
    def ec2(self) -> EC2Client:
        client: EC2Client = self._made("ec2")
        return client

    @cached_property
    def iam(self) -> IAMClient:
        client: IAMClient = self._made("iam")
        return client

    @cached_property
    def functions(self) -> LambdaClient:
        client: LambdaClient = self._made("lambda")
        return client

    @cached_property
    def s3(self) -> S3Client:
        client: S3Client = self._made("s3")
        return client

    @cached_property
    def sts(self) -> STSClient:
        client: STSClient = self._made("sts")
        return client

    def _made(self, service: Any) -> Any:
        with told(f"speak to {service}", self.place):
            client = self._session.client(service, config=CONFIG)
        self._clients.append(client)
        return client
