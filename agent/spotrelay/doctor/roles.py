"""Roles: the one that EC2 itself needs once in an account, and the one that instances get."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import ClientError

from spotrelay.doctor.finding import Finding, ok, problem
from spotrelay.doctor.ground import Ground
from spotrelay.stack.ground import SPOT_ROLE, SPOT_SERVICE
from spotrelay.stack.meanings import code_of


def service_linked(ground: Ground) -> Iterator[Finding]:
    """EC2 makes it by itself at the first launch of somebody who may make roles. The launcher may not."""
    ground.caller.get()
    try:
        ground.client("iam").get_role(RoleName=SPOT_ROLE)
    except ClientError as error:
        if code_of(error) != "NoSuchEntity":
            raise
        yield problem(
            f"the role {SPOT_ROLE} is missing: the launcher's requests would be refused",
            remedy="Make it, once for the account.",
            command=ground.aws(f"iam create-service-linked-role --aws-service-name {SPOT_SERVICE}"),
        )
        return
    yield ok("for spot instances is there")


def instance(ground: Ground) -> Iterator[Finding]:
    """Without its role an instance cannot claim its run: it boots, fails, and ends, again and again."""
    wanted = ground.outputs.get()["InstanceRoleArn"]
    told = ground.template.get().get("IamInstanceProfile", {})
    name = told.get("Name") or told.get("Arn", "").rsplit("/", 1)[-1]
    try:
        roles = ground.client("iam").get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
    except ClientError as error:
        if code_of(error) != "NoSuchEntity":
            raise
        yield problem(
            f"the instance profile {name} is not there: somebody deleted it by hand",
            remedy="Make the stack anew, with the bucket and what is in it.",
            command=ground.anew(),
        )
        return
    if wanted not in [role["Arn"] for role in roles]:
        role = wanted.rsplit("/", 1)[-1]
        yield problem(
            f"the instance profile {name} does not hold the role {role}",
            remedy="Put it in (a profile holds one role: take out what is there first).",
            command=ground.aws(f"iam add-role-to-instance-profile --instance-profile-name {name} --role-name {role}"),
        )
    else:
        yield ok(f"{name} holds its role")
