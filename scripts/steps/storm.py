"""What a storm costs: the launcher measured, as tables for the README, or --json.

1. Decisions a second and core. The real handler, batches of ten, each request for a run whose machine was told to go;
   EC2 and SQS are stubs that answer at once; the state store is memory, a folder, or S3 over the wire (moto, in a
   process of its own). Measured in CPU seconds of this process, so that a busy computer changes little. Where they go
   is a profile of more of the same, by one thread.
2. Storms on a virtual clock (`tests/support/storm.py`): seconds of the story, in which each call takes what is assumed
   of it (`environments.LATENCY`). Requests are counted as they are made.
3. Dollars by `prices.toml`: S3, SQS, Lambda (the story's seconds at the memory of the stack's template) and logs, of
   the launcher and its queue. Not the agents' own requests, nor the queue's polling while nothing happens.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import importlib
import io
import itertools
import json
import os
import pstats
import re
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3

from spotrelay.core import keys, records
from spotrelay.core.messages import ResumeRequest
from spotrelay.core.spec import Run, Spec
from spotrelay.launcher import handler
from spotrelay.launcher.books import RunBooks
from spotrelay.launcher.crew import Alone, Crew, Threads
from spotrelay.launcher.ec2 import Launch, Life, Started
from spotrelay.launcher.ledger import Bill, Ledgers
from spotrelay.launcher.objects import Folder, Objects, open_objects
from spotrelay.launcher.pace import Limit, Pace
from spotrelay.launcher.pools import Ground
from spotrelay.launcher.succession import Succession

ROOT = Path(__file__).parents[2]
PRICES = tomllib.loads((ROOT / "scripts" / "steps" / "prices.toml").read_text())
GOAL = 500
ENDLESS = Limit(1e12, 1e12)
# Where a function of the profile belongs, by the first that is found in its file's name.
PARTS = (
    ("boto3 and below", ("botocore", "boto3", "urllib3", "http/client", "s3transfer", "socket", "ssl", "xml", "email")),
    ("reading and writing JSON", ("json/",)),
    ("records and specs", ("core/",)),
    ("decisions", ("launcher/",)),
    ("the store", ("support/memory", "pathlib", "posix")),
)


# ---- decisions


class Stub:
    """EC2, the queue and the price list, at once and always."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def create_fleet(self, request: dict[str, Any], token: str) -> Launch:
        count = request["TargetCapacitySpecification"]["TotalTargetCapacity"]
        ids = [f"i-{next(self._numbers):017x}" for _ in range(count)]
        return Launch([Started(each, "m5.large", "us-east-1a") for each in ids], spent=True)

    def lives(self, instances: Any) -> dict[str, Life]:
        return dict.fromkeys(instances, Life.ALIVE)

    def marked(self, instances: Any) -> set[str]:
        return set()

    def ring(self, rings: Any) -> dict[Any, Any]:
        return {}

    def bill(self, *_: Any) -> Bill:
        return Bill(0.03)


def prepared(objects: Objects, first: int, count: int) -> list[str]:
    """So many runs whose machine has said that it goes. Their requests."""
    now = time.time()
    for number in range(first, first + count):
        name, instance = f"run-{number}", f"i-{number:08x}"
        claim = records.Claim(instance, "token", now - 3600, "m5.large", "us-east-1a", "spot")
        status = records.Status(instance, "draining", now, gone_at=now + 120, snapshot="1-1")
        objects.create(keys.spec(name), Spec(Run(name, ("true",), "/job")).encode())
        objects.create(keys.claim(name, 1), records.encode(claim))
        objects.put(keys.status(name, 1), records.encode(status))
    return [ResumeRequest(f"run-{number}", 2).encode() for number in range(first, first + count)]


def launcher(objects: Objects, stub: Any, readers: Crew, callers: Crew) -> Any:
    succession = Succession(
        objects,
        stub,
        stub,
        Ground("relay", "1", ("us-east-1a", "us-east-1b", "us-east-1c"), ("m5.large", "c5.large")),
        pace=Pace(time.time, lambda: 0, calls=ENDLESS, instances=ENDLESS),
        books=RunBooks(objects, Ledgers(objects, stub, time.time), time.time),
        readers=readers,
        callers=callers,
        log=handler.log,
        now=time.time,
        sleep=time.sleep,
    )
    return handler.Launcher(succession, stub, stub)


def handed_over(bodies: Sequence[str]) -> float:
    """CPU seconds of this process for these requests, ten at a time."""
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        for first in range(0, len(bodies), 10):
            batch = [{"messageId": str(n), "body": body} for n, body in enumerate(bodies[first : first + 10])]
            assert handler.handle({"Records": batch}, None) == {"batchItemFailures": []}
    return time.process_time() - began


def decisions(kind: str, objects: Objects, count: int, readers: Crew, callers: Crew) -> dict[str, Any]:
    stub = Stub()
    handler._launcher = launcher(objects, stub, readers, callers)
    try:
        handed_over(prepared(objects, 0, 50))  # what is imported and connected once
        seconds = handed_over(prepared(objects, 50, count))
        # With one thread: a profile sees only its own.
        handler._launcher = launcher(objects, stub, Alone(), Alone())
        profile = cProfile.Profile(time.process_time)
        bodies = prepared(objects, 50 + count, max(100, count // 5))
        profile.runcall(handed_over, bodies)
    finally:
        handler._launcher = None
    # Each has its machine: nothing else was measured.
    assert len(objects.list("instances/")) == 50 + count + len(bodies)
    return {"store": kind, "decisions": count, "cpu_s": seconds, "per_s": count / seconds, "parts": parts(profile)}


def parts(profile: cProfile.Profile) -> dict[str, float]:
    """Shares of the CPU time. What is built in counts to who calls it."""
    shares = Counter[str]()
    for (file, _, _), (_, _, own, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if file.startswith(("~", "<")):
            for (calling, _, _), (_, _, spent, _) in callers.items():
                shares[part_of(calling)] += spent
        else:
            shares[part_of(file)] += own
    whole = sum(shares.values())
    return {name: share / whole for name, share in shares.most_common()}


def part_of(file: str) -> str:
    return next((name for name, marks in PARTS if any(mark in file for mark in marks)), "the rest of Python")


@contextlib.contextmanager
def s3_over_the_wire() -> Iterator[Objects]:
    """moto in a process of its own: its seconds are not the launcher's."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], **quiet)  # type: ignore[call-overload]
    os.environ |= {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        boto3.client("s3", config=None).create_bucket(Bucket="relay") if _listens(port) else None
        yield open_objects("s3://relay")
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    for _ in range(300):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.1)
    raise SystemExit("moto does not start")


def measured_decisions(quick: bool) -> list[dict[str, Any]]:
    memory: Any = importlib.import_module("support.memory")  # of the tests, which only this script has on its path

    many = 2000 if quick else 10_000
    found = [decisions("memory", memory.Memory(), many, Alone(), Alone())]
    with tempfile.TemporaryDirectory(prefix="spotrelay-storm-") as folder:
        found.append(decisions("folder", Folder(Path(folder)), many // 5, Alone(), Alone()))
    with s3_over_the_wire() as bucket:
        readers, callers = Threads(handler.READERS), Threads(handler.CALLERS)
        found.append(decisions("S3 over the wire", bucket, 200 if quick else 500, readers, callers))
    return found


# ---- storms


def storms(quick: bool) -> list[dict[str, Any]]:
    plan: Any = importlib.import_module("support.storm").Plan
    fair: Callable[..., Any] = plan.fair
    plans = [
        ("1,000 within two minutes, no throttle", fair(1000, throttle=False)),
        ("1,000 within two minutes", fair(1000)),
        ("1,000 at once, ten environments", fair(1000, within_s=1, environments=10)),
        ("1,000 that share nothing, at once", fair(1000, within_s=1, own_types=True)),
        ("300 and everything goes wrong", plan(300)),
    ]
    if not quick:
        plans += [
            ("10,000 within two minutes, no throttle", fair(10_000, throttle=False)),
            ("10,000 within two minutes", fair(10_000)),
            ("10,000 and everything goes wrong", plan(10_000)),
        ]
    return [stormed(name, plan) for name, plan in plans]


def stormed(name: str, plan: Any) -> dict[str, Any]:
    storm: Any = importlib.import_module("support.storm").storm
    began = time.process_time()
    with storm(plan) as it:
        verdict = it.run()
    resumes, seconds = len(verdict.hunted_s), sum(each.busy.seconds for each in it.environments)
    put = sum(it.calls[f"store.{kind}"] for kind in ("create", "put", "list", "folders"))
    counts = {
        "s3_get": it.calls["store.get"],
        "s3_put": put,
        "create_fleet": it.calls["CreateFleet"],
        "describe": sum(count for action, count in it.calls.items() if action.startswith("Describe")),
        "sqs": sum(it.calls[each] for each in SQS) + it.sent,
        "invocations": sum(each.busy.invocations for each in it.environments),
        "lambda_s": seconds,
        "log_bytes": it.logged_bytes,
    }
    return {
        "storm": name,
        "resumes": resumes,
        "wrong": len(verdict.wrong),
        "p50_s": verdict.hunted_s[resumes // 2],
        "p99_s": verdict.hunted_s[int(resumes * 0.99)],
        "took_s": verdict.took_s,
        "deaths": verdict.deaths,
        "per_resume": {kind: count / resumes for kind, count in counts.items()},
        "dollars_per_1000": {kind: 1000 * dollars / resumes for kind, dollars in cost(counts).items()},
        "cpu_s": time.process_time() - began,
    }


SQS = ("ReceiveMessage", "DeleteMessageBatch", "SendMessage", "SendMessageBatch", "GetQueueAttributes")


def cost(counts: dict[str, float]) -> dict[str, float]:
    gib = memory_mib() / 1024
    return {
        "S3": counts["s3_get"] * PRICES["s3"]["get"] + counts["s3_put"] * PRICES["s3"]["put"],
        "SQS": counts["sqs"] * PRICES["sqs"]["request"],
        "Lambda": counts["invocations"] * PRICES["lambda"]["request"]
        + counts["lambda_s"] * gib * PRICES["lambda"]["gb_second"],
        "logs": counts["log_bytes"] / 1e9 * PRICES["logs"]["gb"],
    }


def memory_mib() -> int:
    template = (ROOT / "agent" / "spotrelay" / "stack" / "template.yaml").read_text()
    found = re.search(r"MemorySize: (\d+)", template)
    assert found is not None
    return int(found[1])


# ---- tables


def show(found: dict[str, Any]) -> None:
    print("Decisions of one core, against an EC2 that answers at once. CPU seconds of the launcher's process.\n")
    print(f"| state store | decisions | CPU s | a second and core (goal {GOAL}) | where the time goes |")
    print("|---|--:|--:|--:|---|")
    for row in found["decisions"]:
        most = ", ".join(f"{name} {share:.0%}" for name, share in list(row["parts"].items())[:4])
        print(f"| {row['store']} | {row['decisions']:,} | {row['cpu_s']:.2f} | {row['per_s']:,.0f} | {most} |")
    print(
        "\nStorms on a virtual clock: seconds from a run's request to its launch, and what that took for each resume.\n"
    )
    print("| storm | p50 s | p99 s | all s | CreateFleet | Describe | S3 GET | S3 PUT, LIST | SQS | Lambda s | wrong |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for row in found["storms"]:
        per = row["per_resume"]
        print(
            f"| {row['storm']} | {row['p50_s']:.1f} | {row['p99_s']:.0f} | {row['took_s']:.0f} "
            f"| {per['create_fleet']:.2f} | {per['describe']:.2f} | {per['s3_get']:.0f} | {per['s3_put']:.1f} "
            f"| {per['sqs']:.1f} | {per['lambda_s']:.2f} | {row['wrong']} |"
        )
    print("\nUS dollars for 1,000 resumes, by list price.\n")
    print("| storm | S3 | SQS | Lambda | logs | all |\n|---|--:|--:|--:|--:|--:|")
    for row in found["storms"]:
        each = row["dollars_per_1000"]
        print(f"| {row['storm']} | " + " | ".join(f"{each[k]:.3f}" for k in ("S3", "SQS", "Lambda", "logs")), end="")
        print(f" | {sum(each.values()):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the launcher in a storm.")
    parser.add_argument("--quick", action="store_true", help="a thousand runs, not ten thousand")
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args()
    found = {"decisions": measured_decisions(options.quick), "storms": storms(options.quick)}
    print(json.dumps(found, indent=1)) if options.json else show(found)
    if any(row["wrong"] for row in found["storms"]):
        sys.exit("A storm left something wrong: run tests/launcher/test_storm.py")


if __name__ == "__main__":
    main()
