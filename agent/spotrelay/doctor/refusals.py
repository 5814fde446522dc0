"""What it means when AWS does not let a check look: a finding, never an exception.

denied        unknown, with the permission to add
expired       unknown, with how to renew: it was good a moment ago
no answer     unknown: network, proxy, an endpoint that is not reachable from here
throttled     unknown: once more
failed        unknown: AWS's own fault, once more
the rest      unknown, in AWS's words
"""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from spotrelay.doctor.finding import Finding, skipped, unknown
from spotrelay.doctor.ground import Ground
from spotrelay.doctor.known import Missing

DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "Forbidden", "403"}
)
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
THROTTLED = frozenset(
    {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"}
)
# Every call of every check, and the permission for it. Most have the call's own name, and some have not.
PERMISSIONS = {
    "GetCallerIdentity": "sts:GetCallerIdentity",
    "DescribeStacks": "cloudformation:DescribeStacks",
    "DescribeStackEvents": "cloudformation:DescribeStackEvents",
    "ListStackResources": "cloudformation:ListStackResources",
    "DetectStackDrift": "cloudformation:DetectStackDrift",
    "DescribeStackDriftDetectionStatus": "cloudformation:DescribeStackDriftDetectionStatus",
    "DescribeStackResourceDrifts": "cloudformation:DescribeStackResourceDrifts",
    "GetFunctionConfiguration": "lambda:GetFunctionConfiguration",
    "GetFunctionConcurrency": "lambda:GetFunctionConcurrency",
    "ListEventSourceMappings": "lambda:ListEventSourceMappings",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
    "GetMetricStatistics": "cloudwatch:GetMetricStatistics",
    "DescribeAlarms": "cloudwatch:DescribeAlarms",
    "HeadBucket": "s3:ListBucket",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "GetBucketPolicy": "s3:GetBucketPolicy",
    "GetServiceQuota": "servicequotas:GetServiceQuota",
    "GetAWSDefaultServiceQuota": "servicequotas:GetAWSDefaultServiceQuota",
    "ListRequestedServiceQuotaChangeHistoryByQuota": "servicequotas:ListRequestedServiceQuotaChangeHistoryByQuota",
    "DescribeRegions": "ec2:DescribeRegions",
    "DescribeAvailabilityZones": "ec2:DescribeAvailabilityZones",
    "DescribeInstanceTypes": "ec2:DescribeInstanceTypes",
    "DescribeInstanceTypeOfferings": "ec2:DescribeInstanceTypeOfferings",
    "DescribeLaunchTemplateVersions": "ec2:DescribeLaunchTemplateVersions",
    "DescribeImages": "ec2:DescribeImages",
    "DescribeVpcs": "ec2:DescribeVpcs",
    "DescribeSubnets": "ec2:DescribeSubnets",
    "GetRole": "iam:GetRole",
    "GetInstanceProfile": "iam:GetInstanceProfile",
}


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def finding(error: Exception, ground: Ground) -> Finding:
    match error:
        case Missing():
            return skipped(f"it needs {error}")
        case ClientError():
            return _refused(error, ground)
        case BotoCoreError():
            return unknown(
                "AWS gave no answer",
                remedy="Check the network and the proxy (HTTPS_PROXY, NO_PROXY), then look again.",
                command=ground.spotrelay("doctor"),
                detail=str(error),
            )
    return unknown(
        "the check itself failed",
        remedy="This is a fault in spotrelay: please report it with the line below.",
        detail=f"{type(error).__name__}: {error}",
    )


def _refused(error: ClientError, ground: Ground) -> Finding:
    code, operation = code_of(error), error.operation_name
    if code in DENIED:
        permission = PERMISSIONS.get(operation, operation)
        return unknown(
            f"may not look: {permission} is not allowed",
            remedy=f"Add {permission} to the policies of {_who(ground)}.",
            detail=_words(error),
        )
    if code in EXPIRED:
        return unknown("the credentials expired meanwhile", remedy="Renew them and look again.", detail=_words(error))
    if code in THROTTLED:
        return unknown(
            "AWS throttles these calls now",
            remedy="Look again in a minute.",
            command=ground.spotrelay("doctor"),
            detail=_words(error),
        )
    if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
        return unknown(
            f"AWS itself failed at {operation}",
            remedy="Look again in a minute.",
            command=ground.spotrelay("doctor"),
            detail=_words(error),
        )
    return unknown(
        f"{operation} was refused: {code}",
        remedy="What AWS says below names the cause; if it does not, please report it.",
        detail=_words(error),
    )


def _who(ground: Ground) -> str:
    try:
        return ground.caller.get().arn
    except Missing:
        return "these credentials"


def _words(error: ClientError) -> str:
    """AWS's; of a page in HTML, which a proxy may send, the beginning."""
    said = str(error.response.get("Error", {}).get("Message", "")) or str(error)
    return said if len(said) <= 500 else f"{said[:500]}…"
