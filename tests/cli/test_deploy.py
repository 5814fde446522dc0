"""`spotrelay deploy` and `destroy` as a person meets them: what is printed where, what is asked, which exit code."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator

import pytest

from spotrelay.cli import main as entry
from spotrelay.core.errors import StackClash, StackCredentials, StackInUse, StackRegion, UsageError
from spotrelay.stack import changes, destroying, progress, template
from support.aws_account import Front, client, own_account
from support.images import IMAGE

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    for module, name in ((progress, "EVERY_S"), (changes, "POLL_S"), (destroying, "POLL_S")):
        monkeypatch.setattr(module, name, 0.0)
    with own_account(monkeypatch) as found:
        yield found


@pytest.fixture
def spotrelay(front: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, standard output, standard error. Not a terminal, unless the test makes it one."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["spotrelay", *words])
        capsys.readouterr()
        code = entry.run()
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def replacing(front: Front) -> None:
    """Every change of a resource replaces it."""
    modify = "<Action>Modify</Action>"
    front.rewrite("DescribeChangeSet", lambda body: body.replace(modify, modify + "<Replacement>True</Replacement>"))


def test_from_nothing_to_nothing(spotrelay: Run) -> None:
    """Deployed, again, destroyed, again: the result on standard output, the way on standard error."""
    made = spotrelay("deploy", "--image", IMAGE)
    again = spotrelay("deploy")
    gone = spotrelay("destroy", "--yes")
    nothing = spotrelay("destroy", "--yes")

    assert [0, 0, 0, 0] == [made[0], again[0], gone[0], nothing[0]]
    assert made[1].startswith("spotrelay is deployed in us-east-1")
    assert "s3://spotrelay-bucket-" in made[1]
    assert "+ Launcher  " in made[2]
    assert "CREATE_COMPLETE" in made[2]
    assert again[1].startswith("spotrelay is up to date in us-east-1")
    assert "nothing to change" in again[2]
    assert "spotrelay is gone" in gone[1]
    assert "spotrelay deploy --bucket spotrelay-bucket-" in gone[1]
    assert "nothing to remove" in nothing[1]


def test_json(spotrelay: Run) -> None:
    """--json prints one document and nothing else, of either command."""
    made = json.loads(spotrelay("deploy", "--image", IMAGE, "--json")[1])
    gone = json.loads(spotrelay("destroy", "--yes", "--json")[1])

    assert ("spotrelay", "us-east-1", True) == (made["stack"], made["region"], made["approved"])
    assert made["outputs"]["QueueUrl"]
    assert {"action": "Add", "resource": "Launcher", "type": "AWS::Lambda::Function", "replaced": False} in made[
        "changes"
    ]
    assert made["outputs"]["BucketName"] == gone["left"]["bucket"]
    assert gone["removed"] is True


def test_dry_run(spotrelay: Run, front: Front) -> None:
    """--dry-run prints the template, and what would change; it begins nothing."""
    code, out, err = spotrelay("deploy", "--dry-run")
    assert (0, template.text()) == (code, out)
    assert "would be made" in err
    assert "CreateChangeSet" not in front.asked

    spotrelay("deploy", "--image", IMAGE)
    front.asked.clear()
    code, out, err = spotrelay("deploy", "--dry-run", "--volume-gib", "99")
    assert (0, template.text()) == (code, out)
    assert "~ LaunchTemplate" in err
    assert "ExecuteChangeSet" not in front.asked


def test_the_plan_as_json(spotrelay: Run) -> None:
    """--dry-run with --json prints the plan as one document; without a stack there is nothing to compare with."""
    assert {"stack": "spotrelay", "region": "us-east-1", "changes": None} == json.loads(
        spotrelay("deploy", "--dry-run", "--json")[1]
    )

    spotrelay("deploy", "--image", IMAGE)
    planned = json.loads(spotrelay("deploy", "--dry-run", "--json", "--volume-gib", "99")[1])
    assert {"LaunchTemplate", "Launcher"} == {each["resource"] for each in planned["changes"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("deploy", "--stack-name", "a b"), "'a b' is no name for a stack"),
        (("destroy", "--stack-name", "1st"), "'1st' is no name for a stack"),
        (("doctor", "--stack-name", ""), "'' is no name for a stack"),
        (("deploy", "--bucket", "s3://a/prefix"), "'s3://a/prefix' is no bucket's name"),
        (("deploy", "--email", "me"), "'me' is no e-mail address"),
        (("deploy", "--notify", "me"), "topic's ARN."),
        (("deploy", "--notify", "http://hooks.example.com/x"), "no https:// URL"),
        (("deploy", "--notify", "https://me:s3cret@example.com/x"), "no https:// URL"),
    ],
)
def test_names_that_are_none(spotrelay: Run, front: Front, words: tuple[str, ...], said: str) -> None:
    """They are refused here, in a sentence, and AWS is not asked. It would answer with a regular expression."""
    code, _, err = spotrelay(*words)

    assert UsageError.exit_code == code
    assert said in err
    assert [] == front.asked


def test_a_store_is_as_good_as_its_bucket(spotrelay: Run, front: Front) -> None:
    """--bucket takes what `destroy` and `deploy` print, s3:// and all."""
    bucket = json.loads(spotrelay("deploy", "--image", IMAGE, "--json")[1])["outputs"]["BucketName"]
    spotrelay("destroy", "--yes")

    assert f"s3://{bucket}\n" in spotrelay("deploy", "--image", IMAGE, "--bucket", f"s3://{bucket}/")[1]


def test_alarms_are_confirmed(spotrelay: Run) -> None:
    """Who gives an address is told that AWS asks there first, once. Otherwise no alarm ever arrives."""
    told = "me@example.com: AWS asks there for a confirmation"

    assert told in spotrelay("deploy", "--image", IMAGE, "--email", "me@example.com")[1]
    assert told not in spotrelay("deploy", "--email", "me@example.com")[1]


def test_who_is_told(spotrelay: Run) -> None:
    """An address is told to be confirmed; of a webhook nothing is printed, as it is a secret."""
    told = "me@example.com: AWS asks there for a confirmation"
    assert told in spotrelay("deploy", "--image", IMAGE, "--notify", "me@example.com")[1]
    webhook = spotrelay("deploy", "--notify", "https://hooks.example.com/s3cret", "--yes", "--json")
    wrong = spotrelay("deploy", "--notify", "https://hooks.example.com/s3cret with a space")

    assert (0, UsageError.exit_code) == (webhook[0], wrong[0])
    assert "s3cret" not in "".join(map(str, (*webhook, *wrong)))


def test_ctrl_c(spotrelay: Run, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C says that CloudFormation goes on, and what takes it up; the code is a shell's; the second try works."""
    spotrelay("deploy", "--image", IMAGE)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(progress.Following, "until_settled", interrupt)
        code, out, err = spotrelay("deploy", "--volume-gib", "80")

    assert (130, "") == (code, out)
    assert "the same command takes it up" in err
    assert "Traceback" not in err
    assert 0 == spotrelay("deploy", "--volume-gib", "80")[0]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_to_do_next_is_a_command(spotrelay: Run) -> None:
    """It means this stack in this region, from whatever shell. Otherwise a person examines another one."""
    words = ("--stack-name", "second", "--region", "eu-west-1")
    front_image = ("--image", "ami-03cf127a")
    code, _, err = spotrelay("deploy", *words, *front_image)
    assert StackRegion.exit_code == code
    assert "eu-west-1" in err

    made = spotrelay("deploy", "--stack-name", "second", "--image", IMAGE)
    gone = spotrelay("destroy", "--stack-name", "second", "--yes")
    assert "spotrelay doctor --stack-name second --region us-east-1\n" in made[1]
    assert " --image ami-… --stack-name second --region us-east-1\n" in gone[1]


def test_a_replacement_needs_a_word(spotrelay: Run, replacing: None) -> None:
    """Without a terminal a replacement needs --yes; its plan is shown before. Otherwise a script loses a queue."""
    spotrelay("deploy", "--image", IMAGE)
    refused = spotrelay("deploy", "--volume-gib", "80")
    done = spotrelay("deploy", "--volume-gib", "80", "--yes")

    assert UsageError.exit_code == refused[0]
    assert "LaunchTemplate" in refused[2]
    assert "(replaced)" in refused[2]
    assert "--yes" in refused[2]
    assert 0 == done[0]


@pytest.mark.parametrize(
    ("answer", "code", "said"), [("n\n", 1, "Nothing of that was changed."), ("y\n", 0, "deployed")]
)
def test_a_person_is_asked(
    spotrelay: Run, replacing: None, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, said: str
) -> None:
    """On a terminal the person decides, and a no changes nothing."""
    spotrelay("deploy", "--image", IMAGE)
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", terminal)
    found = spotrelay("deploy", "--volume-gib", "80")

    assert code == found[0]
    assert said in found[1]


def test_destroy_needs_a_word(spotrelay: Run, front: Front) -> None:
    """Without a terminal `destroy` needs --yes."""
    spotrelay("deploy", "--image", IMAGE)
    front.asked.clear()
    code, _, err = spotrelay("destroy")

    assert UsageError.exit_code == code
    assert "--yes" in err
    assert "DeleteStack" not in front.asked


def test_the_living(spotrelay: Run, front: Front) -> None:
    """Live instances have an exit code of their own, and --force ends them."""
    spotrelay("deploy", "--image", IMAGE)
    ec2 = client("ec2", front)
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "spotrelay:stack", "Value": "spotrelay"}]}]
    made = ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1, TagSpecifications=tags)
    ec2.close()
    code, _, err = spotrelay("destroy", "--yes")

    assert StackInUse.exit_code == code
    assert made["Instances"][0]["InstanceId"] in err
    assert 0 == spotrelay("destroy", "--yes", "--force")[0]


def test_errors_are_one_line(spotrelay: Run, front: Front) -> None:
    """What AWS refuses is a line with the remedy and an exit code, without a traceback; the second try works."""
    front.refuse("GetCallerIdentity", "ExpiredToken", "expired")
    expired = spotrelay("deploy", "--image", IMAGE)
    front.relent()
    spotrelay("deploy", "--image", IMAGE)
    front.rewrite("DescribeStacks", lambda body: body.replace("spotrelay:stack", "somebody:else"))
    taken = spotrelay("deploy")

    assert (StackCredentials.exit_code, StackClash.exit_code) == (expired[0], taken[0])
    assert "sign in anew" in expired[2]
    assert "--stack-name" in taken[2]
    assert "Traceback" not in expired[2] + taken[2]
