"""Who is told of runs, and would he hear it: the webhook's address, or the topic (`topics`). Nothing is sent."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator

from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import Ground
from spotrelay.doctor.topics import Purpose, hearing


def notifications(ground: Ground) -> Iterator[Finding]:
    """As the function has it: that is where it is told from."""
    environment = ground.environment()
    email = ground.stack.get().parameters.get("NotifyEmail", "")
    if topic := environment.get("SPOTRELAY_NOTIFY_TOPIC"):
        heard = yield from hearing(topic, Purpose("nobody is told of runs", email, "--notify"), ground)
        if heard:
            yield ok(f"told by the topic {topic.rpartition(':')[2]}, which {heard} hear{'s' if heard == 1 else ''}")
    elif url := environment.get("SPOTRELAY_NOTIFY_WEBHOOK"):
        yield from _webhook(url, ground)
    else:
        yield ok("nobody is told of runs (deploy --notify EMAIL|URL|ARN would have somebody told)")


def _webhook(url: str, ground: Ground) -> Iterator[Finding]:
    """Its address is a secret, and stands in no finding; its host may."""
    again = {"remedy": "Give it anew.", "command": f"{ground.spotrelay('deploy')} --notify https://…"}
    scheme, host = _parts(url)
    if not host or scheme not in ("https", "http"):
        yield problem("nobody is told of runs: the webhook's address is none; somebody changed it by hand", **again)
    elif scheme == "http":
        yield warning(
            f"the webhook at {host} is not https: who listens on the way learns its address, and may write there",
            **again,
        )
    else:
        yield ok(f"told by a webhook at {host}")


def _parts(url: str) -> tuple[str, str]:
    """Scheme and host; empty for what is no address."""
    try:
        parts = urllib.parse.urlsplit(url)
        return (parts.scheme, parts.hostname or "") if parts.port != 0 else ("", "")
    except ValueError:
        return "", ""
