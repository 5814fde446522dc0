"""What EC2 may say, by source: names alone and whole, so that a code without a row in the launcher's table is a
decision with a reason and not an oversight. And the rows that there are, by code."""

from __future__ import annotations

from spotrelay.launcher.refusals import TABLE, refusal

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
