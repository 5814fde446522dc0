"""Who asks, and where: credentials, account, region.

AWS refuses in few words that mean many things. `InvalidClientTokenId` is a key that was deleted, and also a good key
in a region that its account has not enabled; asked again in the partition's oldest region, the two differ.
"""

from __future__ import annotations

from collections.abc import Iterator

import botocore.exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import UNKNOWN_HERE, Ground, NoRegion, RegionNotEnabled
from spotrelay.doctor.known import Missing
from spotrelay.stack.meanings import Meaning, code_of, known_regions, meaning, region_meant

_SSO = (boto.SSOError, boto.TokenRetrievalError)
_UNUSABLE = (
    (
        boto.ProfileNotFound,
        "there is no such profile",
        "Correct AWS_PROFILE or --profile; these are there:",
        "aws configure list-profiles",
    ),
    (
        boto.NoCredentialsError,
        "no AWS credentials were found",
        "Log in, or set AWS_PROFILE to a profile that has credentials.",
        "aws configure",
    ),
    (boto.PartialCredentialsError, "the credentials are incomplete", "Set what is missing.", "aws configure"),
    (boto.LoginError, "the login has expired", "Log in again.", "aws login"),
    (_SSO, "the single sign-on session has expired", "Log in again.", "aws sso login"),
    (
        BotoCoreError,
        "the credentials cannot be used",
        "Correct the configuration; this shows where each value comes from.",
        "aws configure list",
    ),
)
_ELSEWHERE = "a region such as us-east-1 or eu-central-1"


def credentials(ground: Ground) -> Iterator[Finding]:
    try:
        ground.session.first_hand()
        caller = ground.caller.first_hand()
    except ClientError as error:
        yield _refused(error, ground)
    except BotoCoreError as error:
        yield _unusable(error, ground)
    else:
        yield ok(f"account {caller.account}, as {caller.arn}")
        if caller.arn.endswith(":root"):
            yield warning(
                "these are the root user's credentials, which nothing can limit",
                remedy="Use a role or an IAM Identity Center user instead, and delete the root user's access keys.",
                command="aws configure sso",
            )


def _refused(error: ClientError, ground: Ground) -> Finding:
    said = str(error)
    match meaning(error):
        case Meaning.CLOCK:
            return problem(
                "AWS refuses the signature because of this computer's clock",
                remedy="Set the clock; `clock` below says by how much it is wrong.",
                detail=said,
            )
        case Meaning.EXPIRED:
            what = "the credentials have expired"
        case Meaning.UNKNOWN_KEY | Meaning.NOT_ENABLED:
            what = "AWS does not know this access key (deleted, inactive or mistyped)"
        case Meaning.WRONG_SECRET:
            what = "the secret key does not belong to the access key"
        case _:
            what = f"AWS refuses these credentials: {code_of(error)}"
    return problem(what, detail=said, **_renewal(ground))


def _unusable(error: BotoCoreError, ground: Ground) -> Finding:
    """What boto3 itself says, before AWS is asked or instead of an answer."""
    if meaning(error) is Meaning.NO_ANSWER:
        return _no_answer(error, ground)
    for kinds, what, remedy, command in _UNUSABLE:
        if isinstance(error, kinds):
            # A list has no profile of its own; all else is about the one in use.
            profile = "" if kinds is boto.ProfileNotFound else _profile(ground)
            return problem(what, remedy=remedy, command=f"{command}{profile}", detail=str(error))
    raise AssertionError("the last row takes all")


def _no_answer(error: BotoCoreError, ground: Ground) -> Finding:
    return problem(
        f"AWS gives no answer in {ground.region.get()}",
        remedy="Check the region's name, the network, and the proxy (HTTPS_PROXY, NO_PROXY, AWS_ENDPOINT_URL).",
        command=ground.spotrelay("doctor", region=ground.home()),
        detail=str(error),
    )


def _renewal(ground: Ground) -> dict[str, str]:
    """How these credentials are renewed, which depends on where they came from."""
    found = ground.session.get().get_credentials()
    method, profile = getattr(found, "method", ""), _profile(ground)
    if method == "env":
        return {
            "remedy": "They come from the environment: export new ones, or drop these to use a profile.",
            "command": "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN",
        }
    if method.startswith("sso"):
        return {"remedy": "Log in again.", "command": f"aws sso login{profile}"}
    if method.startswith("login"):
        return {"remedy": "Log in again.", "command": f"aws login{profile}"}
    return {
        "remedy": f"Renew them where they come from ({method or 'not known'}).",
        "command": f"aws configure{profile}",
    }


def _profile(ground: Ground) -> str:
    return f" --profile {ground.asked.profile}" if ground.asked.profile else ""


def region(ground: Ground) -> Iterator[Finding]:
    try:
        name = ground.region.first_hand()
    except NoRegion:
        yield problem(
            "no region is set",
            remedy=f"Name {_ELSEWHERE} with --region or AWS_REGION, or set one for good.",
            command=f"aws configure set region us-east-1{_profile(ground)}",
        )
        return
    if name not in known_regions():
        yield _strange(name, ground)
    try:
        ground.caller.first_hand()
        ground.client("ec2").describe_regions(RegionNames=[name])
    except RegionNotEnabled:
        yield _not_enabled(name, ground)
    except ClientError as error:
        if not _is_known(ground):
            return  # bad credentials are a finding of their own
        if meaning(error) not in UNKNOWN_HERE:
            raise
        yield _not_enabled(name, ground)
    except (BotoCoreError, NoRegion):
        return  # said by `credentials`, or above
    else:
        yield ok(name)


def _is_known(ground: Ground) -> bool:
    try:
        ground.caller.get()
    except Missing:
        return False
    return True


def _not_enabled(name: str, ground: Ground) -> Finding:
    return problem(
        f"{name} is not enabled for this account",
        remedy="Enable it (takes minutes), or deploy to another region.",
        command=f"aws account enable-region --region-name {name} --region {ground.home()}{_profile(ground)}",
    )


def _strange(name: str, ground: Ground) -> Finding:
    """A new region is younger than the installed boto3, so a name that answers is none the worse."""
    if _is_known(ground):
        return warning(
            f"this boto3 does not know the region {name}",
            remedy="It answers, so it is probably a new one: update boto3.",
            command="pip install --upgrade boto3",
        )
    near = region_meant(name)
    guess = f" Did you mean {near}?" if near else ""
    return problem(
        f"there is no region {name}.{guess}",
        remedy="Name one that there is, with --region or AWS_REGION.",
        command=ground.spotrelay("doctor", region=near or "us-east-1"),
    )
