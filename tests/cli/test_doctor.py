"""`spotrelay doctor` as a person runs it: the report, the document, the exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spotrelay.cli.doctor import doctor
from spotrelay.cli.findings import print_findings
from spotrelay.core.errors import Unwell
from spotrelay.doctor.finding import ok, problem, skipped
from support.aws_account import ELSEWHERE, Front, account, environment
from support.examined_stack import deploy
from support.rehearsals import Said
from support.rehearsals import spotrelay as run


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    for name in ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    with account() as front:
        yield front


async def said(front: Front, *words: str, cwd: Path, **changes: str) -> Said:
    return await run("doctor", *words, cwd=cwd, env={**environment(front), **changes})


async def test_a_stack_in_order(front: Front, tmp_path: Path) -> None:
    """Everything that was looked at is named, nothing is on standard error, the exit code is 0."""
    deploy(front)
    answer = await said(front, "--stack-name", "relay", cwd=tmp_path)

    assert (0, "") == (answer.status, answer.err)
    assert "ok       stack: relay is there (UPDATE_COMPLETE)" in answer.out
    assert "problem" not in answer.out


async def test_a_problem_has_an_exit_code_of_its_own(front: Front, tmp_path: Path) -> None:
    """60, for a script; the command to copy on one line however narrow the terminal is; a summary on standard error."""
    deploy(front)
    front.quota("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 0)
    answer = await said(front, "--stack-name", "relay", cwd=tmp_path, COLUMNS="40")

    assert 60 == answer.status
    assert "spotrelay: 1 problem — do what stands beside each, then look again\n" == answer.err
    command = "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-34B43A08"
    assert f"         $ {command} --desired-value 4 --region us-east-1" in answer.out.splitlines()
    assert answer.out.startswith("problem ")


async def test_the_document(front: Front, tmp_path: Path) -> None:
    """One JSON document on standard output, the findings in the report's order, each with all of its fields."""
    answer = await said(front, "--json", cwd=tmp_path)
    document = answer.document

    assert (60, 1, False, 60, "spotrelay") == (
        answer.status,
        document["version"],
        document["ok"],
        document["exit_code"],
        document["stack"],
    )
    stack = next(each for each in document["findings"] if each["check"] == "stack")
    assert {
        "state": "problem",
        "what": "there is no stack spotrelay in us-east-1",
        "remedy": "Deploy it; or name the one you have with --stack-name and its region with --region.",
        "command": "spotrelay deploy --stack-name spotrelay --image ami-…",
        "detail": "",
        "check": "stack",
    } == stack


async def test_expired_credentials_are_one_finding(front: Front, tmp_path: Path) -> None:
    """And one line says what was not looked at for their sake."""
    front.refuse("GetCallerIdentity", "ExpiredToken", "The security token is expired", status=403)
    answer = await said(front, cwd=tmp_path)

    assert 60 == answer.status
    assert "credentials: the credentials have expired" in answer.out
    assert "$ unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN" in answer.out
    assert 1 == " ".join(answer.out.split()).count("it needs credentials")


async def test_the_profile_and_the_region_are_in_the_commands(front: Front, tmp_path: Path) -> None:
    """Otherwise the remedy is applied to another account."""
    config = tmp_path / "config"
    config.write_text("[profile work]\naws_access_key_id = A\naws_secret_access_key = B\nregion = eu-west-1\n")
    words = ("--profile", "work", "--region", "eu-central-1", "--json")
    answer = await said(front, *words, cwd=tmp_path, AWS_CONFIG_FILE=str(config))
    commands = {each["check"]: each["command"] for each in answer.document["findings"]}

    where = "--region eu-central-1 --profile work"
    assert f"spotrelay deploy --stack-name spotrelay {where} --image ami-…" == commands["stack"]
    assert commands["service role"].endswith(where)


async def test_what_could_not_be_looked_at_is_not_well(front: Front, tmp_path: Path) -> None:
    """A role that may not see the stack gets no 0: an examination of nothing must not pass for a good one."""
    deploy(front)
    front.deny("DescribeStacks")
    answer = await said(front, "--stack-name", "relay", cwd=tmp_path)

    assert 60 == answer.status
    assert "could not be looked at" in answer.err
    assert "Add cloudformation:DescribeStacks to the policies of" in answer.out


async def test_types_are_separated_by_commas(front: Front, tmp_path: Path) -> None:
    front.quota("L-3819A6DF", "All G and VT Spot Instance Requests", 0)
    answer = await said(front, "--types", "g5.xlarge, g6.xlarge", "--json", cwd=tmp_path)
    [quota] = [each for each in answer.document["findings"] if each["check"] == "spot quota"]

    assert "g5.xlarge needs 4, g6.xlarge needs 4" in quota["what"]


def test_brackets_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """AWS's words are no markup. Otherwise a message with [red] loses a word, or the report ends in an error."""
    from rich.console import Console

    found = [problem("a [bold]b[/] c", remedy="d [/x] e", command="f [g]", detail="[h]"), skipped("it needs [i]")]
    print_findings([*found, ok("[j]")], Console(width=60))
    out = capsys.readouterr().out

    for words in ("a [bold]b[/] c", "d [/x] e", "$ f [g]", "[h]", "it needs [i]", "[j]"):
        assert words in out


def test_a_call_in_this_process(
    front: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report comes before the error that ends it; nothing of the terminal is left changed."""
    for name, value in environment(front).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unwell, match="2 problems"):
        doctor(stack_name="spotrelay", region="", profile="", types="", on_demand=False, drift=False, as_json=False)

    assert "there is no stack spotrelay in us-east-1" in capsys.readouterr().out
