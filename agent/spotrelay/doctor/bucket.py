"""The bucket: there, in the stack's region, closed to the public, and open to nobody who does not encrypt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import Ground
from spotrelay.stack.meanings import code_of

_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def reachable(ground: Ground) -> Iterator[Finding]:
    name, home = ground.outputs.get()["BucketName"], ground.region.get()
    try:
        answer = ground.client("s3").head_bucket(Bucket=name)
    except ClientError as error:
        headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region", home)
        if code_of(error) in ("404", "NoSuchBucket"):
            yield problem(
                f"the bucket {name} is not there: somebody deleted it, and with it every run's snapshots",
                remedy="Make the stack anew, with a bucket of its own.",
                command=f"{ground.spotrelay('destroy')} && {ground.deploy_first()}",
            )
            return
        if region == home:
            raise
    else:
        region = answer.get("BucketRegion") or home
    if region != home:
        yield problem(
            f"the bucket {name} is in {region}, the instances in {home}: each byte of a snapshot is paid for and late",
            remedy="Deploy where the bucket is, or let the stack make a bucket of its own.",
            command=ground.spotrelay("deploy", region=region),
        )
    else:
        yield ok(f"{name} is reachable")


def public_access(ground: Ground) -> Iterator[Finding]:
    name = ground.outputs.get()["BucketName"]
    try:
        blocks = ground.client("s3").get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    except ClientError as error:
        if code_of(error) != "NoSuchPublicAccessBlockConfiguration":
            raise
        blocks = {}
    missing = [block for block in _BLOCKS if not blocks.get(block)]
    if missing:
        everything = ",".join(f"{block}=true" for block in _BLOCKS)
        yield problem(
            f"the bucket {name} can be opened to the public ({', '.join(missing)} is off)",
            remedy="Block it.",
            command=ground.aws(
                f"s3api put-public-access-block --bucket {name} --public-access-block-configuration {everything}"
            ),
        )
    else:
        yield ok("blocked")


def encrypted_transport(ground: Ground) -> Iterator[Finding]:
    name = ground.outputs.get()["BucketName"]
    try:
        policy = json.loads(ground.client("s3").get_bucket_policy(Bucket=name)["Policy"])
    except ClientError as error:
        if code_of(error) != "NoSuchBucketPolicy":
            raise
        policy = {}
    if any(_denies_plain(statement) for statement in _several(policy.get("Statement", []))):
        yield ok("only encrypted connections are let in")
    else:
        yield warning(
            f"the bucket {name} answers unencrypted connections as well: its policy was changed by hand",
            remedy="Restore the policy; this shows what CloudFormation would have there.",
            command=ground.aws(
                f"cloudformation get-template --stack-name {ground.asked.stack} --query TemplateBody --output text"
            ),
        )


def _denies_plain(statement: dict[str, Any]) -> bool:
    told = str(statement.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport", "")).lower()
    return statement.get("Effect") == "Deny" and told == "false"


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
