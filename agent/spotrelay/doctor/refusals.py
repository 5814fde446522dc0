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
from spotrelay.stack.meanings import Meaning, code_of, meaning, permission_of, words_of


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
    detail, in_a_minute = _words(error), ("Look again in a minute.", ground.spotrelay("doctor"))
    match meaning(error):
        case Meaning.DENIED:
            permission = permission_of(error) or error.operation_name
            what, remedy = f"may not look: {permission} is not allowed", f"Add {permission} to the policies of "
            return unknown(what, remedy=f"{remedy}{_who(ground)}.", detail=detail)
        case Meaning.EXPIRED:
            return unknown("the credentials expired meanwhile", remedy="Renew them and look again.", detail=detail)
        case Meaning.BUSY:
            remedy, command = in_a_minute
            return unknown("AWS throttles these calls now", remedy=remedy, command=command, detail=detail)
        case Meaning.FAILED:
            remedy, command = in_a_minute
            return unknown(
                f"AWS itself failed at {error.operation_name}", remedy=remedy, command=command, detail=detail
            )
    return unknown(
        f"{error.operation_name} was refused: {code_of(error)}",
        remedy="What AWS says below names the cause; if it does not, please report it.",
        detail=detail,
    )


def _who(ground: Ground) -> str:
    try:
        return ground.caller.get().arn
    except Missing:
        return "these credentials"


def _words(error: ClientError) -> str:
    """AWS's; of a page in HTML, which a proxy may send, the beginning."""
    said = words_of(error) or str(error)
    return said if len(said) <= 500 else f"{said[:500]}…"
