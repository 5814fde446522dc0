"""The bucket: there, near, closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spotrelay.doctor.finding import Finding, State
from support.aws_account import Front

Only = Callable[..., Finding]
Ask = Callable[[str], Any]


def test_a_bucket_that_was_deleted(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """All snapshots went with it: the new stack gets a bucket of its own."""
    name = outputs["BucketName"]
    ask("s3").delete_bucket_policy(Bucket=name)  # it denies unencrypted connections: this one is
    [code] = ask("s3").list_objects_v2(Bucket=name)["Contents"]
    ask("s3").delete_object(Bucket=name, Key=code["Key"])
    ask("s3").delete_bucket(Bucket=name)
    finding = only("bucket")

    assert State.PROBLEM == finding.state
    assert name in finding.what
    anew = "spotrelay destroy --stack-name relay && spotrelay deploy --stack-name relay --image ami-…"
    assert anew == finding.command


def test_a_bucket_in_another_region(front: Front, outputs: dict[str, str], only: Only) -> None:
    """It works, and every byte of every snapshot is paid for, and late."""
    front.refuse("HEAD /", "PermanentRedirect", status=301, x_amz_bucket_region="eu-west-1")
    finding = only("bucket")

    assert State.PROBLEM == finding.state
    assert "is in eu-west-1, the instances in us-east-1" in finding.what
    assert "spotrelay deploy --stack-name relay --region eu-west-1" == finding.command


def test_a_bucket_that_can_be_made_public(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    name = outputs["BucketName"]
    ask("s3").delete_public_access_block(Bucket=name)
    finding = only("public access")

    assert State.PROBLEM == finding.state
    assert finding.command.startswith(f"aws s3api put-public-access-block --bucket {name} ")
    assert "RestrictPublicBuckets=true" in finding.command


def test_a_bucket_half_closed(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """What is open is named."""
    blocks = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False}
    ask("s3").put_public_access_block(
        Bucket=outputs["BucketName"], PublicAccessBlockConfiguration={**blocks, "RestrictPublicBuckets": True}
    )
    finding = only("public access")

    assert "(BlockPublicPolicy is off)" in finding.what


def test_a_bucket_without_its_policy(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """Deploying would not bring it back: CloudFormation believes that it is there."""
    ask("s3").delete_bucket_policy(Bucket=outputs["BucketName"])
    finding = only("bucket policy")

    assert State.WARNING == finding.state
    assert finding.command.startswith("aws cloudformation get-template --stack-name relay ")
