"""The template's text, and the names of its parameters.

The text goes to AWS as it is. Nothing here parses YAML: that would be a wheel, for CloudFormation's own dialect of it.
"""

from __future__ import annotations

from importlib import resources

# Of `TemplateBody`. More would have to be uploaded first, to a bucket that a first deployment has not got.
LARGEST = 51_200

VERSION = "Version"
LAUNCHER_ZIP = "LauncherZip"
IMAGE = "ImageId"
ROOT_DEVICE = "RootDevice"
VOLUME_GIB = "VolumeGiB"
TYPES = "Types"
ZONES = "Zones"
BUCKET = "ExistingBucket"
EMAIL = "AlarmEmail"
NOTIFY_EMAIL, NOTIFY_TOPIC, NOTIFY_WEBHOOK = "NotifyEmail", "NotifyTopic", "NotifyWebhook"
DEFAULT_GIB = 50  # VolumeGiB's default in the template
NOTIFY = (NOTIFY_EMAIL, NOTIFY_TOPIC, NOTIFY_WEBHOOK)
PARAMETERS = (VERSION, LAUNCHER_ZIP, IMAGE, ROOT_DEVICE, VOLUME_GIB, TYPES, ZONES, BUCKET, EMAIL, *NOTIFY)


def notify(where: str) -> dict[str, str]:
    """An e-mail address, a webhook's URL, a topic's ARN, or "" for nowhere. One of them: the others are emptied."""
    kind = NOTIFY_WEBHOOK if "://" in where else NOTIFY_TOPIC if where.startswith("arn:") else NOTIFY_EMAIL
    return {**dict.fromkeys(NOTIFY, ""), kind: where}


def text() -> str:
    return resources.files("spotrelay.stack").joinpath("template.yaml").read_text(encoding="utf-8")
