"""A refusal as an error that ends a person's command: one of `core.errors.StackError`'s kinds, and what to do next.

CloudFormation's own words about a resource (`ResourceStatusReason`) are read as well: a missing permission shows up
there as often as in an answer, since CloudFormation makes everything with the caller's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import botocore.exceptions as theirs
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
from spotrelay.stack.meanings import (
    Meaning,
    code_of,
    known_regions,
    meaning,
    permission_named,
    permission_of,
    region_meant,
    words_of,
)

AGAIN = "run the same command again: it goes on from what there is"
SIGN_IN = "sign in anew (aws sso login, or fresh keys), then run the same command again"


@dataclass(frozen=True, slots=True)
class Place:
    """Who asks, and where: what a remedy has to name."""

    region: str
    profile: str | None

    def __str__(self) -> str:
        return f"profile {self.profile}, region {self.region}" if self.profile else f"region {self.region}"

    @property
    def options(self) -> str:
        """As they follow a command of ours or of AWS's CLI."""
        return f" --region {self.region}" + (f" --profile {self.profile}" if self.profile else "")


@contextmanager
def told(doing: str, place: Place) -> Iterator[None]:
    """Errors of boto3 leave as StackError. `doing` completes "cannot …"."""
    try:
        yield
    except theirs.ClientError as error:
        raise of_answer(error, doing, place) from error
    except (theirs.BotoCoreError, ResponseParserError) as error:
        raise of_client(error, doing, place) from error


def of_answer(error: theirs.ClientError, doing: str, place: Place) -> StackError:
    """AWS answered, and refused."""
    code, said = code_of(error), words_of(error)
    kind: type[StackError] = StackFailed
    what, next_step = f"cannot {doing}: {code}: {said}", AGAIN
    match meaning(error):
        case Meaning.DENIED:
            return denied(what, permission_of(error), place)
        case Meaning.EXPIRED:
            what, kind, next_step = f"cannot {doing}: the credentials have expired ({place})", StackCredentials, SIGN_IN
        case Meaning.CLOCK:
            what, kind = f"cannot {doing}: AWS refuses the signature, for this computer's clock", StackCredentials
            next_step = "have the network set it; `spotrelay doctor` says by how much it is wrong"
        case Meaning.UNKNOWN_KEY | Meaning.WRONG_SECRET:
            what, kind = f"cannot {doing}: AWS does not know these credentials ({place}: {code})", StackCredentials
            enabled = f"that the account has {place.region} enabled"
            next_step = f"check them with `aws sts get-caller-identity`, and {enabled}"
        case Meaning.NOT_ENABLED:
            kind, next_step = StackRegion, f"enable {place.region} for the account, or choose another --region"
        case Meaning.ELSEWHERE:
            kind, next_step = StackRegion, f"it is not in {place.region}: choose the --region that it is in"
        case Meaning.BUSY | Meaning.FAILED:
            kind = StackUnreachable
        case _ if code == "ValidationError":
            # Somebody else was quicker; or what was asked for is wrong, and AWS says in what.
            next_step = AGAIN if "_IN_PROGRESS" in said else ""
    return kind(what, next_step=next_step)


def of_client(error: Exception, doing: str, place: Place) -> StackError:
    """There was no answer, or no question."""
    what = f"cannot {doing}: {error}"
    match meaning(error):
        case Meaning.NO_PROFILE:
            return StackCredentials(what, next_step="`aws configure list-profiles` names those that there are")
        case Meaning.SIGNED_OUT:
            return StackCredentials(
                what, next_step="give --profile, or sign in (aws sso login, aws configure); AWS_PROFILE is honoured too"
            )
        case Meaning.NO_REGION:
            return StackRegion(what, next_step="give --region, or set AWS_REGION")
        case Meaning.NO_ANSWER if isinstance(error, ResponseParserError):
            return unreached(f"cannot {doing}: the answer was not AWS's", place)
        case Meaning.NO_ANSWER:
            return unreached(what, place)
    return StackError(what, next_step=AGAIN)


def denied(what: str, permission: str, place: Place) -> StackDenied:
    return StackDenied(
        what, next_step=f"have {permission or 'it'} allowed for these credentials ({place}), or take another --profile"
    )


def unreached(what: str, place: Place) -> StackError:
    """A region that does not exist has no endpoint: it looks like a network that is down."""
    if place.region in known_regions():
        return StackUnreachable(what, next_step="check the network and proxies, then run the same command again")
    near = region_meant(place.region)
    meant = f"did you mean {near}?" if near else "`aws ec2 describe-regions` names those that there are"
    return StackRegion(f"no region is called {place.region!r}, as far as is known here", next_step=meant)


def of_reason(resource: str, reason: str, place: Place) -> StackError:
    """Why CloudFormation could not make, change or remove a resource, in its own words."""
    what = f"{resource}: {reason}"
    permission = permission_named(reason)
    if permission or "AccessDenied" in reason:
        return denied(what, permission, place)
    if "token" in reason and "expired" in reason:
        return StackCredentials(f"{resource}: the credentials expired on the way", next_step=SIGN_IN)
    if "already exist" in reason:
        return StackClash(what, next_step="remove that, or choose another --stack-name")
    if "default VPC" in reason or "default subnet" in reason:
        return StackFailed(what, next_step="`aws ec2 create-default-vpc` makes one; then run the same command again")
    if "limit" in reason.lower() or "quota" in reason.lower():
        return StackFailed(what, next_step="remove what is not needed, or ask for a higher quota; then run it again")
    return StackFailed(what, next_step=AGAIN)
