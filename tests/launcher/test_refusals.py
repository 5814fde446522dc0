"""The table of EC2's refusals: each row over the wire, each documented code accounted for, several pools weighed.

The lists below are the sources, names alone and whole, so that a code without a row is a decision with a reason and not
an oversight.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from botocore.exceptions import ClientError

from spotrelay.launcher import refusals
from spotrelay.launcher.refusals import HOPE, TABLE, Action, Class, Refusal, refusal, verdict
from spotrelay.local.server import ControlPlane
from support.cloud_plane import ONE_ATTEMPT, SESSION, cloud, codes, fleet

ROWS = {code: refusal(code) for rows in TABLE.values() for code in rows}


def names(text: str) -> list[str]:
    return text.split()


# ---- "Error codes for the Amazon EC2 API", EC2 API reference, in its state of 2026: all of its three tables.

COMMON = names(
    """
AuthFailure Blocked DryRunOperation IdempotentParameterMismatch IncompleteSignature InvalidAction InvalidCharacter
InvalidClientTokenId InvalidPaginationToken InvalidParameter InvalidParameterCombination InvalidParameterDependency
InvalidParameterValue InvalidQueryParameter MalformedQueryString MissingAction MissingAuthenticationToken
MissingParameter OptInRequired PendingVerification RequestExpired TagPolicyViolation UnauthorizedOperation
UnknownParameter UnsupportedInstanceAttribute UnsupportedOperation UnsupportedProtocol ValidationError
"""
)

SERVER = names(
    """
BandwidthLimitExceeded InsufficientAddressCapacity InsufficientCapacity InsufficientInstanceCapacity
InsufficientHostCapacity InsufficientReservedInstanceCapacity InsufficientVolumeCapacity ServerInternal InternalFailure
RequestLimitExceeded ServiceUnavailable InternalError Unavailable
"""
)

SPECIFIC = names(
    """
AccountDisabled ActiveVpcPeeringConnectionPerVpcLimitExceeded AddressLimitExceeded AsnConflict AttachmentLimitExceeded
BootForVolumeTypeUnsupported BundlingInProgress CannotDelete CapacityBlockDescribeLimitExceeded
ClientInvalidParameterValue ClientVpnAuthorizationRuleLimitExceeded ClientVpnCertificateRevocationListLimitExceeded
ClientVpnEndpointAssociationExists ClientVpnEndpointLimitExceeded ClientVpnRouteLimitExceeded
ClientVpnTerminateConnectionsLimitExceeded ConcurrentCreateImageNoRebootLimitExceeded ConcurrentSnapshotLimitExceeded
ConcurrentTagAccess CreditSpecificationUpdateInProgress CustomerGatewayLimitExceeded CustomerKeyHasBeenRevoked
DeclarativePoliciesAccessDeniedException DeclarativePoliciesNotEnabledException DeleteConversionTaskError
DefaultSubnetAlreadyExistsInAvailabilityZone DefaultVpcAlreadyExists DefaultVpcDoesNotExist DependencyViolation
DiskImageSizeTooLarge DuplicateSubnetsInSameZone EncryptedVolumesNotSupported ExistingVpcEndpointConnections
FleetNotInModifiableState FlowLogAlreadyExists FlowLogsLimitExceeded FilterLimitExceeded Gateway.NotAttached
HostAlreadyCoveredByReservation HostLimitExceeded IdempotentInstanceTerminated InaccessibleStorageLocation
InaccessibleStorageLocationException IncorrectInstanceState IncorrectModificationState IncorrectSpotRequestState
IncorrectState IncorrectStateException IncompatibleHostRequirements InstanceCreditSpecification.NotSupported
InstanceEventStartTimeCannotChange InstanceLimitExceeded InsufficientCapacityOnHost InstanceTpmEkPubNotFound
InsufficientFreeAddressesInSubnet InsufficientReservedInstancesCapacity InterfaceInUseByTrafficMirrorSession
InterfaceInUseByTrafficMirrorTarget InternetGatewayLimitExceeded InvalidAddress.Locked InvalidAddress.Malformed
InvalidAddress.NotFound InvalidAddressID.NotFound InvalidAffinity InvalidAllocationID.NotFound
InvalidAMIAttributeItemValue InvalidAMIID.Malformed InvalidAMIID.NotFound InvalidAMIID.Unavailable
InvalidAMIName.Duplicate InvalidAMIName.Malformed InvalidAssociationID.NotFound InvalidAttachment.NotFound
InvalidAttachmentID.NotFound InvalidAutoPlacement InvalidAvailabilityZone InvalidBlockDeviceMapping
InvalidBundleID.NotFound InvalidCapacityBlockOfferingIdExpired InvalidCapacityBlockOfferingIdMalformed
InvalidCapacityBlockOfferingIdNotFound InvalidCapacityReservationState.PendingActivation
InvalidCarrierGatewayID.NotFound InvalidCidr.InUse InvalidClientToken InvalidClientVpnActiveAssociationNotFound
InvalidClientVpnAssociationIdNotFound InvalidClientVpnConnection.IdNotFound InvalidClientVpnConnection.UserNotFound
InvalidClientVpnDuplicateAssociationException InvalidClientVpnDuplicateAuthorizationRule InvalidClientVpnDuplicateRoute
InvalidClientVpnEndpointAuthorizationRuleNotFound InvalidClientVpnEndpointId.NotFound InvalidClientVpnRouteNotFound
InvalidClientVpnSubnetId.DifferentAccount InvalidClientVpnSubnetId.DuplicateAz InvalidClientVpnSubnetId.NotFound
InvalidClientVpnSubnetId.OverlappingCidr InvalidConversionTaskId InvalidConversionTaskId.Malformed InvalidCpuCredits
InvalidCpuCredits.Malformed InvalidCustomerGateway.DuplicateIpAddress InvalidCustomerGatewayId.Malformed
InvalidCustomerGatewayID.NotFound InvalidCustomerGatewayState InvalidDeclarativePoliciesReportId.Malformed
InvalidDhcpOptionID.NotFound InvalidDhcpOptionsID.NotFound InvalidDhcpOptionsId.Malformed
InvalidEgressOnlyInternetGatewayId.Malformed InvalidEgressOnlyInternetGatewayId.NotFound InvalidElasticGpuID.Malformed
InvalidElasticGpuID.NotFound InvalidExportTaskID.Malformed InvalidExportTaskID.NotFound InvalidFilter
InvalidFlowLogId.NotFound InvalidFormat InvalidFpgaImageID.Malformed InvalidFpgaImageID.NotFound
InvalidGatewayID.NotFound InvalidGroup.Duplicate InvalidGroupId.Malformed InvalidGroup.InUse InvalidGroup.NotFound
InvalidGroup.Reserved InvalidHostConfiguration InvalidHostId InvalidHostID.Malformed InvalidHostId.Malformed
InvalidHostID.NotFound InvalidHostId.NotFound InvalidHostReservationId.Malformed
InvalidHostReservationOfferingId.Malformed InvalidHostState InvalidIamInstanceProfileArn.Malformed InvalidID
InvalidInput InvalidInstanceAttributeValue InvalidInstanceConnectEndpointId.Malformed
InvalidInstanceConnectEndpointId.NotFound InvalidInstanceCreditSpecification
InvalidInstanceCreditSpecification.DuplicateInstanceId InvalidInstanceEventIDNotFound InvalidInstanceEventStartTime
InvalidInstanceFamily InvalidInstanceID InvalidInstanceID.Malformed InvalidInstanceID.NotFound
InvalidInstanceID.NotLinkable InvalidInstanceState InvalidInstanceType InvalidInterface.IpAddressLimitExceeded
InvalidInternetGatewayId.Malformed InvalidInternetGatewayID.NotFound InvalidIPAddress.InUse InvalidKernelId.Malformed
InvalidKey.Format InvalidKeyPair.Duplicate InvalidKeyPair.Format InvalidKeyPair.NotFound
InvalidCapacityReservationId.Malformed InvalidCapacityReservationId.NotFound InvalidLaunchTargets
InvalidLaunchTemplateId.Malformed InvalidLaunchTemplateId.NotFound InvalidLaunchTemplateId.VersionNotFound
InvalidLaunchTemplateName.AlreadyExistsException InvalidLaunchTemplateName.MalformedException
InvalidLaunchTemplateName.NotFoundException InvalidManifest InvalidMaxResults InvalidNatGatewayID.NotFound
InvalidNetworkAclEntry.NotFound InvalidNetworkAclId.Malformed InvalidNetworkAclID.NotFound
InvalidNetworkLoadBalancerArn.Malformed InvalidNetworkLoadBalancerArn.NotFound
InvalidNetworkInterfaceAttachmentId.Malformed InvalidNetworkInterface.InUse InvalidNetworkInterfaceId.Malformed
InvalidNetworkInterface.NotFound InvalidNetworkInterfaceID.NotFound InvalidNextToken InvalidOption.Conflict
InvalidPermission.Duplicate InvalidPermission.Malformed InvalidPermission.NotFound InvalidPlacementGroup.Duplicate
InvalidPlacementGroup.InUse InvalidPlacementGroup.Unknown InvalidPlacementGroupId.Malformed InvalidPolicyDocument
InvalidPrefixListId.Malformed InvalidPrefixListID.NotFound InvalidProductInfo InvalidPurchaseToken.Expired
InvalidPurchaseToken.Malformed InvalidQuantity InvalidRamDiskId.Malformed InvalidRegion InvalidRequest
InvalidReservationID.Malformed InvalidReservationID.NotFound InvalidReservedInstancesId
InvalidReservedInstancesOfferingId InvalidResourceConfigurationArn.Malformed InvalidResourceConfigurationArn.NotFound
InvalidResourceType.Unknown InvalidRoute.InvalidState InvalidRoute.Malformed InvalidRoute.NotFound
InvalidRouteTableId.Malformed InvalidRouteTableID.NotFound InvalidScheduledInstance InvalidSecurityGroupId.Malformed
InvalidSecurityGroupID.NotFound InvalidSecurityGroupRuleId.Malformed InvalidSecurityGroupRuleId.NotFound
InvalidSecurity.RequestHasExpired InvalidServiceName InvalidSnapshot.NotFound InvalidSnapshotID.Malformed
InvalidSnapshot.InUse InvalidSpotDatafeed.NotFound InvalidSpotFleetRequestConfig InvalidSpotFleetRequestId.Malformed
InvalidSpotFleetRequestId.NotFound InvalidSpotInstanceRequestID.Malformed InvalidSpotInstanceRequestID.NotFound
InvalidState InvalidStateTransition InvalidSubnet InvalidSubnet.Conflict InvalidSubnetID.Malformed
InvalidSubnetID.NotFound InvalidSubnetId.NotFound InvalidSubnet.Range InvalidTagKey.Malformed InvalidTargetArn.Unknown
InvalidTargetException InvalidTenancy InvalidTime InvalidTrafficMirrorFilterNotFound
InvalidTrafficMirrorFilterRuleNotFound InvalidTrafficMirrorSessionNotFound InvalidTrafficMirrorTargetNoFound
InvalidUserID.Malformed InvalidVolumeID.Duplicate InvalidVolumeID.Malformed InvalidVolumeID.ZoneMismatch
InvalidVolume.NotFound InvalidVolume.ZoneMismatch InvalidVpcEndpoint.NotFound InvalidVpcEndpointId.Malformed
InvalidVpcEndpointId.NotFound InvalidVpcEndpointService.NotFound InvalidVpcEndpointServiceIdId.Malformed
InvalidVpcEndpointServiceId.NotFound InvalidVpcEndpointType InvalidVpcID.Malformed InvalidVpcID.NotFound
InvalidVpcPeeringConnectionId.Malformed InvalidVpcPeeringConnectionID.NotFound
InvalidVpcPeeringConnectionState.DnsHostnamesDisabled InvalidVpcRange InvalidVpcState InvalidVpnConnectionID
InvalidVpnConnectionID.NotFound InvalidVpnConnection.InvalidState InvalidVpnConnection.InvalidType
InvalidVpnGatewayAttachment.NotFound InvalidVpnGatewayID.NotFound InvalidVpnGatewayState InvalidZone.NotFound
KeyPairLimitExceeded LegacySecurityGroup LimitPriceExceeded LogDestinationNotFound LogDestinationPermissionIssue
MaxConfigLimitExceededException MaxIOPSLimitExceeded MaxScheduledInstanceCapacityExceeded
MaxSpotFleetRequestCountExceeded MaxSpotInstanceCountExceeded MaxTemplateLimitExceeded MaxTemplateVersionLimitExceeded
MissingInput NatGatewayLimitExceeded NatGatewayMalformed NatGatewayNotFound NetworkAclEntryAlreadyExists
NetworkAclEntryLimitExceeded NetworkAclLimitExceeded NetworkInterfaceLimitExceeded NetworkInterfaceNotSupported
NetworkLoadBalancerNotFoundException NlbInUseByTrafficMirrorTargetException NonEBSInstance NoSuchVersion NotExportable
OperationNotPermitted OutstandingVpcPeeringConnectionLimitExceeded PendingSnapshotLimitExceeded
PendingVpcPeeringConnectionLimitExceeded PlacementGroupLimitExceeded PrivateIpAddressLimitExceeded
RequestResourceCountExceeded ReservationCapacityExceeded ReservedInstancesCountExceeded ReservedInstancesLimitExceeded
ReservedInstancesUnavailable Resource.AlreadyAssigned Resource.AlreadyAssociated ResourceCountExceeded
ResourceCountLimitExceeded ResourceLimitExceeded RetryableError RouteAlreadyExists RouteLimitExceeded
RouteTableLimitExceeded RulesPerSecurityGroupLimitExceeded ScheduledInstanceLimitExceeded
ScheduledInstanceParameterMismatch ScheduledInstanceSlotNotOpen ScheduledInstanceSlotUnavailable
SecurityGroupLimitExceeded SecurityGroupsPerInstanceLimitExceeded SecurityGroupsPerInterfaceLimitExceeded
SignatureDoesNotMatch SnapshotCopyUnsupported.InterRegion SnapshotCreationPerVolumeRateExceeded SnapshotLimitExceeded
SpotMaxPriceTooLow SubnetLimitExceeded TagLimitExceeded TargetCapacityLimitExceededException TrafficMirrorFilterInUse
TrafficMirrorSessionsPerInterfaceLimitExceeded TrafficMirrorSessionsPerTargetLimitExceeded
TrafficMirrorSourcesPerTargetLimitExceeded TrafficMirrorTargetInUseException TrafficMirrorFilterLimitExceeded
TrafficMirrorFilterRuleLimitExceeded TrafficMirrorSessionLimitExceeded TrafficMirrorTargetLimitExceeded
TrafficMirrorFilterRuleAlreadyExists UnavailableHostRequirements UnfulfillableCapacity UnknownPrincipalType.Unsupported
UnknownVolumeType Unsupported UnsupportedException UnsupportedHibernationConfiguration UnsupportedHostConfiguration
UnsupportedInstanceTypeOnHost UnsupportedTenancy UpdateLimitExceeded VcpuLimitExceeded VolumeInUse VolumeIOPSLimit
VolumeLimitExceeded VolumeModificationSizeLimitExceeded VolumeTypeNotAvailableInZone VPCIdNotSpecified
VpcEndpointLimitExceeded VpcLimitExceeded VpcPeeringConnectionAlreadyExists VpcPeeringConnectionsPerVpcLimitExceeded
VPCResourceNotSpecified VpnConnectionLimitExceeded VpnGatewayAttachmentLimitExceeded VpnGatewayLimitExceeded
ZonesMismatched
"""
)

# Specific codes that none of our calls can meet, by what they are about.
OTHER_ACTIONS = {
    "a VPC's gateways, routes, rules, peers and endpoints, which deploy's CloudFormation makes": (
        r".*(Vpn|Gateway|Route|NetworkAcl|VpcPeering|VpcEndpoint|PrefixList|Dhcp|FlowLog|LogDestination|Cidr|Asn).*"
        r"|InvalidVpc(ID\..*|Range|State)|VpcLimitExceeded|Default(Subnet|Vpc)Already.*|SubnetLimitExceeded"
        r"|InvalidSubnet\.(Conflict|Range)|DuplicateSubnetsInSameZone|InvalidServiceName|InvalidResourceConfig.*"
        r"|InvalidStateTransition|InvalidOption\.Conflict|ResourceCountLimitExceeded|.*InstanceConnectEndpoint.*"
    ),
    "changing security groups and their rules": (
        r"InvalidGroup\.(Duplicate|InUse|Reserved)|InvalidPermission\..*|InvalidSecurityGroupRuleId\..*"
        r"|RulesPerSecurityGroupLimitExceeded|LegacySecurityGroup|CannotDelete|DependencyViolation"
    ),
    "traffic mirrors and load balancers": r".*(TrafficMirror|LoadBalancer).*|NetworkInterfaceNotSupported",
    "elastic addresses and attaching interfaces by hand": (
        r"InvalidAddress.*|InvalidAllocationID.*|InvalidAssociationID.*|InvalidAttachment.*|InvalidIPAddress\.InUse"
        r"|InvalidNetworkInterfaceAttachmentId.*|Resource\.Already.*|InvalidInstanceID(\.NotLinkable)?"
    ),
    "making images, and importing and exporting": (
        r"InvalidAMI(Name|Attribute).*|.*(Bundl|ConversionTask|ExportTask|CreateImage|StorageLocation).*"
        r"|DiskImageSizeTooLarge|InvalidFormat|NotExportable|.*FpgaImage.*|InvalidUserID.*"
    ),
    "volumes and snapshots by hand": (
        r"InvalidVolume.*|VolumeInUse|VolumeModification.*|IncorrectModificationState|.*Snapshot(Limit|Copy|Creation).*"
        r"|InvalidSnapshot\.InUse"
    ),
    "buying reserved and scheduled capacity": (
        r"(Invalid)?ReservedInstances.*|.*ScheduledInstance.*|.*CapacityBlock(Offering|Describe).*|LimitPriceExceeded"
        r"|InvalidPurchaseToken.*|InvalidQuantity|InvalidAutoPlacement|InvalidHostReservation.*|Host(Already|Limit).*"
        r"|InvalidReservationID.*"
    ),
    "spot fleets, data feeds and placement scores": (
        r"FleetNotInModifiableState|InvalidSpotFleetRequestId.*|InvalidSpotDatafeed.*|MaxConfigLimitExceededException"
        r"|TargetCapacityLimitExceededException"
    ),
    "making key pairs, launch templates and placement groups": (
        r"InvalidKey\.Format|InvalidKeyPair\.(Duplicate|Format)|KeyPairLimitExceeded|MaxTemplate.*"
        r"|InvalidLaunchTemplateName\.AlreadyExists.*|InvalidPlacementGroup\.(Duplicate|InUse)"
        r"|PlacementGroupLimitExceeded"
    ),
    "changing instances, events and defaults": (
        r".*InstanceEvent.*|.*ElasticGpu.*|CreditSpecificationUpdateInProgress|UpdateLimitExceeded|InstanceTpmEk.*"
        r"|InvalidInstanceCreditSpecification\.DuplicateInstanceId|InvalidRegion"
    ),
    "id formats, principals and declarative policies": (
        r"InvalidResourceType\.Unknown|InvalidTargetArn.*|UnknownPrincipalType.*|.*DeclarativePolicies.*"
        r"|InvalidPolicyDocument|InvalidTargetException|IncorrectStateException"
    ),
}

# ---- Other documents of AWS.

# "Common Error Types" of the EC2 API reference, as far as it names others; the wording is that of every service.
COMMON_ERROR_TYPES = names(
    """
AccessDeniedException ExpiredTokenException MalformedHttpRequestException NotAuthorized RequestAbortedException
RequestEntityTooLargeException RequestTimeoutException ThrottlingException UnknownOperationException
UnrecognizedClientException
"""
)

# StateReason, EC2 API reference: those that say why a launched instance did not come up.
STATE_REASONS = names(
    """
Server.InsufficientInstanceCapacity Server.InternalError Client.InternalError Client.InvalidSnapshot.NotFound
Client.VolumeLimitExceeded
"""
)

# The same page in 2022, names that were changed since.
FORMERLY = ["InvalidCapacityReservationIdMalformedException", "InvalidCapacityReservationIdNotFoundException"]

# ---- Met in the field, and not documented for EC2.
FIELD = {
    "InvalidFleetConfiguration": "CreateFleet's Errors[]: a type that the zone does not offer (several measured it)",
    "InvalidFleetConfig": "CreateFleet, a pool listed twice: github-aws-runners/terraform-aws-github-runner#2904",
    "InvalidTargetCapacitySpecification": "ModifyFleet: terraform-provider-aws, resource aws_ec2_fleet",
    "MaxFleetCountExceeded": "CreateFleet, HTTP 400: runs-on/runs-on#88; karpenter-provider-aws#8698",
    "SsmAccessDenied": "CreateFleet, an image named by a parameter the role may not read (measured by others)",
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": "spot in a new account: karpenter.sh, troubleshooting",
    "InsufficientCapacityOnOutpost": "listed for launches by AWS IoT Greengrass's and OpenShift's classifiers",
    "InvalidUserData.Malformed": "RunInstances and launch templates: more than 16 KiB, or not base64",
    "Client.InvalidKMSKey.InvalidState": "state reason where an encrypted root volume's key cannot be used",
    "Server.ServiceUnavailable": "as the command line tools print it",
    "Client.RequestLimitExceeded": "as the EC2 API reference itself writes it, under common causes",
    "AccessDenied": "what other services of AWS call it; karpenter-provider-aws looks for it in EC2's answers",
    "ExpiredToken": "what STS calls it",
}

# botocore/retries/standard.py: what every SDK takes for throttling or for passing, whatever the service.
BOTOCORE = names(
    """
Throttling ThrottlingException ThrottledException RequestThrottledException TooManyRequestsException
RequestLimitExceeded BandwidthLimitExceeded RequestThrottled SlowDown PriorRequestNotComplete EC2ThrottledException
RequestTimeout RequestTimeoutException
"""
)


# ---- Over the wire


@pytest.fixture(scope="module")
def refused_with() -> Iterator[Callable[[str, int], ClientError]]:
    """A CreateFleet call that is refused with this code and status, as boto3 reports it. One control plane for all."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="control plane")
    thread.start()
    plane = ControlPlane()
    asyncio.run_coroutine_threadsafe(plane.start(), loop).result(20)
    ec2 = SESSION.client("ec2", endpoint_url=plane.endpoint, config=ONE_ATTEMPT)

    def call(code: str, status: int) -> ClientError:
        loop.call_soon_threadsafe(partial(plane.faults.refuse, "CreateFleet", code, status=status))
        with pytest.raises(ClientError) as raised:
            ec2.create_fleet(**fleet("lt-0123456789abcdef0", ("m5.large", "a")))
        return raised.value

    yield call
    ec2.close()
    asyncio.run_coroutine_threadsafe(plane.close(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def status_of(found: Refusal) -> int:
    """What EC2 sends with it, where that is documented; a kind's usual one otherwise."""
    if found.code in ("RequestLimitExceeded", "ServiceUnavailable", "Unavailable"):
        return 503
    if found.code in SERVER:
        return 500
    return 403 if found.class_ is Class.PERMISSION else 400


@pytest.mark.parametrize("code", ROWS)
def test_row(refused_with: Callable[[str, int], ClientError], code: str) -> None:
    """The code as botocore reports it finds its row. Otherwise the hunt waits where it should go on, or for ever."""
    expected = ROWS[code]

    error = refused_with(code, status_of(expected)).response
    found = refusal(error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"])

    assert (expected, code) == (found, found.code)
    assert TABLE[found.class_][code].action == found.action


@pytest.mark.parametrize(
    ("code", "status", "class_", "action"),
    [
        ("NeverHeardOf", 400, Class.UNKNOWN, Action.LATER),
        ("NeverHeardOf", 403, Class.UNKNOWN, Action.LATER),
        ("NeverHeardOf", 429, Class.THROTTLED, Action.PACE),
        ("NeverHeardOf", 500, Class.SERVER, Action.UNANSWERED),
        ("NeverHeardOf", 503, Class.SERVER, Action.UNANSWERED),
        ("Server.NeverHeardOf", 500, Class.SERVER, Action.UNANSWERED),
        ("InsufficientInstanceCapacity", 500, Class.CAPACITY, Action.ELSEWHERE),
        ("RequestLimitExceeded", 503, Class.THROTTLED, Action.PACE),
        ("InternalError", 500, Class.SERVER, Action.UNANSWERED),
    ],
)
def test_a_5xx_is_a_refusal_only_by_its_code(
    refused_with: Callable[[str, int], ClientError], code: str, status: int, class_: Class, action: Action
) -> None:
    """A 5xx that we cannot read may have launched. Taken for a refusal, the next token launches a second machine."""
    error = refused_with(code, status).response
    found = refusal(error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"])

    assert (class_, action) == (found.class_, found.action)


@pytest.mark.parametrize(
    ("status", "action"), [(500, Action.UNANSWERED), (502, Action.UNANSWERED), (504, Action.UNANSWERED)]
)
async def test_a_load_balancers_page_is_no_answer(status: int, action: Action) -> None:
    """It has no code: botocore gives its status instead, and what stood behind it may have launched."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<html><body>Bad Gateway</body></html>"
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()

    async with asyncio.timeout(20), await asyncio.start_server(page, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        ec2 = await asyncio.to_thread(
            SESSION.client, "ec2", endpoint_url=f"http://127.0.0.1:{port}", config=ONE_ATTEMPT
        )
        with pytest.raises(ClientError) as raised:
            await asyncio.to_thread(ec2.create_fleet, **fleet("lt-0123456789abcdef0", ("m5.large", "a")))
        ec2.close()

    code = raised.value.response["Error"]["Code"]
    assert (str(status), action) == (code, refusal(code).action)


SIX = [(kind, letter) for kind in ("c5.large", "m5.large", "r5.large") for letter in "ab"]


async def test_what_a_real_fleet_answers() -> None:
    """Six pools of which three were tried. Otherwise the words of those that were not would decide."""
    async with cloud() as here:
        here.plane.ec2.pools.drain()
        template = await here.template()
        full = codes(await here.ec2.create_fleet(**fleet(template, *SIX)))
        absent = codes(await here.ec2.create_fleet(**fleet(template, ("m5.large", "e"), ("c5.large", "e"))))
        mixed = codes(await here.ec2.create_fleet(**fleet(template, ("m5.large", "e"), ("c5.large", "a"))))

    assert {"InsufficientInstanceCapacity", "UnfulfillableCapacity"} == set(full)
    assert refusal("InsufficientInstanceCapacity") == verdict(full)
    assert (Action.ELSEWHERE, True) == (verdict(absent).action, verdict(absent).drops_pool)
    assert refusal("InsufficientInstanceCapacity") == verdict(mixed)


# ---- Every code accounted for


@pytest.mark.parametrize(
    "listed",
    [COMMON, SERVER, COMMON_ERROR_TYPES, STATE_REASONS, FORMERLY, list(FIELD), BOTOCORE],
    ids=["common", "server", "types", "state-reasons", "formerly", "field", "botocore"],
)
def test_each_listed_code_has_a_row(listed: list[str]) -> None:
    assert [] == [code for code in listed if refusal(code).class_ is Class.UNKNOWN]


def about(code: str) -> list[str]:
    return [reason for reason, pattern in OTHER_ACTIONS.items() if re.fullmatch(pattern, code)]


def test_each_specific_code_has_a_row_or_a_reason() -> None:
    """Never both, never neither. Otherwise a refusal that EC2 documents for a launch is one that we do not know."""
    row = {code: refusal(code).class_ is not Class.UNKNOWN for code in SPECIFIC}

    assert [] == [code for code in SPECIFIC if not row[code] and not about(code)], "neither"
    assert [] == [(code, about(code)) for code in SPECIFIC if row[code] and about(code)], "both"


def test_each_row_has_a_source() -> None:
    """A code that nobody documents and nobody met is one that we made up."""
    listed = [*COMMON, *SERVER, *SPECIFIC, *COMMON_ERROR_TYPES, *STATE_REASONS, *FORMERLY, *FIELD, *BOTOCORE]
    sources = {name.casefold() for code in listed for name in (code, code.split(".", 1)[-1])}

    assert [] == [code for code in ROWS if code.casefold() not in sources]


def test_no_code_has_two_rows() -> None:
    """Whatever its spelling. In a literal the later one wins, and nobody is told."""
    tree = ast.parse(inspect.getsource(refusals))
    keys = [
        key.value.casefold()
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    ]

    assert len(ROWS) == len(keys), "the reading found other literals than the table"
    assert [] == [code for code, times in Counter(keys).items() if times > 1]


def test_every_action_and_class_is_used() -> None:
    """UNKNOWN is for what stands in no row."""
    assert set(Action) == {row.action for rows in TABLE.values() for row in rows.values()}
    assert set(Class) - {Class.UNKNOWN} == set(TABLE)


# ---- What the rows promise

USUAL = {
    Class.CAPACITY: Action.ELSEWHERE,
    Class.PRICE: Action.ELSEWHERE,
    Class.UNSUPPORTED: Action.ELSEWHERE,
    Class.QUOTA: Action.LATER,
    Class.THROTTLED: Action.PACE,
    Class.TOKEN: Action.BURNT,
    Class.SERVER: Action.UNANSWERED,
    Class.STATE: Action.LATER,
    Class.ABSENT: Action.LATER,
    Class.MISSING: Action.PERSON,
    Class.PERMISSION: Action.PERSON,
    Class.MALFORMED: Action.PERSON,
}
UNUSUAL = {
    # What another zone has no more of, or what only its hour brings.
    "InsufficientAddressCapacity": Action.LATER,
    "InvalidCapacityReservationState.PendingActivation": Action.LATER,
    # The one quota that the other market does not share.
    "MaxSpotInstanceCountExceeded": Action.ON_DEMAND,
    # Limits of one launch, which no waiting lifts.
    "SecurityGroupLimitExceeded": Action.PERSON,
    "SecurityGroupsPerInstanceLimitExceeded": Action.PERSON,
    "SecurityGroupsPerInterfaceLimitExceeded": Action.PERSON,
    "TagLimitExceeded": Action.PERSON,
    "VolumeIOPSLimit": Action.PERSON,
    # A token that is in use, and one that was never valid.
    "PriorRequestNotComplete": Action.UNANSWERED,
    "InvalidClientToken": Action.PERSON,
    # What AWS or Lambda mends without anybody's doing.
    "PendingVerification": Action.LATER,
    "ExpiredToken": Action.LATER,
    "ExpiredTokenException": Action.LATER,
    "InvalidSecurity.RequestHasExpired": Action.LATER,
    "RequestExpired": Action.LATER,
}


def test_each_class_has_its_action() -> None:
    """And each exception its reason. One slip among two hundred rows would wait where a person is needed."""
    unusual = {code: row.action for code, row in ROWS.items() if row.action is not USUAL[row.class_]}

    assert UNUSUAL == unusual


@pytest.mark.parametrize("code", [code for code, row in ROWS.items() if row.action is Action.PERSON])
def test_a_person_is_told_what_to_do(code: str) -> None:
    """A run that waits for somebody says for what. Otherwise it waits for the one who reads our code."""
    row = ROWS[code]

    assert row.why
    assert row.next_step
    assert f"{code}: {row.why} — {row.next_step}" == str(row)


def test_only_what_cannot_be_launched_drops_its_pool() -> None:
    """A pool that is full will have room again. Dropped, it would be missing when it has."""
    dropping = [row for row in ROWS.values() if row.drops_pool]

    assert {(Class.UNSUPPORTED, Action.ELSEWHERE)} == {(row.class_, row.action) for row in dropping}


def test_what_may_have_launched_is_not_a_capacity_or_permission_matter() -> None:
    """UNANSWERED is for EC2's failures and a token in use: every other code says that nothing was launched."""
    assert {Class.SERVER, Class.TOKEN} == {row.class_ for row in ROWS.values() if row.action is Action.UNANSWERED}


# ---- Spelling


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("Server.InsufficientInstanceCapacity", "InsufficientInstanceCapacity"),
        ("Client.VolumeLimitExceeded", "VolumeLimitExceeded"),
        ("Client.UnauthorizedOperation", "UnauthorizedOperation"),
        ("Server.InternalError", "InternalError"),
        ("Client.InternalError", "Client.InternalError"),
        ("InvalidSubnetId.NotFound", "InvalidSubnetID.NotFound"),
        ("Client.InvalidSubnetId.NotFound", "InvalidSubnetID.NotFound"),
        ("ClientInvalidParameterValue", "ClientInvalidParameterValue"),
    ],
)
def test_spellings_of_one_code(spelling: str, code: str) -> None:
    """EC2 writes ids both ways and state reasons with a side before them; and once the side makes the difference."""
    assert code == refusal(spelling).code


def test_a_word_we_do_not_know_is_kept_and_waits() -> None:
    """It is what a person will search for."""
    found = refusal("Client.NeverHeardOf")

    assert ("Client.NeverHeardOf", Action.LATER) == (found.code, found.action)


# ---- Several pools


@pytest.mark.parametrize(
    ("said", "code", "action"),
    [
        (["InsufficientInstanceCapacity", "UnfulfillableCapacity"], "InsufficientInstanceCapacity", "elsewhere"),
        (["UnfulfillableCapacity"] * 6, "UnfulfillableCapacity", "elsewhere"),
        (["UnauthorizedOperation", "InsufficientInstanceCapacity"], "InsufficientInstanceCapacity", "elsewhere"),
        (["UnauthorizedOperation"] * 3 + ["UnfulfillableCapacity"] * 3, "UnauthorizedOperation", "person"),
        (["UnauthorizedOperation", "NeverHeardOf"], "NeverHeardOf", "later"),
        (["MaxSpotInstanceCountExceeded"] * 3 + ["UnfulfillableCapacity"], "MaxSpotInstanceCountExceeded", "on demand"),
        (["VcpuLimitExceeded", "MaxSpotInstanceCountExceeded"], "MaxSpotInstanceCountExceeded", "on demand"),
        (["MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow"], "SpotMaxPriceTooLow", "elsewhere"),
        (["InvalidFleetConfiguration", "InsufficientInstanceCapacity"], "InsufficientInstanceCapacity", "elsewhere"),
        (["InvalidFleetConfiguration", "UnfulfillableCapacity"], "InvalidFleetConfiguration", "elsewhere"),
        (["InsufficientInstanceCapacity", "RequestLimitExceeded"], "RequestLimitExceeded", "pace"),
        (["InvalidParameterValue", "InternalError"], "InternalError", "later"),
        ([], "", "elsewhere"),
    ],
)
def test_the_most_hopeful_of_several_counts(said: list[str], code: str, action: str) -> None:
    """In whatever order. Otherwise one forbidden pool would stop a hunt that others can end, or a role without
    permission would be taken for a lack of capacity that nobody has to mend."""
    assert {(code, Action(action))} == {
        (found.code, found.action) for order in permutations(said[:4]) for found in [verdict([*order, *said[4:]])]
    }


@pytest.mark.parametrize("code", [code for code, row in ROWS.items() if row.action is Action.UNANSWERED])
def test_inside_of_an_answer_everything_is_answered(code: str) -> None:
    """The same token would bring the same 200 for ever. The hunt would stand still with capacity all around it."""
    assert (Action.UNANSWERED, Action.LATER) == (refusal(code).action, verdict([code]).action)


def test_the_order_of_hope_is_of_all_actions() -> None:
    """But for the one that an answer cannot have."""
    assert set(Action) - {Action.UNANSWERED} == set(HOPE)
    assert len(set(HOPE)) == len(HOPE)


def test_a_verdict_takes_any_iterable() -> None:
    errors: list[dict[str, Any]] = [{"ErrorCode": "Unsupported"}, {}]

    assert "Unsupported" == verdict(error.get("ErrorCode", "") for error in errors).code
