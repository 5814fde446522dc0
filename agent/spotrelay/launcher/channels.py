"""The way to a person: an SNS topic (e-mail, or whatever subscribes to it), or a webhook.

    SPOTRELAY_NOTIFY_TOPIC      an SNS topic's ARN
    SPOTRELAY_NOTIFY_WEBHOOK    a URL that takes a POST. Whoever knows it may write there: it is a secret

1. One way, not several: what one of them did not take is sent again, and the others would get it twice.
2. It ends within `WITHIN_S`, whatever the other side does: a socket's own timeout begins anew with every byte.
3. The webhook's URL stands in no error and in no line of the log; its host may.

The webhook's body is JSON: `text` is what Slack and Mattermost show, `content` what Discord does, the same words; the
other fields are for programs. `id` is the same when a message comes twice.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Mapping
from typing import Any, Protocol

import boto3
import botocore.exceptions
from botocore.config import Config

from spotrelay.launcher.news import News

# A sweep has 45 s for everything, and the function 15 more. Chat services answer in some tenths of a second.
WITHIN_S = 8.0
CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}, max_pool_connections=16)
# SNS refuses a longer subject, or one with other characters.
SUBJECT = 99
# Of HTTP's refusals, those that another time may end otherwise. SNS's are known by their status too.
PASSING = (408, 425, 429)


class Unsent(Exception):
    """Nobody has taken the message, as far as is known. `final`: nor will anybody, until a person changes something."""

    def __init__(self, why: str, *, final: bool) -> None:
        super().__init__(why)
        self.final = final


class Channel(Protocol):
    def send(self, news: News) -> None:
        """Raises Unsent. Called from several threads."""
        ...


def open_channel(environment: Mapping[str, str]) -> Channel | None:
    if topic := environment.get("SPOTRELAY_NOTIFY_TOPIC"):
        return Topic(topic)
    if url := environment.get("SPOTRELAY_NOTIFY_WEBHOOK"):
        return Webhook(url)
    return None


class Topic:
    """With the event and the run as attributes, by which a subscription can choose."""

    def __init__(self, arn: str) -> None:
        self._arn = arn
        region = arn.split(":")[3] if arn.count(":") == 5 else None
        self._client: Any = boto3.client("sns", region_name=region, config=CONFIG)

    def close(self) -> None:
        self._client.close()

    def send(self, news: News) -> None:
        told = {"event": news.event, "run": news.run}
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in told.items()}
        subject = news.subject.encode("ascii", "replace").decode()[:SUBJECT]
        try:
            self._client.publish(TopicArn=self._arn, Subject=subject, Message=news.text, MessageAttributes=attributes)
        except botocore.exceptions.ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            throttled = "Throttl" in error.response.get("Error", {}).get("Code", "")
            raise Unsent(f"the topic: {error}", final=_is_final(status) and not throttled) from error
        except botocore.exceptions.BotoCoreError as error:
            raise Unsent(f"the topic: {error}", final=False) from error


class Webhook:
    def __init__(self, url: str) -> None:
        self._url = urllib.parse.urlsplit(url)

    def send(self, news: News) -> None:
        status = self._post(json.dumps(news.document).encode())
        if not 200 <= status < 300:  # a redirection leads elsewhere: only a person knows whether that is meant
            raise Unsent(f"the webhook answers {status}", final=_is_final(status))

    def _post(self, body: bytes) -> int:
        """The status."""
        secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        headers = {"Content-Type": "application/json", "User-Agent": "spotrelay"}
        cut = threading.Event()
        try:
            connection = kind(self._url.hostname or "", self._url.port, timeout=WITHIN_S / 2)
            timer = threading.Timer(WITHIN_S, _cut, (connection, cut))
            timer.daemon = True
            timer.start()
            try:
                connection.connect()
                if cut.is_set():  # before there was a line to cut
                    raise TimeoutError
                connection.request("POST", path, body, headers)
                status = connection.getresponse().status
                if cut.is_set():  # http.client takes the end of the line for the end of the head
                    raise TimeoutError
                return status
            finally:
                timer.cancel()
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            # `from None`, and of an error its kind: what http.client says of an address has the address in it.
            passing = f"nothing within {WITHIN_S:g} s" if cut.is_set() else _kind(error)
            raise Unsent(f"the webhook: {passing}", final=isinstance(error, http.client.InvalidURL)) from None


def _cut(connection: http.client.HTTPConnection, cut: threading.Event) -> None:
    cut.set()
    sock = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended by itself


def _kind(error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__} {why or ''}".rstrip()


def _is_final(status: int) -> bool:
    return status < 500 and status not in PASSING
