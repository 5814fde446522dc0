"""The launcher's two stores keep the same promises, and the story of a run is the same on both."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.stub import Stubber
from moto.server import ThreadedMotoServer

from spotrelay.core.errors import StoreDenied, StoreUnavailable, UsageError
from spotrelay.launcher.objects import MOST_CONFLICTS, Bucket, Folder, Objects, open_objects
from support.launcher_site import site_in
from support.memory import Memory

BUCKET = "relay"


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    yield endpoint
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Bucket]:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    opened = open_objects(f"s3://{BUCKET}/prefix-{abs(hash(request.node.name))}/")
    assert isinstance(opened, Bucket)
    yield opened
    opened.close()
    client.close()


@pytest.fixture(params=["folder", "memory", "bucket"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "memory":
        return Memory()
    return Folder(tmp_path) if request.param == "folder" else request.getfixturevalue("bucket")


class TestPromises:
    def test_what_was_created_reads_back(self, objects: Objects) -> None:
        assert objects.create("a/b.json", b"\0bytes")
        assert b"\0bytes" == objects.get("a/b.json")

    def test_missing_is_none(self, objects: Objects) -> None:
        """Not empty, and no error: "nobody has claimed it" is an answer."""
        assert objects.get("a/b.json") is None

    def test_second_to_create_is_told_so(self, objects: Objects) -> None:
        """And changes nothing: the claim of the first stands (P1)."""
        objects.create("a", b"first")

        assert not objects.create("a", b"second")
        assert b"first" == objects.get("a")

    def test_of_many_one_creates(self, objects: Objects) -> None:
        """At once, each with its own bytes. Two winners would be two owners."""
        together, won = threading.Barrier(8), list[int]()

        def create(number: int) -> None:
            together.wait(60)
            if objects.create("a", b"%d" % number):
                won.append(number)

        threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [objects.get("a")] == [b"%d" % number for number in won]

    def test_listing_is_sorted_and_by_prefix(self, objects: Objects) -> None:
        """A prefix may end within a name, and must not reach into another's."""
        for key in ("l/r/00002-0000.json", "l/r/00001-0001.json", "l/r/00001-0000.json", "l/r2/00001-0000.json"):
            objects.create(key, b"")

        assert ["l/r/00001-0000.json", "l/r/00001-0001.json"] == objects.list("l/r/00001-")
        assert 3 == len(objects.list("l/r/"))
        assert [] == objects.list("m/")

    def test_put_replaces(self, objects: Objects) -> None:
        objects.create("a/b", b"first")
        objects.put("a/b", b"second")
        objects.put("c", b"new")

        assert (b"second", b"new") == (objects.get("a/b"), objects.get("c"))

    def test_folders_are_the_next_words(self, objects: Objects) -> None:
        """Who looks for all runs must not read the names of a million packs."""
        for key in ("runs/b/packs/1", "runs/a/run.json", "runs/a/log/1", "runs/note", "other/c/1"):
            objects.create(key, b"")

        assert ["a", "b"] == objects.folders("runs/")
        assert ["log"] == objects.folders("runs/a/")
        assert [] == objects.folders("nothing/")

    def test_deleting_twice_is_no_error(self, objects: Objects) -> None:
        objects.create("a", b"")
        objects.delete("a")
        objects.delete("a")

        assert objects.get("a") is None


def test_create_whose_answer_was_lost_is_ours(bucket: Bucket) -> None:
    """The SDK tries again and is told "exists": what it finds is what it wrote, so it was us who wrote it."""
    bucket.create("a", b"mine")

    assert bucket.create("a", b"mine")


def test_two_that_create_at_once_are_asked_again(bucket: Bucket) -> None:
    """S3 answers 409 to one of two, which says nothing about who was first. Taken for an outage, one duplicate of a
    message would make a whole fleet wait for its takeover."""
    answers = Stubber(bucket._creator)
    for _ in range(MOST_CONFLICTS):
        answers.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
    answers.add_client_error("put_object", "PreconditionFailed", http_status_code=412)
    bucket.put("a", b"the other's")
    with answers:
        assert not bucket.create("a", b"mine")
    answers.assert_no_pending_responses()


def test_conflict_that_does_not_end_is_no_answer(bucket: Bucket) -> None:
    answers = Stubber(bucket._creator)
    for _ in range(MOST_CONFLICTS + 1):
        answers.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
    with answers, pytest.raises(StoreUnavailable):
        bucket.create("a", b"mine")


def test_staged_file_of_a_launcher_that_died_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.json#123").write_bytes(b"half")

    assert [] == Folder(tmp_path).list("a/")


@pytest.mark.parametrize("url", ["", "relay", "s3://", "https://relay", "file:relay", "file://host/relay"])
def test_what_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not a store"):
        open_objects(url)


def test_missing_bucket_is_denied(bucket: Bucket) -> None:
    """Trying again cannot help: a person has to look at the deployment."""
    bucket._bucket = "nobodys"

    for call in (lambda: bucket.get("a"), lambda: bucket.create("a", b""), lambda: bucket.list("a")):
        with pytest.raises(StoreDenied):
            call()


def test_s3_that_is_away_is_unavailable(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying again can help, so the caller rings."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("spotrelay.launcher.objects.CONFIG", None)
    away = Bucket(BUCKET, "")

    for call in (lambda: away.get("a"), lambda: away.create("a", b""), lambda: away.list("a")):
        with pytest.raises(StoreUnavailable):
            call()
    away.close()


def test_story_of_a_run_in_a_bucket(bucket: Bucket) -> None:
    """Launched, doubled, died, replaced: nothing of it depends on the store being a folder."""
    with site_in(bucket) as site:
        run = site.begin()
        site.post(run, 1, copies=3)
        site.settle()
        (first,) = site.live(run, 1)
        assert site.boot(first)
        site.kill(first)
        site.settle()
        (second,) = site.live(run, 2)
        site.kill(second)
        site.settle()

        assert [1, 2] == [len(site.launched(run, attempt)) for attempt in (1, 2)]
        assert [(run, 2)] == [site.assigned(instance) for instance in site.live(run, 2)]
