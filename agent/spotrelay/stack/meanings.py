"""What it means when AWS refuses or does not answer, whoever asked: one row a meaning.

`refusals` makes errors of it that end a command, `doctor.refusals` findings that stand beside others. A code that is in
no row is OTHER, and AWS's own words are all that there is to say.
"""

from __future__ import annotations

import difflib
import re
from enum import Enum, auto

import botocore.exceptions as theirs
import botocore.session
from botocore.parsers import ResponseParserError


class Meaning(Enum):
    DENIED = auto()  # a permission is missing
    EXPIRED = auto()  # the credentials were good
    CLOCK = auto()  # signed at a time that AWS does not believe
    UNKNOWN_KEY = auto()  # deleted, mistyped; or good, in a region that its account has not enabled
    WRONG_SECRET = auto()
    NOT_ENABLED = auto()  # the region, for this account
    ELSEWHERE = auto()  # the bucket is in another region
    BUSY = auto()  # more calls than the account may make
    FAILED = auto()  # AWS itself did
    NO_PROFILE = auto()
    SIGNED_OUT = auto()  # no credentials, or some that cannot be renewed without a person
    NO_REGION = auto()
    NO_ANSWER = auto()  # network, proxy, or nobody there
    OTHER = auto()


_CODES = {
    Meaning.DENIED: "AccessDenied AccessDeniedException UnauthorizedOperation AuthorizationError Forbidden 403",
    Meaning.EXPIRED: "ExpiredToken ExpiredTokenException RequestExpired TokenRefreshRequired",
    Meaning.CLOCK: "RequestTimeTooSkewed",
    Meaning.UNKNOWN_KEY: "InvalidClientTokenId UnrecognizedClientException InvalidAccessKeyId AuthFailure",
    Meaning.WRONG_SECRET: "SignatureDoesNotMatch InvalidSignatureException IncompleteSignature",
    Meaning.NOT_ENABLED: "OptInRequired",
    Meaning.ELSEWHERE: "PermanentRedirect IllegalLocationConstraintException AuthorizationHeaderMalformed 301",
    Meaning.BUSY: "Throttling ThrottlingException RequestLimitExceeded TooManyRequestsException SlowDown",
    Meaning.FAILED: "ServiceUnavailable InternalFailure InternalError RequestTimeout",
}
_BY_CODE = {code: meaning for meaning, codes in _CODES.items() for code in codes.split()}
# A signature that is refused for its time has the code of one that is wrong.
_OFF = ("Signature expired", "Signature not yet current")
_UNSENT: tuple[tuple[Meaning, tuple[type[Exception], ...]], ...] = (
    (Meaning.NO_PROFILE, (theirs.ProfileNotFound,)),
    (
        Meaning.SIGNED_OUT,
        (
            theirs.NoCredentialsError,
            theirs.PartialCredentialsError,
            theirs.CredentialRetrievalError,
            theirs.SSOError,
            theirs.TokenRetrievalError,
            theirs.LoginError,
            theirs.ConfigNotFound,
        ),
    ),
    (Meaning.NO_REGION, (theirs.NoRegionError, theirs.InvalidRegionError)),
    # An answer that cannot be read is somebody else's, such as a proxy's; botocore calls it no error of its own.
    (Meaning.NO_ANSWER, (theirs.HTTPClientError, theirs.ConnectionError, ResponseParserError)),
)
# The calls that a person's commands make, by service, which also is the permission's name but for those at the end.
_CALLS = {
    "sts": "GetCallerIdentity",
    "cloudformation": "DescribeStacks DescribeStackEvents ListStackResources DetectStackDrift "
    "DescribeStackDriftDetectionStatus DescribeStackResourceDrifts CreateChangeSet DescribeChangeSet DeleteChangeSet "
    "ExecuteChangeSet DeleteStack ContinueUpdateRollback",
    "lambda": "GetFunctionConfiguration GetFunctionConcurrency ListEventSourceMappings UpdateEventSourceMapping",
    "sqs": "GetQueueAttributes",
    "cloudwatch": "GetMetricStatistics DescribeAlarms",
    "sns": "ListSubscriptionsByTopic",
    "s3": "GetBucketPolicy PutObject",
    "servicequotas": "GetServiceQuota GetAWSDefaultServiceQuota ListRequestedServiceQuotaChangeHistoryByQuota",
    "ec2": "DescribeRegions DescribeAvailabilityZones DescribeInstanceTypes DescribeInstanceTypeOfferings "
    "DescribeLaunchTemplateVersions DescribeImages DescribeVpcs DescribeSubnets DescribeInstances TerminateInstances",
    "iam": "GetRole GetInstanceProfile CreateServiceLinkedRole",
}
PERMISSIONS = {call: f"{service}:{call}" for service, calls in _CALLS.items() for call in calls.split()} | {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
}
_NAMED = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z0-9]+)")


def meaning(error: Exception) -> Meaning:
    if not isinstance(error, theirs.ClientError):
        return next((found for found, kinds in _UNSENT if isinstance(error, kinds)), Meaning.OTHER)
    if any(off in words_of(error) for off in _OFF):
        return Meaning.CLOCK
    if found := _BY_CODE.get(code_of(error)):
        return found
    failed = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500
    return Meaning.FAILED if failed else Meaning.OTHER


def code_of(error: theirs.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def words_of(error: theirs.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))


def permission_of(error: theirs.ClientError) -> str:
    """The one that is missing: as AWS names it, which not every service does, or else the call's own."""
    return permission_named(words_of(error)) or PERMISSIONS.get(error.operation_name, "")


def permission_named(words: str) -> str:
    found = _NAMED.search(words)
    return found[1] if found else ""


def known_regions() -> set[str]:
    """As this botocore knows them: a new one may be missing, so nothing is refused for that alone."""
    session = botocore.session.get_session()
    return {
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("ec2", partition_name=partition)
    }


def region_meant(name: str) -> str:
    """ "" when none is near."""
    return next(iter(difflib.get_close_matches(name, sorted(known_regions()), 1)), "")
