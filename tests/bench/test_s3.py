"""The server that the bench measures against, by the wire and by boto3. What a store must promise, it promises in the
store's contract (tests/contracts); here stands what only peers ask for, and what is wrong on request.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bench.site import BUCKET, Site

MIB = 1 << 20


@pytest.fixture
def s3(site: Site) -> Iterator[Any]:
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("s3", endpoint_url=site.endpoint, region_name="us-east-1", config=config, **keys)
    yield client
    client.close()


def ask(site: Site, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)) as connection:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names, encode_chunked=not isinstance(body, bytes) and body is not None)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("bytes=0-0", b"0"), ("bytes=3-5", b"345"), ("bytes=7-", b"789"), ("bytes=-2", b"89"), ("bytes=8-99", b"89")],
)
def test_a_range_is_cut_out(s3: Any, asked: str, expected: bytes) -> None:
    """Also over the seams of an object of parts. Otherwise a peer that loads in parallel ends with other bytes."""
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
    for number, data in ((2, b"567"), (1, b"01234"), (3, b"89")):
        s3.upload_part(Bucket=BUCKET, Key="k", UploadId=upload, PartNumber=number, Body=data)
    parts = {"Parts": [{"PartNumber": number, "ETag": "any"} for number in (1, 2, 3)]}
    s3.complete_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload, MultipartUpload=parts)

    assert expected == s3.get_object(Bucket=BUCKET, Key="k", Range=asked)["Body"].read()
    assert b"0123456789" == s3.get_object(Bucket=BUCKET, Key="k")["Body"].read()


def test_an_upload_that_is_not_completed_is_not_there(s3: Any) -> None:
    """Parts alone are no object, aborted or not; completing what was aborted is an error."""
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
    s3.upload_part(Bucket=BUCKET, Key="k", UploadId=upload, PartNumber=1, Body=b"1")

    assert 0 == s3.list_objects_v2(Bucket=BUCKET)["KeyCount"]
    s3.abort_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.complete_multipart_upload(
            Bucket=BUCKET, Key="k", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "any"}]}
        )


@pytest.mark.parametrize("version", ["list_objects", "list_objects_v2"])
def test_a_list_in_pages_names_each_once(s3: Any, version: str) -> None:
    """Folders count as one name, and a page may end in the middle of anything. Otherwise a peer brings back less than
    it sent, or the same file twice.
    """
    keys = [f"{folder}/{number} &<é" for folder in "abc" for number in range(5)] + ["top", "zone"]
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")

    pages = list(s3.get_paginator(version).paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 3}))
    folders = list(s3.get_paginator(version).paginate(Bucket=BUCKET, Delimiter="/", PaginationConfig={"PageSize": 2}))

    assert keys == [found["Key"] for page in pages for found in page.get("Contents", ())]
    assert ["a/", "b/", "c/"] == [found["Prefix"] for page in folders for found in page.get("CommonPrefixes", ())]
    assert ["top", "zone"] == [found["Key"] for page in folders for found in page.get("Contents", ())]


def test_a_body_in_chunks_is_one_body(site: Site) -> None:
    """HTTP's chunks, cut anywhere, and what follows on the same connection is the next request. Otherwise a peer that
    streams stores its chunk heads.
    """
    pieces = [os.urandom(size) for size in (1, 70_000, 3, 200_000)]
    put = ask(site, "PUT", f"/{BUCKET}/k", iter(pieces), Transfer_Encoding="chunked")

    assert (200, 200) == (put[0], ask(site, "PUT", f"/{BUCKET}/next", b"next")[0])
    assert (200, b"".join(pieces)) == ask(site, "GET", f"/{BUCKET}/k")


def test_requests_in_one_packet_are_answered_in_order(site: Site) -> None:
    """What arrives together, the second's chunks included, is taken apart."""
    first = b"PUT /bench/a HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"
    second = b"PUT /bench/b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n"
    third = b"GET /bench/b HTTP/1.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=60) as connection:
        connection.sendall(first + second + third)
        received = b""
        while not received.endswith(b"\r\n\r\ndef"):
            data = connection.recv(65536)
            assert data, received
            received += data

    assert 3 == received.count(b"HTTP/1.1 200")
    assert (200, b"abc") == ask(site, "GET", f"/{BUCKET}/a")


@pytest.mark.parametrize("signed", [True, False])
def test_what_a_signer_wraps_around_chunks_is_taken_off(site: Site, signed: bool) -> None:
    """S3's own chunks, signed or with a trailer. Otherwise an SDK's upload is larger than its file."""
    data = os.urandom(150_000)
    note = f";chunk-signature={'0' * 64}".encode() if signed else b""
    chunks = [data[:65_536], data[65_536:131_072], data[131_072:], b""]
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(chunk), note, chunk) for chunk in chunks)
    if not signed:
        body = body.removesuffix(b"\r\n") + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"
    kind = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" if signed else "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    ask(site, "PUT", f"/{BUCKET}/k", body, x_amz_content_sha256=kind, content_encoding="aws-chunked")

    assert (200, data) == ask(site, "GET", f"/{BUCKET}/k")


def test_what_comes_with_an_object_stays_with_it(s3: Any) -> None:
    """Its own headers and its type, through a copy, too: rclone keeps modification times there."""
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"1", Metadata={"mtime": "12.5"}, ContentType="text/plain")
    s3.copy_object(Bucket=BUCKET, Key="b", CopySource=f"{BUCKET}/a")
    found = s3.head_object(Bucket=BUCKET, Key="b")

    assert ({"mtime": "12.5"}, "text/plain", 1) == (found["Metadata"], found["ContentType"], found["ContentLength"])


def test_many_are_deleted_at_once(s3: Any) -> None:
    for key in ("a&b", "c", "d"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "a&b"}, {"Key": "c"}]})

    assert ["d"] == [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]


# --- the bench's own door ---------------------------------------------------------------------------------------------


def test_requests_are_counted_and_their_bytes(site: Site) -> None:
    """Once: what was told is not told again. Otherwise one contender pays for another's requests."""
    ask(site, "PUT", f"/{BUCKET}/k", b"12345")
    ask(site, "GET", f"/{BUCKET}/k")
    ask(site, "GET", f"/{BUCKET}/nothing")
    counts = site.counts()

    assert (1, 2, 5, 5) == tuple(counts[name] for name in ("PUT", "GET", "bytes_in", "bytes_out"))
    assert "PUT" not in site.counts()


def test_a_fork_is_a_bucket_of_its_own(site: Site) -> None:
    """What is put into one is not in the other. Otherwise the second contender finds what the first has sent."""
    ask(site, "PUT", f"/{BUCKET}/k", b"old")
    site.fork(BUCKET, "base")
    ask(site, "PUT", f"/{BUCKET}/k", b"new")
    ask(site, "PUT", f"/{BUCKET}/other", b"new")

    assert {"k": hashlib.blake2b(b"old", digest_size=16).hexdigest()} == site.hashes("base")
    site.fork("base", BUCKET)
    assert (200, b"old") == ask(site, "GET", f"/{BUCKET}/k")
    site.empty()
    assert ({}, 1) == (site.hashes(), len(site.hashes("base")))


# --- wrong on request -------------------------------------------------------------------------------------------------


def test_a_share_is_refused_and_nothing_has_happened(site: Site) -> None:
    """503 is said before anything is stored. Otherwise a retry that was needless looks like one that helped."""
    site.behave(refuse=0.5)
    statuses = [ask(site, "PUT", f"/{BUCKET}/{number}", b"1")[0] for number in range(60)]

    assert {200, 503} == set(statuses)
    assert {str(number) for number, status in enumerate(statuses) if status == 200} == site.hashes().keys()
    assert statuses.count(503) == site.counts()["refused"]


def test_a_cut_upload_is_not_stored(site: Site) -> None:
    site.behave(cut=1)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        ask(site, "PUT", f"/{BUCKET}/k", os.urandom(4 * MIB))

    assert {} == site.hashes()


def test_a_cut_download_is_seen(site: Site) -> None:
    """It ends before its length: no client can take it for whole."""
    ask(site, "PUT", f"/{BUCKET}/k", os.urandom(4 * MIB))
    site.behave(cut=1)

    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        ask(site, "GET", f"/{BUCKET}/k")


@pytest.mark.parametrize("size", [1, 3 * MIB])
def test_one_byte_is_flipped_on_the_way_alone(site: Site, size: int) -> None:
    """What is stored stays right. Otherwise no second attempt could succeed."""
    data = os.urandom(size)
    ask(site, "PUT", f"/{BUCKET}/k", data)
    site.behave(flip=1)
    _, wrong = ask(site, "GET", f"/{BUCKET}/k")
    site.behave()

    assert (size, 1) == (len(wrong), sum(one != other for one, other in zip(data, wrong, strict=True)))
    assert (200, data) == ask(site, "GET", f"/{BUCKET}/k")


def test_a_line_has_its_latency_and_rate(site: Site) -> None:
    """Never faster than it should be, up and down; how much slower is the machine's affair."""
    site.behave(latency_s=0.05, rate=20e6)
    data, began = os.urandom(2_000_000), time.monotonic()
    ask(site, "PUT", f"/{BUCKET}/k", data)
    up_s, began = time.monotonic() - began, time.monotonic()
    found = ask(site, "GET", f"/{BUCKET}/k")
    down_s = time.monotonic() - began

    assert (200, data) == found
    # 0.05 s and 2 MB at 20 MB/s. The last 256 KiB of an answer leave without a pause.
    assert up_s >= 0.15
    assert down_s >= 0.13


def test_what_is_forgotten_is_answered_for(site: Site) -> None:
    site.behave(forget=1)

    assert 200 == ask(site, "PUT", f"/{BUCKET}/k", b"12345")[0]
    assert 5 == site.counts()["bytes_in"]
    assert (200, b"") == ask(site, "GET", f"/{BUCKET}/k")
