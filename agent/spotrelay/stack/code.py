"""The launcher's code: a zip whose bytes follow from its sources alone, so that its name can be their hash.

Who deploys unchanged sources again, on whatever machine, uploads nothing and changes nothing.
"""

from __future__ import annotations

import hashlib
import io
import zipfile

import botocore.exceptions

from spotrelay.bundle import launcher_files
from spotrelay.core import keys
from spotrelay.stack.account import Account
from spotrelay.stack.refusals import told

# The oldest that a zip can say. The time a file was checked out at is nobody's business.
LONG_AGO = (1980, 1, 1, 0, 0, 0)
READABLE = 0o644 << 16


def packed() -> bytes:
    # Stored, not deflated: what zlib makes of the same bytes depends on its version, and this is some 200 kB.
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_STORED) as archive:
        for name, path in launcher_files():
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.create_system, entry.external_attr = 3, READABLE  # as on Unix, wherever it is made
            archive.writestr(entry, path.read_bytes())
    return zipped.getvalue()


def key_of(code: bytes) -> str:
    return keys.launcher_code(hashlib.sha256(code).hexdigest())


def upload(account: Account, bucket: str, code: bytes) -> bool:
    """Whether it had to be sent. Raises StackError."""
    key = key_of(code)
    with told(f"put the launcher's code into {bucket}", account.place):
        if _is_there(account, bucket, key):
            return False
        account.s3.put_object(Bucket=bucket, Key=key, Body=code, ContentType="application/zip")
    return True


def _is_there(account: Account, bucket: str, key: str) -> bool:
    try:
        account.s3.head_object(Bucket=bucket, Key=key)
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return False
        raise
    return True
