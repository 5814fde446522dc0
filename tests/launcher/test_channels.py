"""The way to a person, over the wire: a webhook that answers well, badly or never, and a topic."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto.sns.models import sns_backends

from spotrelay.launcher import channels
from spotrelay.launcher.channels import Topic, Unsent, Webhook, open_channel
from spotrelay.launcher.news import News
from support.images import ACCOUNT, REGION
from support.moto_server import moto_server
from support.webhook import Hook, hook

SECRET = "T0P/s3cret?key=hidden"
NEWS = News("runs/r/told/00002-resumed.json", "resumed", "r", 2, 5.0, "it goes on — äöü", "Nothing to do.", "other")


@pytest.fixture
def there() -> Iterator[Hook]:
    with hook() as found:
        yield found


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with moto_server() as endpoint:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        client = boto3.client("sns", region_name=REGION)
        try:
            yield client.create_topic(Name="told")["TopicArn"]
        finally:
            client.close()


def unsent(channel: Webhook | Topic) -> Unsent:
    with pytest.raises(Unsent) as caught:
        channel.send(NEWS)
    return caught.value


def test_webhook_gets_words_and_fields(there: Hook) -> None:
    """`text` for Slack and Mattermost, `content` for Discord, fields for programs; to the path and query given."""
    Webhook(f"{there.url}/{SECRET}").send(NEWS)
    words = "r: it goes on — äöü. Nothing to do.\nspotrelay status r --stack-name other"

    assert [f"/{SECRET}"] == there.paths
    assert {
        "text": words, "content": words, "id": NEWS.key, "event": "resumed", "run": "r", "attempt": 2, "at": 5.0,
        "command": "spotrelay status r --stack-name other",
    } == there.bodies[0]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "final"), [(204, None), (302, True), (404, True), (410, True), (408, False), (429, False), (503, False)]
)
def test_what_an_answer_means(there: Hook, status: int, final: bool | None) -> None:
    """Gone or forbidden calls a person; too much, or away, is tried again. A redirection is followed nowhere."""
    there.answers.append(status)
    webhook = Webhook(f"{there.url}/{SECRET}")
    if final is None:
        webhook.send(NEWS)
    else:
        assert final == unsent(webhook).final
    assert 1 == len(there.paths)


@pytest.mark.parametrize("behaviour", ["silent", "drips"])
def test_webhook_that_never_ends(there: Hook, behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps every socket timeout from firing. The sweep would end with its function; and this test
    would not end."""
    monkeypatch.setattr(channels, "WITHIN_S", 0.6)
    there.answers.append(behaviour)

    assert not unsent(Webhook(f"{there.url}/{SECRET}")).final


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/{}", "http://127.0.0.1:1/{} {}", "https://127.0.0.1:x/{}"])
def test_secret_is_in_no_error(url: str) -> None:
    """Whoever reads the log could write into the channel."""
    error = unsent(Webhook(url.format(SECRET, SECRET)))

    assert "s3cret" not in str(error)
    assert "hidden" not in str(error)
    assert error.__cause__ is None


def test_secret_is_not_said_by_a_broken_server(there: Hook) -> None:
    there.answers.append("garbage")
    error = unsent(Webhook(f"{there.url}/{SECRET}"))

    assert ("the webhook: BadStatusLine", False) == (str(error), error.final)


def test_topic_gets_a_mail(topic: str) -> None:
    """A subject that a mail can have, the words, and what a subscription can choose by."""
    told = Topic(topic)
    told.send(NEWS)
    told.close()
    [(_, message, subject, attributes, *_)] = sns_backends[ACCOUNT][REGION].topics[topic].sent_notifications

    assert ("spotrelay: r resumed", NEWS.text) == (subject, message)
    assert {"event": "resumed", "run": "r"} == {name: each["Value"] for name, each in attributes.items()}


def test_topic_that_is_gone_calls_a_person(topic: str) -> None:
    told = Topic(topic + "-gone")
    error = unsent(told)
    told.close()

    assert error.final
    assert "NotFound" in str(error)


def test_topic_that_does_not_answer(topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    told = Topic(topic)
    error = unsent(told)
    told.close()

    assert not error.final


def test_which_way(topic: str) -> None:
    """As the stack's variables say: those that are not meant are empty."""
    names = ("SPOTRELAY_NOTIFY_TOPIC", "SPOTRELAY_NOTIFY_WEBHOOK")
    by_topic = open_channel(dict(zip(names, (topic, ""), strict=True)))
    assert isinstance(by_topic, Topic)
    by_topic.close()

    assert isinstance(open_channel(dict(zip(names, ("", "https://example.com/x"), strict=True))), Webhook)
    assert open_channel(dict(zip(names, ("", ""), strict=True))) is None
    assert open_channel({}) is None
