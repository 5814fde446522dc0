"""Launch templates, and how one merges with the request that names it.

What a request says replaces what the template says, parameter by parameter and whole: `MetadataOptions` of a request
does not inherit single fields of the template's. Tags are the exception, they are united, the request's value winning.
The market, the instance profile, the metadata options and the user data do come from the template: a fake that forgets
them shows an on-demand instance without credentials where EC2 starts a spot instance with a role.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from spotrelay.local.clock import Clock
from spotrelay.local.tags import as_list, tags_for
from spotrelay.local.wire import AwsError

Data = Mapping[str, Any]

TAGGED_AT_LAUNCH = ("instance", "spot-instances-request", "volume", "network-interface")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a template, which never changes."""

    template_id: str
    template_name: str
    number: int
    data: Data
    created: float
    description: str = ""


class LaunchTemplates:
    def __init__(self, clock: Clock, rng: Random, account: str) -> None:
        self._clock, self._rng = clock, rng
        self._creator = f"arn:aws:iam::{account}:root"
        self._versions: dict[str, list[Version]] = {}

    def create(self, params: Mapping[str, Any]) -> dict[str, Any]:
        name = params["LaunchTemplateName"]
        if any(versions[0].template_name == name for versions in self._versions.values()):
            raise AwsError("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
        identity = f"lt-0{self._rng.getrandbits(64):016x}"
        self._versions[identity] = []
        self._add(identity, name, params, params["LaunchTemplateData"])
        return {"LaunchTemplate": self._show(identity)}

    def create_version(self, params: Mapping[str, Any]) -> dict[str, Any]:
        versions = self._find(params)
        data = params["LaunchTemplateData"]
        if "SourceVersion" in params:
            data = {**self._pick(versions, params["SourceVersion"]).data, **data}
        return {"LaunchTemplateVersion": self._show_version(self._add(*_identity(versions), params, data))}

    def _add(self, identity: str, name: str, params: Mapping[str, Any], data: Data) -> Version:
        versions = self._versions[identity]
        described = params.get("VersionDescription", "")
        versions.append(Version(identity, name, len(versions) + 1, data, self._clock.now(), described))
        return versions[-1]

    def adopt(self, version: Version) -> None:
        """One that was made elsewhere keeps its names: policies and requests are about them."""
        self._versions.setdefault(version.template_id, []).append(version)

    def resolve(self, named: Mapping[str, Any]) -> Version:
        """The version that a LaunchTemplateSpecification names; none named: the default one. Raises AwsError."""
        return self._pick(self._find(named), named.get("Version", "$Default"))

    def _find(self, named: Mapping[str, Any]) -> list[Version]:
        if "LaunchTemplateId" in named:
            identity = named["LaunchTemplateId"]
            if identity not in self._versions:
                raise AwsError(
                    "InvalidLaunchTemplateId.NotFound",
                    f"The specified launch template, with template ID {identity}, does not exist.",
                )
            return self._versions[identity]
        name = named.get("LaunchTemplateName")
        for versions in self._versions.values():
            if versions[0].template_name == name:
                return versions
        raise AwsError(
            "InvalidLaunchTemplateName.NotFoundException",
            f"The specified launch template, with template name {name}, does not exist.",
        )

    def _pick(self, versions: list[Version], wanted: str) -> Version:
        # The default is the first version: nothing here calls ModifyLaunchTemplate.
        number = {"$Latest": str(len(versions)), "$Default": "1"}.get(wanted, wanted)
        for version in versions:
            if str(version.number) == number:
                return version
        raise AwsError("InvalidLaunchTemplateId.VersionNotFound", f"Could not find launch template version: {wanted}.")

    def _show(self, identity: str) -> dict[str, Any]:
        versions = self._versions[identity]
        return {
            "LaunchTemplateId": identity,
            "LaunchTemplateName": versions[0].template_name,
            "CreateTime": versions[0].created,
            "CreatedBy": self._creator,
            "DefaultVersionNumber": 1,
            "LatestVersionNumber": len(versions),
        }

    def _show_version(self, version: Version) -> dict[str, Any]:
        return {
            "LaunchTemplateId": version.template_id,
            "LaunchTemplateName": version.template_name,
            "VersionNumber": version.number,
            "VersionDescription": version.description,
            "CreateTime": version.created,
            "CreatedBy": self._creator,
            "DefaultVersion": version.number == 1,
            "LaunchTemplateData": version.data,
        }


def _identity(versions: list[Version]) -> tuple[str, str]:
    return versions[0].template_id, versions[0].template_name


def merge(template: Data, request: Data) -> dict[str, Any]:
    """What is launched. Raises AwsError for tags that EC2 refuses."""
    specifications = [
        {"ResourceType": resource, "Tags": as_list(tags)}
        for resource in TAGGED_AT_LAUNCH
        if (tags := _tags(template, resource) | _tags(request, resource))
    ]
    return {**template, **request, "TagSpecifications": specifications}


def _tags(data: Data, resource: str) -> dict[str, str]:
    return tags_for(resource, data.get("TagSpecifications", ()))
