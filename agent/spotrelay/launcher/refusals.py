"""What EC2 says when it launches nothing, and what that means for the hunt: one row a code.

Sources: "Error codes for the Amazon EC2 API" and "Common Error Types" of the EC2 API reference, StateReason, and what
others met in the field; the test beside this keeps their lists and finds a row for each code that can come from our
calls (CreateFleet of type instant, DescribeInstances, DescribeSpotInstanceRequests, DescribeSpotPriceHistory,
TerminateInstances, CreateTags). The rules, in the order in which they win:

1. A 4xx is a refusal: whatever its code, nothing was launched. So is a 5xx whose code says what EC2 lacks
   (Insufficient…Capacity is a 500) or that it counted the call and turned it away (RequestLimitExceeded is a 503).
   That holds for a client that makes one attempt a call: behind the last of several an earlier one may have launched.
2. Every other 5xx is no answer, and so are the few 4xx that say the call was given up half-way: EC2 may have launched
   and failed to say so. Only the same token may be used again.
3. A code inside of a 200's Errors[] is an answer, whatever it is elsewhere: the token is used up, and used again it
   brings the same answer for ever. So `verdict` knows no UNANSWERED.
4. What is in no row waits: waiting is never wrong, giving up is, and a person is not called for a word we do not know.

EC2 spells ids both ways (InvalidSubnetID, InvalidSubnetId) and state reasons with `Server.` or `Client.` before them:
neither makes another code, except where a row says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Class(StrEnum):
    """What kind of thing is the matter: what `status` shows, and what is counted."""

    CAPACITY = "capacity"
    PRICE = "price"
    UNSUPPORTED = "unsupported"
    QUOTA = "quota"
    THROTTLED = "throttled"
    TOKEN = "token"  # noqa: S105 - a ClientToken is no secret
    SERVER = "server"
    STATE = "state"  # the thing exists, and is at a moment when this cannot be done
    ABSENT = "absent"  # an instance or spot request that EC2 does not show
    MISSING = "missing"  # a part of the launch template that is not there
    PERMISSION = "permission"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What the hunt does next. `HOPE` is their order."""

    PACE = "pace"  # turned away, nothing was launched: again as soon as the account's bucket has filled
    ELSEWHERE = "elsewhere"  # other pools at once
    BURNT = "burnt"  # the token was spent on something else: look what it launched, then the next step with its own
    ON_DEMAND = "on demand"  # the other market may serve; where the run does not allow that: later
    LATER = "later"  # the same again after a while
    PERSON = "person"  # somebody must change something: tell them, and ask again at long intervals
    UNANSWERED = "unanswered"  # may have launched: the same token again, until it is known


@dataclass(frozen=True, slots=True)
class Row:
    """`why`: what it means here. `next_step`: what a person can do. `drops_pool`: the pool it came from will not serve.

    Only a 200's Errors[] name their pools. A call refused as a whole does not say which of those asked for it means.
    """

    action: Action
    why: str
    next_step: str = ""
    drops_pool: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row under its code and class; `str()` is what a person is told."""

    code: str
    class_: Class
    action: Action
    why: str
    next_step: str = ""
    drops_pool: bool = False

    def __str__(self) -> str:
        told = f"{self.code}: {self.why}" if self.code else self.why
        return f"{told} — {self.next_step}" if self.next_step else told


C, A = Class, Action
_DEPLOY = "run `spotrelay deploy`, which makes anew what the stack lacks"
_TEMPLATE = "correct the stack's launch template as EC2's message says, then run `spotrelay deploy`"
_INPUT = "correct what EC2's message names, in the spec's [instance] or by `spotrelay deploy`"
_IMAGE = "run `spotrelay deploy` with an AMI of this region that the account may use"
_VPC = "give the region a default VPC (`aws ec2 create-default-vpc`) or the stack a subnet"
_ROLE = "run `spotrelay deploy` for the launcher's role; an organization's policy only its administrators can change"
_KEY = "let the launcher's role and EC2 use the volume's KMS key, or enable it again"
_SUPPORT = "ask AWS Support about the account"
_BUG = "report it with the launcher's log: our requests should never meet this"
_MORE = "ask for more under Service Quotas, Amazon EC2"
_MORE_DISK = "ask for more under Service Quotas, Amazon EBS"
_FULL = Row(A.ELSEWHERE, "the dedicated hosts or reservations that the launch template names have no room")
_NOT_OFFERED = Row(A.ELSEWHERE, "the zone does not offer the type, or not with this request", drops_pool=True)
_TYPE_CANNOT = Row(A.ELSEWHERE, "this type cannot be launched as the launch template says", drops_pool=True)
_TURNED_AWAY = Row(A.PACE, "more calls than the account may make: turned away at the door")
_NO_ANSWER = Row(A.UNANSWERED, "EC2 failed, and may have launched before it did")
_CREDENTIALS = Row(A.PERSON, "EC2 does not accept the launcher's credentials", _ROLE)
_STALE = Row(A.LATER, "the credentials or the clock ran out on the way; Lambda renews them by itself")
_CHANGING = Row(A.LATER, "it is changing just now")
_NOT_SHOWN = Row(A.LATER, "EC2 does not show it, not yet or no more: absent is not dead")
_ODD = Row(A.PERSON, "EC2 cannot read the request", _BUG)
_WRONG = Row(A.PERSON, "EC2 refuses something that the request or its launch template says", _INPUT)
_TEMPLATE_WRONG = Row(A.PERSON, "the launch template says something that EC2 does not accept", _TEMPLATE)
_PART_GONE = Row(A.PERSON, "the launch template names something that is not there", _DEPLOY)
_HOST_GONE = Row(A.PERSON, "the launch template names a host or reservation that is not there", _TEMPLATE)

TABLE: dict[Class, dict[str, Row]] = {
    C.CAPACITY: {
        "InsufficientInstanceCapacity": Row(A.ELSEWHERE, "the pool is full"),
        # Stands at every pool that was not tried, whatever its state; alone it is a pool without room.
        "UnfulfillableCapacity": Row(A.ELSEWHERE, "not tried, or no room"),
        "InsufficientCapacity": Row(A.ELSEWHERE, "the pool is full"),
        "InsufficientFreeAddressesInSubnet": Row(A.ELSEWHERE, "the zone's subnet has no free address"),
        "InsufficientVolumeCapacity": Row(A.ELSEWHERE, "the zone has no room for the volume"),
        # Public addresses are the region's: another zone has none either.
        "InsufficientAddressCapacity": Row(A.LATER, "the region has no public address left"),
        "InsufficientCapacityOnHost": _FULL,
        "InsufficientCapacityOnOutpost": _FULL,
        "InsufficientHostCapacity": _FULL,
        "InsufficientReservedInstanceCapacity": _FULL,
        "InsufficientReservedInstancesCapacity": _FULL,
        "IncompatibleHostRequirements": _FULL,
        "ReservationCapacityExceeded": _FULL,
        "UnavailableHostRequirements": _FULL,
        "InvalidCapacityReservationState.PendingActivation": Row(A.LATER, "the capacity block has not begun"),
    },
    C.PRICE: {
        # Not on demand: that costs at least as much as the most that a run pays for spot. Another pool may cost less.
        "SpotMaxPriceTooLow": Row(A.ELSEWHERE, "the pool costs more than the run may pay"),
    },
    C.UNSUPPORTED: {
        "Unsupported": _NOT_OFFERED,
        # A fleet's own word for it, and its word for a type that does not exist.
        "InvalidFleetConfiguration": _NOT_OFFERED,
        "InvalidAvailabilityZone": Row(A.ELSEWHERE, "there is no such zone, or not for this account", drops_pool=True),
        "InvalidZone.NotFound": Row(A.ELSEWHERE, "there is no such zone, or not for this account", drops_pool=True),
        "VolumeTypeNotAvailableInZone": Row(A.ELSEWHERE, "the zone lacks the volume's type", drops_pool=True),
        "ZonesMismatched": Row(A.ELSEWHERE, "the dedicated host is in another zone", drops_pool=True),
        "AttachmentLimitExceeded": _TYPE_CANNOT,
        "EncryptedVolumesNotSupported": Row(A.ELSEWHERE, "the type cannot encrypt its volumes", drops_pool=True),
        "InstanceCreditSpecification.NotSupported": _TYPE_CANNOT,
        "InvalidInstanceFamily": _TYPE_CANNOT,
        "InvalidInstanceType": _TYPE_CANNOT,
        "InvalidInterface.IpAddressLimitExceeded": _TYPE_CANNOT,
        "NonEBSInstance": _TYPE_CANNOT,
        "PrivateIpAddressLimitExceeded": _TYPE_CANNOT,
        "UnsupportedInstanceTypeOnHost": _TYPE_CANNOT,
        # Among much else a type whose architecture is not the image's.
        "UnsupportedOperation": _TYPE_CANNOT,
    },
    C.QUOTA: {
        # Counted in vCPUs by family; an instance that is dying counts for about another minute.
        "MaxSpotInstanceCountExceeded": Row(A.ON_DEMAND, "the account's spot quota for this family is used up", _MORE),
        "VcpuLimitExceeded": Row(A.LATER, "the account's on-demand quota for this family is used up", _MORE),
        "InstanceLimitExceeded": Row(A.LATER, "the account's quota of instances is used up", _MORE),
        # Of fleet requests, in either market; 0 in some new accounts, and met without one running.
        "MaxFleetCountExceeded": Row(A.LATER, "the account's quota of fleet requests is used up", _MORE),
        "MaxSpotFleetRequestCountExceeded": Row(A.LATER, "the account's quota of fleet requests is used up", _MORE),
        "RequestResourceCountExceeded": Row(A.LATER, "more spot instances in one request than EC2 takes"),
        "ResourceCountExceeded": Row(A.LATER, "more instances in one request than EC2 takes"),
        "ResourceLimitExceeded": Row(A.LATER, "a quota of the account is used up", _MORE),
        "AddressLimitExceeded": Row(A.LATER, "the account's quota of public addresses is used up", _MORE),
        "NetworkInterfaceLimitExceeded": Row(A.LATER, "the region's quota of network interfaces is used up", _MORE),
        "VolumeLimitExceeded": Row(A.LATER, "the account's quota of disk space is used up", _MORE_DISK),
        "MaxIOPSLimitExceeded": Row(A.LATER, "the account's quota of disk operations is used up", _MORE_DISK),
        # These are about one launch, not about all: they do not pass by waiting.
        "SecurityGroupLimitExceeded": _TEMPLATE_WRONG,
        "SecurityGroupsPerInstanceLimitExceeded": _TEMPLATE_WRONG,
        "SecurityGroupsPerInterfaceLimitExceeded": _TEMPLATE_WRONG,
        "TagLimitExceeded": Row(A.PERSON, "more tags than an instance may have", "take some out of the stack's tags"),
        "VolumeIOPSLimit": Row(A.PERSON, "more disk operations than the volume's type can do", _TEMPLATE),
    },
    C.THROTTLED: {
        "RequestLimitExceeded": _TURNED_AWAY,
        "Throttling": _TURNED_AWAY,
        "ThrottlingException": _TURNED_AWAY,
        # Not documented for EC2: what botocore takes for throttling, of whatever service.
        "BandwidthLimitExceeded": _TURNED_AWAY,
        "EC2ThrottledException": _TURNED_AWAY,
        "RequestThrottled": _TURNED_AWAY,
        "RequestThrottledException": _TURNED_AWAY,
        "SlowDown": _TURNED_AWAY,
        "ThrottledException": _TURNED_AWAY,
        "TooManyRequestsException": _TURNED_AWAY,
    },
    C.TOKEN: {
        # An earlier call under this token may have launched: the fleet's tag finds it.
        "IdempotentParameterMismatch": Row(A.BURNT, "the token was used with another request"),
        "IdempotentInstanceTerminated": Row(A.BURNT, "what the token launched is gone"),
        "InvalidClientToken": Row(A.PERSON, "EC2 does not accept the token's form", _BUG),
        "PriorRequestNotComplete": Row(A.UNANSWERED, "an earlier call with this token is still under way"),
    },
    C.SERVER: {
        "InternalError": _NO_ANSWER,
        "InternalFailure": _NO_ANSWER,
        "RequestAbortedException": Row(A.UNANSWERED, "the connection ended before the answer"),
        "RequestTimeout": Row(A.UNANSWERED, "EC2 waited too long for the rest of the request"),
        "RequestTimeoutException": Row(A.UNANSWERED, "EC2 waited too long for the rest of the request"),
        # Of a service that acts for us, as a fleet does: it may try again by itself.
        "RetryableError": Row(A.UNANSWERED, "a part of the launch failed, and EC2 may repeat it by itself"),
        "ServerInternal": _NO_ANSWER,
        "ServiceUnavailable": _NO_ANSWER,
        "Unavailable": _NO_ANSWER,
    },
    C.STATE: {
        "ConcurrentTagAccess": _CHANGING,
        "IncorrectInstanceState": _CHANGING,
        "IncorrectSpotRequestState": _CHANGING,
        "IncorrectState": _CHANGING,
        "InvalidInstanceState": _CHANGING,
        "InvalidState": _CHANGING,
        "InvalidNextToken": Row(A.LATER, "the listing has changed: read it from its beginning"),
        "InvalidPaginationToken": Row(A.LATER, "the listing has changed: read it from its beginning"),
    },
    C.ABSENT: {
        "InvalidInstanceID.NotFound": _NOT_SHOWN,
        "InvalidSpotInstanceRequestID.NotFound": _NOT_SHOWN,
    },
    C.MISSING: {
        # What was just made is not seen everywhere at once: in a new stack's first minute these pass by themselves.
        "InvalidGroup.NotFound": _PART_GONE,
        "InvalidLaunchTemplateId.NotFound": _PART_GONE,
        "InvalidLaunchTemplateId.VersionNotFound": _PART_GONE,
        "InvalidLaunchTemplateName.NotFoundException": _PART_GONE,
        "InvalidSecurityGroupID.NotFound": _PART_GONE,
        "InvalidSubnet": _PART_GONE,
        "InvalidSubnetID.NotFound": _PART_GONE,
        "InvalidAMIID.NotFound": Row(A.PERSON, "there is no such image here, or not for this account", _IMAGE),
        "InvalidAMIID.Unavailable": Row(A.PERSON, "the image was deregistered or is not ready", _IMAGE),
        "InvalidManifest": Row(A.PERSON, "the image cannot be read", _IMAGE),
        "InvalidSnapshot.NotFound": Row(A.PERSON, "the image's disk is gone", _IMAGE),
        "InvalidKeyPair.NotFound": Row(A.PERSON, "the launch template names a key pair that is not there", _TEMPLATE),
        "InvalidNetworkInterface.NotFound": _PART_GONE,
        "InvalidNetworkInterfaceID.NotFound": _PART_GONE,
        "InvalidPlacementGroup.Unknown": _HOST_GONE,
        "InvalidCapacityReservationId.NotFound": _HOST_GONE,
        "InvalidCapacityReservationIdNotFoundException": _HOST_GONE,
        "InvalidHostID.NotFound": _HOST_GONE,
        "InvalidHostId": _HOST_GONE,
        "InvalidLaunchTargets": _HOST_GONE,
        "DefaultVpcDoesNotExist": Row(A.PERSON, "the region has no default VPC to launch in", _VPC),
        "VPCIdNotSpecified": Row(A.PERSON, "the region has no default VPC to launch in", _VPC),
        "VPCResourceNotSpecified": Row(A.PERSON, "the type needs a VPC, and none was named", _VPC),
    },
    C.PERMISSION: {
        # Also inside of a 200, where iam:PassRole is what lacks.
        "UnauthorizedOperation": Row(A.PERSON, "the launcher's role may not do this", _ROLE),
        "AccessDenied": Row(A.PERSON, "the launcher's role may not do this", _ROLE),
        "AccessDeniedException": Row(A.PERSON, "the launcher's role may not do this", _ROLE),
        "NotAuthorized": Row(A.PERSON, "the launcher's role may not do this", _ROLE),
        "SsmAccessDenied": Row(A.PERSON, "the launcher's role may not read the image's parameter", _ROLE),
        "AuthFailure": Row(A.PERSON, "EC2 does not accept the credentials, or not for this image", _IMAGE),
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted": Row(
            A.PERSON,
            "the account has no service-linked role for spot instances yet",
            "once: `aws iam create-service-linked-role --aws-service-name spot.amazonaws.com`",
        ),
        "TagPolicyViolation": Row(
            A.PERSON, "the organization's tag policy forbids our tags", "let it allow the tags spotrelay:*"
        ),
        "OperationNotPermitted": Row(
            A.PERSON, "the instance is protected against this", "take its termination protection away"
        ),
        "CustomerKeyHasBeenRevoked": Row(A.PERSON, "the volume's KMS key cannot be used", _KEY),
        "InvalidKMSKey.InvalidState": Row(A.PERSON, "the volume's KMS key cannot be used", _KEY),
        # As a state reason; EC2's own InternalError is another thing.
        "Client.InternalError": Row(A.PERSON, "the instance ended at launch, most often for its volume's key", _KEY),
        "OptInRequired": Row(
            A.PERSON,
            "the account has not subscribed to the image, or has not enabled the region",
            "accept the image's terms in AWS Marketplace, or enable the region for the account",
        ),
        "InvalidProductInfo": Row(A.PERSON, "the image's product code is not valid", _IMAGE),
        "AccountDisabled": Row(A.PERSON, "this is disabled for the account", _SUPPORT),
        "Blocked": Row(A.PERSON, "the account is blocked", _SUPPORT),
        "PendingVerification": Row(A.LATER, "AWS is still verifying the account for this region", _SUPPORT),
        "IncompleteSignature": _CREDENTIALS,
        "InvalidClientTokenId": _CREDENTIALS,  # an access key's id, not a ClientToken
        "MissingAuthenticationToken": _CREDENTIALS,
        "SignatureDoesNotMatch": _CREDENTIALS,
        "UnrecognizedClientException": _CREDENTIALS,
        "ExpiredToken": _STALE,
        "ExpiredTokenException": _STALE,
        "InvalidSecurity.RequestHasExpired": _STALE,
        "RequestExpired": _STALE,
    },
    C.MALFORMED: {
        "InvalidParameter": _WRONG,
        "InvalidParameterCombination": _WRONG,
        "InvalidParameterDependency": _WRONG,
        "InvalidParameterValue": _WRONG,
        "ClientInvalidParameterValue": _WRONG,
        "InvalidInput": _WRONG,
        "InvalidRequest": _WRONG,
        "MissingInput": _WRONG,
        "MissingParameter": _WRONG,
        "ValidationError": _WRONG,
        "InvalidFleetConfig": _WRONG,
        "InvalidSpotFleetRequestConfig": _WRONG,
        "InvalidTargetCapacitySpecification": _WRONG,
        "BootForVolumeTypeUnsupported": _TEMPLATE_WRONG,
        "InvalidAffinity": _TEMPLATE_WRONG,
        "InvalidBlockDeviceMapping": _TEMPLATE_WRONG,
        "InvalidCpuCredits": _TEMPLATE_WRONG,
        "InvalidCpuCredits.Malformed": _TEMPLATE_WRONG,
        "InvalidHostConfiguration": _TEMPLATE_WRONG,
        "InvalidHostState": _TEMPLATE_WRONG,
        "InvalidIamInstanceProfileArn.Malformed": _TEMPLATE_WRONG,
        "InvalidInstanceAttributeValue": _TEMPLATE_WRONG,
        "InvalidInstanceCreditSpecification": _TEMPLATE_WRONG,
        "InvalidNetworkInterface.InUse": _TEMPLATE_WRONG,
        "InvalidTenancy": _TEMPLATE_WRONG,
        "InvalidUserData.Malformed": _TEMPLATE_WRONG,
        "UnknownVolumeType": _TEMPLATE_WRONG,
        "UnsupportedException": _TEMPLATE_WRONG,
        "UnsupportedHibernationConfiguration": _TEMPLATE_WRONG,
        "UnsupportedHostConfiguration": _TEMPLATE_WRONG,
        "UnsupportedTenancy": _TEMPLATE_WRONG,
        "InvalidAMIID.Malformed": Row(A.PERSON, "that is no image's id", _IMAGE),
        "InvalidCapacityReservationId.Malformed": _TEMPLATE_WRONG,
        "InvalidCapacityReservationIdMalformedException": _TEMPLATE_WRONG,
        "InvalidGroupId.Malformed": _TEMPLATE_WRONG,
        "InvalidHostID.Malformed": _TEMPLATE_WRONG,
        "InvalidKernelId.Malformed": _TEMPLATE_WRONG,
        "InvalidLaunchTemplateId.Malformed": _PART_GONE,
        "InvalidLaunchTemplateName.MalformedException": _PART_GONE,
        "InvalidNetworkInterfaceId.Malformed": _TEMPLATE_WRONG,
        "InvalidPlacementGroupId.Malformed": _TEMPLATE_WRONG,
        "InvalidRamDiskId.Malformed": _TEMPLATE_WRONG,
        "InvalidSecurityGroupId.Malformed": _TEMPLATE_WRONG,
        "InvalidSnapshotID.Malformed": _TEMPLATE_WRONG,
        "InvalidSubnetID.Malformed": _TEMPLATE_WRONG,
        "DryRunOperation": Row(A.PERSON, "it was asked for as a dry run, and would have succeeded", _BUG),
        "FilterLimitExceeded": _ODD,
        "InvalidAction": _ODD,
        "InvalidCharacter": _ODD,
        "InvalidFilter": _ODD,
        "InvalidID": _ODD,
        "InvalidInstanceID.Malformed": _ODD,
        "InvalidMaxResults": _ODD,
        "InvalidQueryParameter": _ODD,
        "InvalidSpotInstanceRequestID.Malformed": _ODD,
        "InvalidTagKey.Malformed": _ODD,
        "InvalidTime": _ODD,
        "MalformedHttpRequestException": _ODD,
        "MalformedQueryString": _ODD,
        "MissingAction": _ODD,
        "NoSuchVersion": _ODD,
        "RequestEntityTooLargeException": _ODD,
        "UnknownOperationException": _ODD,
        "UnknownParameter": _ODD,
        "UnsupportedInstanceAttribute": _ODD,
        "UnsupportedProtocol": _ODD,
    },
}
_BY_CODE = {
    code.casefold(): Refusal(code, class_, row.action, row.why, row.next_step, row.drops_pool)
    for class_, rows in TABLE.items()
    for code, row in rows.items()
}

# Of several pools' errors the most hopeful counts: one pool that may serve is enough. PACE stands first though it is no
# hope: it is about the account, and whatever comes next has to keep to it. BURNT costs no more than a new token.
HOPE = (A.PACE, A.ELSEWHERE, A.BURNT, A.ON_DEMAND, A.LATER, A.PERSON)
_SAYS_NOTHING = "UnfulfillableCapacity"
_NO_REASON = Refusal("", C.CAPACITY, A.ELSEWHERE, "EC2 launched nothing and gave no reason")


def refusal(code: str, status: int = 400) -> Refusal:
    """What a call's error means; `status` is the answer's, and decides where the code has no row.

    An answer that is not EC2's (a load balancer's page) has no code; botocore then reports its status as one.
    """
    known = _BY_CODE.get(code.casefold()) or _BY_CODE.get(_bare(code).casefold())
    if known is not None:
        return known
    status = int(code) if code.isdecimal() else status
    if status >= 500:
        return Refusal(code, C.SERVER, _NO_ANSWER.action, _NO_ANSWER.why)
    if status == 429:
        return Refusal(code, C.THROTTLED, _TURNED_AWAY.action, _TURNED_AWAY.why)
    return Refusal(code, C.UNKNOWN, A.LATER, "not known to this version: it waits")


def verdict(codes: Iterable[str]) -> Refusal:
    """What a 200 without instances means, by the codes in its Errors[]: the most hopeful of those that say anything.

    Between equals one that keeps its pool wins: `drops_pool` is then true only where no pool is worth another try.
    """
    found = [_answered(refusal(code)) for code in codes]
    telling = [each for each in found if each.code != _SAYS_NOTHING]
    return min(telling or found or [_NO_REASON], key=lambda each: (HOPE.index(each.action), each.drops_pool))


def _answered(found: Refusal) -> Refusal:
    return replace(found, action=A.LATER) if found.action is A.UNANSWERED else found


def _bare(code: str) -> str:
    return code.removeprefix("Server.").removeprefix("Client.")
