"""Signature Version 4 of one POST to one service, as AWS writes it down ("Create a signed AWS API request").

Only what the queue needs: the path is `/`, there is no query, the body is in memory. A test holds each header against
botocore's own. S3 is signed by obstore.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from spotrelay.aws.credentials import Keys

ALGORITHM = "AWS4-HMAC-SHA256"


def signed(
    url: str, headers: Mapping[str, str], body: bytes, keys: Keys, *, service: str, region: str, at: float
) -> dict[str, str]:
    """`headers`, and those that sign them. `at`: seconds since 1970; AWS refuses a quarter of an hour's error."""
    moment = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    dated = dict(headers) | {"X-Amz-Date": moment} | ({"X-Amz-Security-Token": keys.token} if keys.token else {})
    covered = sorted((name.lower(), " ".join(value.split())) for name, value in [*dated.items(), ("host", _host(url))])
    names = ";".join(name for name, _ in covered)
    lines = "".join(f"{name}:{value}\n" for name, value in covered)
    request = f"POST\n/\n\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{keys.secret_key}".encode()
    for word in scope.split("/"):
        key = _mac(key, word)
    credential = f"Credential={keys.access_key}/{scope}"
    signature = _mac(key, to_sign).hex()
    return dated | {"Authorization": f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"}


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _host(url: str) -> str:
    """As the client will write it: without the port that the scheme implies."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return host if parts.port in (None, {"http": 80, "https": 443}[parts.scheme]) else f"{host}:{parts.port}"
