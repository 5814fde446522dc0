"""What a request to S3 needs. Path style only: on loopback there are no bucket names in host names.

A missing object is special. S3 says 404 to who may list the bucket, and 403 to who may not: otherwise one could find
out what is there by asking. Whether a `s3:prefix` condition is then asked with the key or without any prefix is not
documented, so a role must be allowed both ways (`of_missing`): spotrelay takes 404 for "nobody has done this yet", and
a 403 there would stop it.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from support.iam.calls import Call
from support.iam.conditions import Unknown
from support.iam.policies import Need

_DELETED = re.compile(rb"<Key>(.*?)</Key>", re.DOTALL)
# Sub-resource of a bucket: what reading and what writing it is called.
BUCKET_PARTS = {
    "acl": ("s3:GetBucketAcl", "s3:PutBucketAcl"),
    "encryption": ("s3:GetEncryptionConfiguration", "s3:PutEncryptionConfiguration"),
    "lifecycle": ("s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
    "location": ("s3:GetBucketLocation", ""),
    "ownershipControls": ("s3:GetBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
    "policy": ("s3:GetBucketPolicy", "s3:PutBucketPolicy"),
    "policyStatus": ("s3:GetBucketPolicyStatus", ""),
    "publicAccessBlock": ("s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    "tagging": ("s3:GetBucketTagging", "s3:PutBucketTagging"),
    "uploads": ("s3:ListBucketMultipartUploads", ""),
    "versioning": ("s3:GetBucketVersioning", "s3:PutBucketVersioning"),
    "versions": ("s3:ListBucketVersions", ""),
}


def s3_needs(call: Call) -> list[Need]:
    """Raises Unknown."""
    bucket, key = _named(call)
    if not bucket:
        return [Need("s3:ListAllMyBuckets", "*")]
    return _of_object(call, bucket, key) if key else _of_bucket(call, bucket)


def of_missing(call: Call) -> list[Need]:
    """What one must be allowed in order to hear that there is no such object."""
    bucket, key = _named(call)
    arn = f"arn:aws:s3:::{bucket}"
    return [Need("s3:ListBucket", arn), Need("s3:ListBucket", arn, {"s3:prefix": key})] if key else []


def bucket_of(call: Call) -> str:
    return _named(call)[0]


def _named(call: Call) -> tuple[str, str]:
    bucket, _, key = unquote(call.path).lstrip("/").partition("/")
    return bucket, key


def _of_bucket(call: Call, bucket: str) -> list[Need]:
    arn, asked = f"arn:aws:s3:::{bucket}", call.parameters
    if call.method == "POST" and "delete" in asked:
        keys = [match[1].decode() for match in _DELETED.finditer(call.body)]
        return [Need("s3:DeleteObject", f"{arn}/{key}") for key in keys]
    part = next((part for part in BUCKET_PARTS if part in asked), None)
    if part is not None:
        reading, writing = BUCKET_PARTS[part]
        action = reading if call.method in ("GET", "HEAD") else writing
        return [Need(_known(action, call), arn, _listing(asked) if part in ("versions", "uploads") else {})]
    if call.method in ("GET", "HEAD"):
        return [Need("s3:ListBucket", arn, _listing(asked))]
    return [Need(_known({"PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}.get(call.method, ""), call), arn)]


def _listing(asked: dict[str, str]) -> dict[str, str]:
    return {f"s3:{name}": asked[name] for name in ("prefix", "delimiter", "max-keys") if name in asked}


def _of_object(call: Call, bucket: str, key: str) -> list[Need]:
    arn, asked = f"arn:aws:s3:::{bucket}/{key}", call.parameters
    if call.method in ("GET", "HEAD"):
        return [Need(_reading(asked), arn)]
    if call.method == "DELETE":
        return [Need(_deleting(asked), arn)]
    if call.method not in ("PUT", "POST"):
        raise Unknown(f"{call.method} on an object")
    if "tagging" in asked:
        return [Need("s3:PutObjectTagging", arn)]
    # Every step of a multipart upload but giving up and looking is a PutObject.
    needs = [Need("s3:PutObject", arn, _writing(call))]
    if "x-amz-tagging" in call.headers:
        needs.append(Need("s3:PutObjectTagging", arn))
    if source := call.headers.get("x-amz-copy-source"):
        needs.append(Need("s3:GetObject", f"arn:aws:s3:::{unquote(source).lstrip('/').partition('?')[0]}"))
    return needs


def _reading(asked: dict[str, str]) -> str:
    parts = {
        "uploadId": "s3:ListMultipartUploadParts",
        "versionId": "s3:GetObjectVersion",
        "tagging": "s3:GetObjectTagging",
        "acl": "s3:GetObjectAcl",
    }
    return next((action for part, action in parts.items() if part in asked), "s3:GetObject")


def _deleting(asked: dict[str, str]) -> str:
    parts = {"uploadId": "s3:AbortMultipartUpload", "versionId": "s3:DeleteObjectVersion"}
    return next((action for part, action in parts.items() if part in asked), "s3:DeleteObject")


def _writing(call: Call) -> dict[str, str]:
    names = {"x-amz-server-side-encryption": "s3:x-amz-server-side-encryption", "if-none-match": "s3:if-none-match"}
    return {key: call.headers[name] for name, key in names.items() if name in call.headers}


def _known(action: str, call: Call) -> str:
    if not action:
        raise Unknown(f"{call.method} {call.path}?{call.query}")
    return action
