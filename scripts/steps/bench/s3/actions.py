"""What S3 means by a request, as far as clients that move directories ask for it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape, unescape

from .bodies import bare
from .messages import Answer, Request, refusal, xml
from .storage import Bucket, Object, Storage

SPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
# What is asked of a bucket before anything is done with it, and an answer that stops nobody.
QUESTIONS = {
    "location": xml(f"<LocationConstraint {SPACE}></LocationConstraint>"),
    "versioning": xml(f"<VersioningConfiguration {SPACE}/>"),
    "uploads": xml("<ListMultipartUploadsResult/>"),
    "object-lock": refusal(404, "ObjectLockConfigurationNotFoundError"),
}


class Actions:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def answer(self, request: Request) -> Answer:
        name, key = request.place
        if not name:
            names = "".join(f"<Bucket><Name>{escape(each)}</Name></Bucket>" for each in self._storage.buckets)
            return xml(f"<ListAllMyBucketsResult><Buckets>{names}</Buckets></ListAllMyBucketsResult>")
        if request.method == "PUT" and not key:
            self._storage.buckets.setdefault(name, Bucket())
            return Answer()
        bucket = self._storage.buckets.get(name)
        if bucket is None:
            return refusal(404, "NoSuchBucket")
        answer = self._of_object(request, bucket, key) if key else self._of_bucket(request, bucket, name)
        if request.method == "HEAD" and answer.status >= 400:
            return Answer(answer.status)
        return answer

    # --- buckets ----------------------------------------------------------------------------------------------------

    def _of_bucket(self, request: Request, bucket: Bucket, name: str) -> Answer:
        query = request.query
        match request.method:
            case "HEAD":
                return Answer()
            case "DELETE":
                del self._storage.buckets[name]
                return Answer(204)
            case "POST" if "delete" in query:
                keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", bytes(bare(request)).decode())]
                for key in keys:
                    bucket.delete(key)
                gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
                return xml(f"<DeleteResult>{gone}</DeleteResult>")
            case "GET":
                asked = next((question for question in QUESTIONS if question in query), None)
                return _listed(bucket, name, query) if asked is None else QUESTIONS[asked]
        return refusal(501, "NotImplemented")

    # --- objects ----------------------------------------------------------------------------------------------------

    def _of_object(self, request: Request, bucket: Bucket, key: str) -> Answer:
        query = request.query
        match request.method:
            case "GET" | "HEAD":
                return _read(request, bucket.objects.get(key))
            case _ if "uploads" in query or "uploadId" in query:
                return self._of_upload(request, bucket, key, query)
            case "PUT" if "x-amz-copy-source" in request.headers:
                return self._copy(request, bucket, key)
            case "PUT":
                return _put(request, bucket, key)
            case "DELETE":
                bucket.delete(key)
                return Answer(204)
        return refusal(501, "NotImplemented")

    def _of_upload(self, request: Request, bucket: Bucket, key: str, query: dict[str, str]) -> Answer:
        match request.method:
            case "POST" if "uploads" in query:
                name = self._storage.begin_upload(_about(request))
                said = f"<Key>{escape(key)}</Key><UploadId>{name}</UploadId>"
                return xml(f"<InitiateMultipartUploadResult>{said}</InitiateMultipartUploadResult>")
            case "POST":
                return self._complete(request, bucket, key, query["uploadId"])
            case "PUT":
                return self._put_part(request, query)
            case "DELETE":
                self._storage.uploads.pop(query["uploadId"], None)
                return Answer(204)
        return refusal(501, "NotImplemented")

    def _put_part(self, request: Request, query: dict[str, str]) -> Answer:
        upload = self._storage.uploads.get(query["uploadId"])
        if upload is None:
            return refusal(404, "NoSuchUpload")
        part = upload.parts[int(query["partNumber"])] = Object([bare(request)])
        return Answer(200, [("ETag", part.etag)])

    def _complete(self, request: Request, bucket: Bucket, key: str, name: str) -> Answer:
        upload = self._storage.uploads.get(name)
        if upload is None:
            return refusal(404, "NoSuchUpload")
        if refused := _refused(request, bucket.objects.get(key)):
            return refused
        numbers = [int(each) for each in re.findall(r"<PartNumber>(\d+)<", bytes(bare(request)).decode())]
        if missing := [number for number in numbers if number not in upload.parts]:
            return refusal(400, f"InvalidPart{missing[0]}")
        del self._storage.uploads[name]
        whole = Object([piece for number in sorted(numbers) for piece in upload.parts[number].parts], upload.about)
        bucket.put(key, whole)
        said = f"<Key>{escape(key)}</Key><ETag>{escape(whole.etag)}</ETag>"
        return xml(f"<CompleteMultipartUploadResult>{said}</CompleteMultipartUploadResult>")

    def _copy(self, request: Request, bucket: Bucket, key: str) -> Answer:
        name, _, source = unquote(request.headers["x-amz-copy-source"]).removeprefix("/").partition("/")
        found = self._storage.buckets[name].objects.get(source)
        if found is None:
            return refusal(404, "NoSuchKey")
        replaced = request.headers.get("x-amz-metadata-directive") == "REPLACE"
        copy = Object(found.parts, _about(request) if replaced else found.about)
        bucket.put(key, copy)
        said = f"<LastModified>{_iso(copy.modified)}</LastModified><ETag>{escape(copy.etag)}</ETag>"
        return xml(f"<CopyObjectResult>{said}</CopyObjectResult>")


def _put(request: Request, bucket: Bucket, key: str) -> Answer:
    if refused := _refused(request, bucket.objects.get(key)):
        return refused
    put = Object([bare(request)], _about(request))
    bucket.put(key, put)
    return Answer(200, [("ETag", put.etag)])


def _refused(request: Request, there: Object | None) -> Answer | None:
    """What the request's conditions say to what is there."""
    if "if-none-match" in request.headers and there is not None:
        return refusal(412, "PreconditionFailed")
    if (wanted := request.headers.get("if-match")) is not None:
        if there is None:
            return refusal(404, "NoSuchKey")
        if there.etag != wanted:
            return refusal(412, "PreconditionFailed")
    return None


def _about(request: Request) -> dict[str, str]:
    kept = {k: v for k, v in request.headers.items() if k.startswith("x-amz-meta-") or k == "content-type"}
    return {"content-type": "binary/octet-stream", **kept}


def _read(request: Request, found: Object | None) -> Answer:
    if found is None:
        return refusal(404, "NoSuchKey")
    begin, end, status = 0, found.size, 200
    headers = [
        ("ETag", found.etag),
        ("Last-Modified", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(found.modified))),
        ("Accept-Ranges", "bytes"),
        *found.about.items(),
    ]
    if (asked := request.headers.get("range", "")).startswith("bytes="):
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin = int(first) if first else max(0, found.size - int(last))
        end = min(found.size, int(last) + 1) if first and last else found.size
        if begin >= found.size:
            return refusal(416, "InvalidRange")
        status = 206
        headers.append(("Content-Range", f"bytes {begin}-{end - 1}/{found.size}"))
    if request.method == "HEAD":
        return Answer(status, headers, length=end - begin)
    return Answer(status, headers, sent=(found, begin, end))


def _listed(bucket: Bucket, name: str, query: dict[str, str]) -> Answer:
    """ListObjectsV2, and the first version for those who still ask for it."""
    second = query.get("list-type") == "2"
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after") or query.get("marker") or ""
    page = bucket.page(prefix, after, int(query.get("max-keys") or 1000), delimiter)
    written: Callable[[str], str] = quote if query.get("encoding-type") == "url" else escape
    out = [f"<Name>{name}</Name><Prefix>{written(prefix)}</Prefix><IsTruncated>{str(page.more).lower()}</IsTruncated>"]
    if query.get("encoding-type") == "url":
        out.append("<EncodingType>url</EncodingType>")
    if second:
        out.append(f"<KeyCount>{len(page.keys) + len(page.folders)}</KeyCount>")
    if page.more:
        out.append(
            f"<NextContinuationToken>{escape(page.last)}</NextContinuationToken>"
            if second
            else f"<NextMarker>{written(page.last)}</NextMarker>"
        )
    for key in page.keys:
        found = bucket.objects[key]
        out.append(
            f"<Contents><Key>{written(key)}</Key><LastModified>{_iso(found.modified)}</LastModified>"
            f"<ETag>{escape(found.etag)}</ETag><Size>{found.size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    out += [f"<CommonPrefixes><Prefix>{written(each)}</Prefix></CommonPrefixes>" for each in page.folders]
    return xml(f"<ListBucketResult {SPACE}>{''.join(out)}</ListBucketResult>")


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))
