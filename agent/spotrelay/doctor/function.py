"""The launcher: can the Lambda run, and does anybody feed it."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import ClientError

from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import Ground
from spotrelay.stack.meanings import code_of


def function(ground: Ground) -> Iterator[Finding]:
    name = ground.outputs.get()["FunctionName"]
    try:
        found = ground.function.first_hand()
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        yield _deploy_anew(f"the function {name} is not there: somebody deleted it by hand", ground)
        return
    state, update = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
    if state in ("Failed", "Inactive"):
        yield problem(
            f"the function {name} is {state.lower()}",
            remedy="Deploy again, which updates its code.",
            command=ground.spotrelay("deploy"),
            detail=found.get("StateReason", ""),
        )
    elif update == "Failed":
        yield problem(
            f"the last update of the function {name} failed: it runs the code from before",
            remedy="Deploy again.",
            command=ground.spotrelay("deploy"),
            detail=found.get("LastUpdateStatusReason", ""),
        )
    elif state == "Pending" or update == "InProgress":
        yield warning(
            f"the function {name} is being made or updated at this moment",
            remedy="Wait until it is done, then look again.",
            command=ground.aws(f"lambda wait function-updated-v2 --function-name {name}"),
        )
    else:
        yield ok(f"{name} is active")
    yield from _throttled(name, ground)


def _throttled(name: str, ground: Ground) -> Iterator[Finding]:
    """The console's button *Throttle* sets the concurrency to zero, and nothing else tells of it."""
    answer = ground.client("lambda").get_function_concurrency(FunctionName=name)
    if answer.get("ReservedConcurrentExecutions") == 0:
        yield problem(
            f"the function {name} is throttled to nothing: no request is worked off",
            remedy="Lift the limit.",
            command=ground.aws(f"lambda delete-function-concurrency --function-name {name}"),
        )


def event_source(ground: Ground) -> Iterator[Finding]:
    outputs = ground.outputs.get()
    name = outputs["FunctionName"]
    answer = ground.client("lambda").list_event_source_mappings(FunctionName=name)
    queue = outputs["QueueUrl"].rsplit("/", 1)[-1]
    mappings = [m for m in answer["EventSourceMappings"] if m.get("EventSourceArn", "").rsplit(":", 1)[-1] == queue]
    if not mappings:
        yield _deploy_anew(
            f"nothing feeds the queue {queue} to {name}: somebody deleted the event source mapping", ground
        )
        return
    mapping = mappings[0]
    said = mapping.get("LastProcessingResult", "")
    if mapping.get("State") not in ("Enabled", "Enabling", "Updating", "Creating"):
        yield problem(
            f"the function {name} is not fed: its event source mapping is {mapping.get('State', 'not known').lower()}",
            remedy="Enable it.",
            command=ground.aws(f"lambda update-event-source-mapping --uuid {mapping['UUID']} --enabled"),
        )
    elif said.startswith("PROBLEM"):
        yield problem(
            f"Lambda cannot read the queue {queue}",
            remedy="Deploy again, which restores the launcher's role.",
            command=ground.spotrelay("deploy"),
            detail=said,
        )
    elif "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", []):
        yield problem(
            "one failed request takes all of its batch with it: the event source mapping ignores the function's answer",
            remedy="Let it be heard.",
            command=ground.aws(
                f"lambda update-event-source-mapping --uuid {mapping['UUID']}"
                " --function-response-types ReportBatchItemFailures"
            ),
        )
    else:
        yield ok(f"{queue} feeds {name}")


def _deploy_anew(what: str, ground: Ground) -> Finding:
    return problem(
        what,
        remedy="Make the stack anew, with the bucket and what is in it.",
        command=ground.anew(),
    )
