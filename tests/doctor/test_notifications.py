"""Who is told of runs and of alarms: an address not confirmed, a topic that is gone, a webhook that others can read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from spotrelay.doctor.finding import Finding, State
from support.aws_account import Front
from support.examined_stack import ALARM, deploy

Only = Callable[..., Finding]
Ask = Callable[[str], Any]
DEPLOY = "spotrelay deploy --stack-name relay"
ME, TOPIC = "me@example.com", "arn:aws:sns:us-east-1:123456789012:told"
SECRET = "T0P-s3cret"


def pending(front: Front, endpoint: str, *, told: str = "PendingConfirmation") -> None:
    """moto takes every subscription for confirmed: AWS has a word in place of its ARN."""

    def change(body: str) -> str:
        before, _, after = body.partition(f"<Endpoint>{endpoint}</Endpoint>")
        head, mark, tail = before.rpartition("<member>")
        own = tail + f"<Endpoint>{endpoint}</Endpoint>" + after.partition("</member>")[0]
        assert "<SubscriptionArn>" in own, body
        start, _, rest = own.partition("<SubscriptionArn>")
        own = f"{start}<SubscriptionArn>{told}{rest[rest.index('</SubscriptionArn>') :]}"
        return f"{head}{mark}{own}</member>{after.partition('</member>')[2]}"

    front.rewrite("ListSubscriptionsByTopic", change)


def topic_of(ask: Ask) -> str:
    [topic] = ask("sns").list_topics()["Topics"]
    return str(topic["TopicArn"])


def test_nobody(front: Front, outputs: dict[str, str], only: Only) -> None:
    """That is a choice, and no fault."""
    finding = only("notifications")

    assert (State.OK, True) == (finding.state, finding.what.startswith("nobody is told"))
    assert "ListSubscriptionsByTopic" not in front.asked


def test_an_address_that_confirmed(front: Front, only: Only, ask: Ask) -> None:
    deploy(front, notify=ME)
    finding = only("notifications")

    assert (State.OK, f"told by the topic {topic_of(ask).rpartition(':')[2]}, which 1 hears") == (
        finding.state,
        finding.what,
    )


def test_an_address_that_nobody_confirmed(front: Front, only: Only, ask: Ask) -> None:
    """The most usual of all: the mail lay with the spam. Otherwise the first that is heard of a run is its bill."""
    deploy(front, notify=ME)
    topic = topic_of(ask)
    pending(front, ME)
    finding = only("notifications")

    assert State.PROBLEM == finding.state
    assert finding.what == f"{ME} has not confirmed the topic {topic.rpartition(':')[2]}: nobody is told of runs"
    assert "48 hours" in finding.remedy
    subscribe = f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint {ME}"
    assert f"{subscribe} --region us-east-1" == finding.command


def test_one_of_two_that_did_not_confirm(front: Front, only: Only, ask: Ask) -> None:
    """Somebody is told, and it is not as it was meant."""
    deploy(front, notify=ME)
    ask("sns").subscribe(TopicArn=topic_of(ask), Protocol="email", Endpoint="you@example.com")
    pending(front, "you@example.com")
    finding = only("notifications")

    assert State.WARNING == finding.state
    assert "you@example.com has not confirmed" in finding.what
    assert ME not in finding.what + finding.command


@pytest.mark.parametrize("deleted", [False, True], ids=["taken away", "still listed"])
def test_a_topic_that_nobody_hears(deleted: bool, front: Front, only: Only, ask: Ask) -> None:
    """AWS took the subscription away after 48 hours, or whoever got the mails ended it by their last line."""
    deploy(front, notify=ME)
    if deleted:
        pending(front, ME, told="Deleted")
    else:
        [subscription] = ask("sns").list_subscriptions()["Subscriptions"]
        ask("sns").unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    finding = only("notifications")

    assert (State.PROBLEM, True) == (finding.state, finding.what.startswith("nobody subscribes to the topic"))
    assert f"--notification-endpoint {ME} --region us-east-1" in finding.command


def test_the_stacks_topic_was_deleted(front: Front, only: Only, ask: Ask) -> None:
    """CloudFormation believes in it: deploying the same again would change nothing."""
    deploy(front, notify=ME)
    ask("sns").delete_topic(TopicArn=topic_of(ask))
    finding = only("notifications")

    assert State.PROBLEM == finding.state
    assert "is not there: nobody is told of runs" in finding.what
    assert f"{DEPLOY} --notify '' && {DEPLOY} --notify {ME}" == finding.command


def test_another_topic_was_deleted(front: Front, only: Only) -> None:
    """One that somebody else keeps, in another region at that: asked there, and to be replaced."""
    elsewhere = TOPIC.replace("us-east-1", "eu-west-1")
    deploy(front, notify=elsewhere)
    finding = only("notifications")

    assert State.PROBLEM == finding.state
    assert "the topic told is not there" in finding.what
    assert f"{DEPLOY} --notify EMAIL" == finding.command


def webhook(front: Front, url: str) -> None:
    """As somebody changed the function's variable by hand."""
    deploy(front, notify="https://hooks.example.com/x")

    def change(body: str) -> str:
        found = json.loads(body)
        found["Environment"]["Variables"]["SPOTRELAY_NOTIFY_WEBHOOK"] = url
        return json.dumps(found)

    front.rewrite("GET /2015-03-31/functions/", change)


@pytest.mark.parametrize(
    ("url", "state", "what"),
    [
        (f"https://hooks.example.com/{SECRET}", State.OK, "told by a webhook at hooks.example.com"),
        (f"http://hooks.example.com/{SECRET}", State.WARNING, "the webhook at hooks.example.com is not https"),
        (f"hooks.example.com/{SECRET}", State.PROBLEM, "the webhook's address is none"),
        (f"https://hooks.example.com:{SECRET}/x", State.PROBLEM, "the webhook's address is none"),
        (f"ftp://hooks.example.com/{SECRET}", State.PROBLEM, "the webhook's address is none"),
    ],
)
def test_a_webhook(url: str, state: State, what: str, front: Front, only: Only) -> None:
    """Its host is said, its address never: whoever is sent the report could write there."""
    webhook(front, url)
    finding = only("notifications")

    assert state == finding.state
    assert what in finding.what
    assert SECRET not in repr(finding)
    assert state is State.OK or f"{DEPLOY} --notify https://…" == finding.command


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_address_for_alarms(confirmed: bool, front: Front, only: Only, ask: Ask) -> None:
    """The same mail, the same spam. Otherwise an alarm rings for nobody, and doctor says that none does."""
    deploy(front, email=ME)
    topic = topic_of(ask)
    [alarm] = ask("cloudwatch").describe_alarms(AlarmNames=[ALARM])["MetricAlarms"]
    kept = ("AlarmName", "Namespace", "MetricName", "Statistic", "Period", "EvaluationPeriods", "Threshold")
    rings = {name: alarm[name] for name in (*kept, "ComparisonOperator")}
    ask("cloudwatch").put_metric_alarm(**rings, AlarmActions=[topic])
    if not confirmed:
        pending(front, ME)
    finding = only("alarms")

    unheard = f"{ME} has not confirmed the topic {topic.rpartition(':')[2]}: nobody hears alarms"
    expected = (State.OK, "1, none rings") if confirmed else (State.WARNING, unheard)
    assert expected == (finding.state, finding.what)


def test_a_topic_that_may_not_be_looked_at(front: Front, only: Only) -> None:
    """Not a fault, as far as is known: with the permission that would tell."""
    deploy(front, notify=ME)
    front.deny("ListSubscriptionsByTopic")
    finding = only("notifications")

    assert State.UNKNOWN == finding.state
    assert "sns:ListSubscriptionsByTopic" in finding.remedy
