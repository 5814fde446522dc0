"""A stack in order, to examine: deployed as a person deploys it, with what moto leaves out of it put in by hand."""

from __future__ import annotations

import json
import os
from typing import Any
from unittest.mock import patch

import spotrelay
from spotrelay.stack import changes, progress
from spotrelay.stack.account import Account
from spotrelay.stack.deploying import Audience, Deployment, Wishes
from support.aws_account import Front, client, environment
from support.images import IMAGE

STACK = "relay"
ALARM = f"{STACK}-DeadLettersAlarm-1ABC"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
TYPES = ("m5.large", "m6i.large")


def deploy(front: Front, **more: Any) -> dict[str, str]:
    """Its outputs. `more`: of the wishes."""
    audience = Audience(lambda _: None, lambda _: None, lambda _: None, lambda _: True)
    wishes = Wishes(STACK, image=IMAGE, types=list(TYPES), zones=list(ZONES), **more)
    hasty = patch.object(progress, "EVERY_S", 0.0), patch.object(changes, "POLL_S", 0.0)
    with patch.dict(os.environ, environment(front)), hasty[0], hasty[1], Account() as account:
        account.ec2.create_tags(Resources=[IMAGE], Tags=[{"Key": "spotrelay:version", "Value": spotrelay.__version__}])
        outputs = Deployment(account, wishes, audience).run().standing.outputs
    s3, iam, cloudwatch = clients = [client(name, front) for name in ("s3", "iam", "cloudwatch")]
    _close_bucket(s3, outputs["BucketName"])
    # By name: moto gives service-linked roles names of its own.
    iam.create_role(RoleName="AWSServiceRoleForEC2Spot", AssumeRolePolicyDocument="{}")
    _make_alarm(cloudwatch, front)
    front.quota("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 64)
    for each in clients:
        each.close()
    front.asked.clear()
    return outputs


def _make_alarm(cloudwatch: Any, front: Front) -> None:
    """CloudFormation's list gets it as well."""
    cloudwatch.put_metric_alarm(
        AlarmName=ALARM,
        AlarmDescription="A message failed five times. Look at the launcher's log, then at the dead-letter queue.",
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Statistic="Maximum",
        Period=300,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
    )
    told = {
        "LogicalResourceId": "DeadLettersAlarm",
        "ResourceType": "AWS::CloudWatch::Alarm",
        "PhysicalResourceId": ALARM,
        "ResourceStatus": "CREATE_COMPLETE",
    }
    member = "".join(f"<{key}>{value}</{key}>" for key, value in told.items())
    front.say("ListStackResources", f"<StackResourceSummaries><member>{member}</member></StackResourceSummaries>")


def _close_bucket(s3: Any, bucket: str) -> None:
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True))
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
