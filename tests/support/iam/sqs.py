"""What a request to SQS needs: the action without its batch, on one queue."""

from __future__ import annotations

from support.iam.calls import Call
from support.iam.policies import Need


def sqs_needs(call: Call, account: str) -> list[Need]:
    action = call.action.removesuffix("Batch")  # there is no permission of its own for a batch
    return [Need(f"sqs:{action}", f"arn:aws:sqs:{call.region}:{account}:{queue_of(call) or '*'}")]


def queue_of(call: Call) -> str:
    """The name of the queue meant; "" for an action on none."""
    asked = call.document
    return str(asked.get("QueueUrl") or asked.get("QueueName") or "").rpartition("/")[2]
