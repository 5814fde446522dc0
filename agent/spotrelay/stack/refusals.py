"""What AWS's errors mean to a person: one of `core.errors.StackError`'s kinds, and what to do next.

CloudFormation's own words about a resource (`ResourceStatusReason`) are read as well: a missing permission shows up
there as often as in an answer, since CloudFormation makes everything with the caller's own.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import botocore.exceptions as theirs
import botocore.session
from botocore.parsers import ResponseParserError

from spotrelay.core.errors import (
    StackClash,
    StackCredentials,
    StackDenied,
    StackError,
    StackFailed,
    StackRegion,
    StackUnreachable,
)

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "AuthFailure",
    "IncompleteSignature",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
_ELSEWHERE = {"PermanentRedirect", "IllegalLocationConstraintException", "301", "AuthorizationHeaderMalformed"}
_BUSY = {
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
    "ServiceUnavailable",
    "InternalFailure",
    "InternalError",
    "RequestTimeout",
}
_SIGNED_OUT = (
    theirs.NoCredentialsError,
    theirs.PartialCredentialsError,
    theirs.CredentialRetrievalError,
    theirs.SSOError,
    theirs.TokenRetrievalError,
    theirs.ConfigNotFound,
)
_NOT_REACHED = (theirs.HTTPClientError, theirs.ConnectionError)
_ACTION = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z0-9]+)")

AGAIN = "run the same command again: it goes on from what there is"
SIGN_IN = "sign in anew (aws sso login, or fresh keys), then run the same command again"


@dataclass(frozen=True, slots=True)
class Place:
    """Who asks, and where: what a remedy has to name."""

    region: str
    profile: str | None

    def __str__(self) -> str:
        return f"profile {self.profile}, region {self.region}" if self.profile else f"region {self.region}"


@contextmanager
def told(doing: str, place: Place) -> Iterator[None]:
    """Errors of boto3 leave as StackError. `doing` completes "cannot …"."""
    try:
        yield
    except theirs.ClientError as error:
        raise of_answer(error, doing, place) from error
    except theirs.BotoCoreError as error:
        raise of_client(error, doing, place) from error
    except (
        ResponseParserError
    ) as error:  # somebody else's words, such as a proxy's; botocore calls it no error of its own
        raise unreached(f"cannot {doing}: the answer was not AWS's", place) from error


def of_answer(error: theirs.ClientError, doing: str, place: Place) -> StackError:
    """AWS answered, and refused."""
    code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    kind: type[StackError] = StackFailed
    what, next_step = f"cannot {doing}: {code}: {said}", AGAIN
    if code in _DENIED:
        return denied(what, said, place)
    if code in _EXPIRED:
        what, kind, next_step = f"cannot {doing}: the credentials have expired ({place})", StackCredentials, SIGN_IN
    elif code in _UNKNOWN:
        what, kind = f"cannot {doing}: AWS does not know these credentials ({place}: {code})", StackCredentials
        next_step = f"check them with `aws sts get-caller-identity`, and that the account has {place.region} enabled"
    elif code == "ValidationError":
        next_step = ""  # what was asked for is wrong, and AWS says in what
    elif code == "OptInRequired":
        kind, next_step = StackRegion, f"enable {place.region} for the account, or choose another --region"
    elif code in _ELSEWHERE:
        kind, next_step = StackRegion, f"it is not in {place.region}: choose the --region that it is in"
    elif code in _BUSY or error.response["ResponseMetadata"].get("HTTPStatusCode", 0) >= 500:
        kind = StackUnreachable
    return kind(what, next_step=next_step)


def of_client(error: theirs.BotoCoreError, doing: str, place: Place) -> StackError:
    """There was no answer, or no question."""
    what = f"cannot {doing}: {error}"
    if isinstance(error, theirs.ProfileNotFound):
        return StackCredentials(what, next_step="`aws configure list-profiles` names those that there are")
    if isinstance(error, _SIGNED_OUT):
        return StackCredentials(
            what, next_step="give --profile, or sign in (aws sso login, aws configure); AWS_PROFILE is honoured too"
        )
    if isinstance(error, theirs.NoRegionError | theirs.InvalidRegionError):
        return StackRegion(what, next_step="give --region, or set AWS_REGION")
    if isinstance(error, _NOT_REACHED):
        return unreached(what, place)
    return StackError(what, next_step=AGAIN)


def denied(what: str, said: str, place: Place) -> StackDenied:
    action = _ACTION.search(said)
    missing = f"have {action[1]} allowed" if action else "have it allowed"
    return StackDenied(what, next_step=f"{missing} for these credentials ({place}), or take another --profile")


def unreached(what: str, place: Place) -> StackError:
    """A region that does not exist has no endpoint: it looks like a network that is down."""
    known = known_regions()
    if place.region in known:
        return StackUnreachable(what, next_step="check the network and proxies, then run the same command again")
    near = difflib.get_close_matches(place.region, known, 1)
    meant = f"did you mean {near[0]}?" if near else "`aws ec2 describe-regions` names those that there are"
    return StackRegion(f"no region is called {place.region!r}, as far as is known here", next_step=meant)


def known_regions() -> list[str]:
    """As this botocore knows them: a new one may be missing, so nothing is refused for that alone."""
    session = botocore.session.get_session()
    return [
        region
        for partition in ("aws", "aws-us-gov", "aws-cn")
        for region in session.get_available_regions("ec2", partition_name=partition)
    ]


def of_reason(resource: str, reason: str, place: Place) -> StackError:
    """Why CloudFormation could not make, change or remove a resource, in its own words."""
    what = f"{resource}: {reason}"
    if _ACTION.search(reason) or "AccessDenied" in reason:
        return denied(what, reason, place)
    if "token" in reason and "expired" in reason:
        return StackCredentials(f"{resource}: the credentials expired on the way", next_step=SIGN_IN)
    if "already exist" in reason:
        return StackClash(what, next_step="remove that, or choose another --stack-name")
    if "default VPC" in reason or "default subnet" in reason:
        return StackFailed(what, next_step="`aws ec2 create-default-vpc` makes one; then run the same command again")
    if "limit" in reason.lower() or "quota" in reason.lower():
        return StackFailed(what, next_step="remove what is not needed, or ask for a higher quota; then run it again")
    return StackFailed(what, next_step=AGAIN)
