"""What Lambda hands over and takes back: batches, of which good messages go through whatever lies beside them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from spotrelay.core import keys, records
from spotrelay.core.messages import ResumeRequest
from spotrelay.launcher import handler
from spotrelay.local.events import Event
from support.launcher_site import TYPES, ZONES, Site

POISON = [
    "",
    "null",
    "7",
    "[]",
    '{"resume": {}}',
    '{"resume": {"run": "../../etc", "attempt": 1}}',
    '{"resume": {"run": "run-1", "attempt": true}}',
    '{"resume": {"run": "run-1", "attempt": 1e400}}',
    '{"source": "aws.ec2"}',
    "[" * 60_000,
    "x" * 300_000,
    '"\\ud800"',
]


def event(instance: str, state: str) -> Event:
    return {
        "version": "0",
        "source": "aws.ec2",
        "detail-type": "EC2 Instance State-change Notification",
        "detail": {"instance-id": instance, "state": state},
    }


@pytest.mark.parametrize("poison", POISON, ids=range(len(POISON)))
def test_poison_is_reported_and_the_good_beside_it_goes_through(site: Site, poison: str) -> None:
    """Only the bad one comes back, until it is a dead letter. Failed as a whole, one bad message would hold up every
    run whose request lies in the same batch."""
    first, second = site.begin(), site.begin()

    failed = site.invoke(ResumeRequest(first, 1).encode(), poison, ResumeRequest(second, 1).encode())

    assert [1] == failed
    assert [1, 1] == [len(site.live(run, 1)) for run in (first, second)]


@pytest.mark.parametrize("damaged", ["run", "claim", "answer", "assignment"])
def test_damaged_object_fails_its_own_message_only(site: Site, damaged: str) -> None:
    """An object that is no record of ours needs a person: its message becomes a dead letter, the others go through."""
    run, other = site.begin(), site.begin()
    site.kill(site.owned(run))
    events = [body for body in site.bodies() if '"terminated"' in body]
    instance = site.launched(run, 1)[0].id
    paths = {
        "run": keys.spec(run),
        "claim": keys.claim(run, 1),
        "answer": keys.answer(run, 2, 0),
        "assignment": keys.assignment(instance),
    }
    path = site.objects._root / paths[damaged]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"run": "../..", "attempt": 0, "kind": 7, "instance": []}')
    if damaged == "answer":
        seat = records.Seat("f-0123456789abcdef0123", site.clock.now(), site.clock.now())
        site.objects.create(keys.seat(keys.Member(run, 2, 0)), records.encode(seat))

    assert [0] == site.invoke(*events, ResumeRequest(other, 1).encode())
    assert 1 == len(site.live(other, 1))


def test_spec_of_another_run_is_not_taken_for_this_one_s(site: Site) -> None:
    """Somebody copied a run's folder. Launched by that spec, the instance would be the other run's."""
    run, copied = site.begin(), keys.spec("copy")
    site.objects.create(copied, site.objects.get(keys.spec(run)) or b"")

    assert [0] == site.ask("copy", 1)
    assert [] == site.launched(run, 1) + site.launched("copy", 1)


@pytest.mark.parametrize("state", ["pending", "running", "shutting-down", "stopping"])
def test_state_that_is_no_end_is_ignored(site: Site, state: str) -> None:
    """EC2 tells every step of an instance's life; only its end asks for anything."""
    run = site.begin()
    owner = site.owned(run)

    assert [] == site.invoke(json.dumps(event(owner, state)))
    assert "resume.launched" == site.log[-1]


def test_schedule_sweeps_and_finds_what_no_event_told_of(site: Site) -> None:
    """The machine died and every event was lost: the next sweep asks for its successor. Otherwise the run is forgotten,
    and nobody rings again."""
    run = site.begin()
    site.objects.create(keys.open_run(run), b"")
    site.do(lambda: setattr(site.plane.events, "loss", 1.0))
    site.kill(site.owned(run))
    site.advance(300)

    assert [] == site.invoke('{"sweep": {}}')
    assert 1 == len(site.live(run, 2))
    assert "sweep.done" in site.log


def test_sweep_that_fails_is_no_dead_letter(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one comes in five minutes. A message that came back instead would sweep again and again."""
    monkeypatch.setattr(site, "sweeper", lambda: None)

    assert [] == site.invoke('{"sweep": {}}')


def test_empty_event_is_an_empty_answer() -> None:
    assert {"batchItemFailures": []} == handler.handle({}, None)


def test_whole_launcher_comes_from_its_environment(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the deployment sets is all it needs: real clock, real clients, nothing handed in."""
    run = site.begin()
    environment = {
        "AWS_REGION": "us-east-1",
        "SPOTRELAY_STORE": tmp_path.as_uri(),
        "SPOTRELAY_QUEUE_URL": site.url,
        "SPOTRELAY_LAUNCH_TEMPLATE": "relay:1",
        "SPOTRELAY_ZONES": ", ".join(ZONES),
        "SPOTRELAY_TYPES": ",".join(TYPES),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    handler._launcher = None

    answer = handler.handle({"Records": [{"messageId": "m", "body": ResumeRequest(run, 1).encode()}]}, None)

    warm = handler._launcher
    assert {"batchItemFailures": []} == answer
    assert 1 == len(site.live(run, 1))
    assert warm is handler._ready()
    assert warm is not None
    ec2: Any = warm.succession._ec2
    prices: Any = warm.succession._books._ledgers._prices
    prices.close()
    estate: Any = warm.sweep._estate
    for client in (ec2._caller, ec2._looker, warm.bell._client, estate._client):
        client.close()


def test_environment_that_lacks_something_fails_every_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken deployment must not swallow requests: they stay in the queue until it is mended."""
    monkeypatch.delenv("SPOTRELAY_STORE", raising=False)
    monkeypatch.delenv("SPOTRELAY_LAUNCH_TEMPLATE", raising=False)
    monkeypatch.setattr(handler, "_launcher", None)
    entries = [{"messageId": name, "body": ResumeRequest("run-1", 1).encode()} for name in "ab"]

    answer = handler.handle({"Records": entries}, None)

    assert {"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]} == answer


def test_log_is_one_json_line_for_each_event(capsys: pytest.CaptureFixture[str]) -> None:
    """CloudWatch indexes it by field. Whatever the text holds, it stays one line."""
    handler.log("message.failed", error="two\nlines, ünïcode, \ud800", at=int(time.time()))

    line: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert "message.failed" == line["event"]
