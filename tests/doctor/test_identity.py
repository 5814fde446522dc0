"""Credentials, region and clock: each way in which they fail, told apart, with the remedy for that one."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from spotrelay.doctor.finding import Finding, State
from support.aws_account import Front

Look = Callable[..., list[Finding]]
Only = Callable[..., Finding]


def test_who_asks_is_said(front: Front, only: Only) -> None:
    """Account and role. Otherwise a person examines the wrong account and believes it."""
    assert "account 123456789012, as arn:aws:sts::123456789012:user/moto" == only("credentials").what


def test_the_root_user_is_warned_of(front: Front, look: Look) -> None:
    """It works, and nothing can limit it."""
    front.replace("GetCallerIdentity", "arn:aws:sts::123456789012:user/moto", "arn:aws:iam::123456789012:root")
    found = look("credentials")

    assert [State.OK, State.WARNING] == [each.state for each in found]
    assert "aws configure sso" == found[1].command


REFUSED = {
    "expired": ("ExpiredToken", "The security token included in the request is expired", "have expired", "unset AWS_"),
    "unknown": (
        "InvalidClientTokenId",
        "The security token is invalid.",
        "does not know this access key",
        "unset AWS_",
    ),
    "wrong secret": ("SignatureDoesNotMatch", "The signature does not match.", "secret key does not", "unset AWS_"),
    "clock": ("SignatureDoesNotMatch", "Signature expired: 20300101T000000Z is now earlier than", "clock", ""),
    "never seen": ("SomethingNew", "no", "refuses these credentials: SomethingNew", "unset AWS_"),
}


@pytest.mark.parametrize(("code", "message", "what", "command"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_credentials(code: str, message: str, what: str, command: str, front: Front, only: Only) -> None:
    """Expired, unknown, mistyped, and a clock that is wrong have different remedies, which AWS does not tell."""
    front.refuse("GetCallerIdentity", code, message, status=403)
    finding = only("credentials")

    assert State.PROBLEM == finding.state
    assert what in finding.what
    assert finding.command.startswith(command)
    assert message in finding.detail


def test_no_credentials(front: Front, only: Only, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to get some; nothing is sent."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    finding = only("credentials")

    assert (State.PROBLEM, "no AWS credentials were found") == (finding.state, finding.what)
    assert "aws configure" == finding.command
    assert [] == front.asked


def test_half_of_the_credentials(front: Front, only: Only, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    finding = only("credentials")

    assert (State.PROBLEM, "the credentials are incomplete") == (finding.state, finding.what)
    assert "aws configure" == finding.command


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_profile_that_is_not_there(by: str, front: Front, only: Only, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, with the command that lists those that are; a name that is wrong must not fall back to others."""
    if by == "environment":
        monkeypatch.setenv("AWS_PROFILE", "nobody")
    finding = only("credentials", profile="nobody" if by == "option" else "")

    assert (State.PROBLEM, "there is no such profile") == (finding.state, finding.what)
    assert "aws configure list-profiles" == finding.command
    assert "nobody" in finding.detail


def test_an_expired_login_is_renewed_where_it_came_from(
    front: Front, only: Only, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A profile's keys are not renewed by changing the environment; and the command names the profile."""
    (tmp_path / "credentials").write_text(
        "[work]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = s\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    front.refuse("GetCallerIdentity", "ExpiredToken", status=403)
    finding = only("credentials", profile="work")

    assert "aws configure --profile work" == finding.command
    assert "shared-credentials-file" in finding.remedy


def test_a_single_sign_on_that_has_run_out(
    front: Front, only: Only, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The daily case: the command to log in again, for that profile."""
    sso = (
        "sso_start_url = https://example.org\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = d"
    )
    (tmp_path / "config").write_text(f"[profile work]\n{sso}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    finding = only("credentials", profile="work")

    assert "the single sign-on session has expired" == finding.what
    assert "aws sso login --profile work" == finding.command


def test_no_region(front: Front, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """One problem; credentials, which cannot be looked at without, are skipped."""
    monkeypatch.delenv("AWS_REGION")
    [region], [credentials] = look("region"), look("credentials")

    assert (State.PROBLEM, "no region is set") == (region.state, region.what)
    assert "aws configure set region us-east-1" == region.command
    assert (State.SKIPPED, "it needs a region") == (credentials.state, credentials.what)


def test_both_names_of_the_region_count(front: Front, only: Only, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 does not know AWS_REGION, which AWS's CLI obeys first. Otherwise the two look at different regions."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    assert "us-east-1" == only("region").what
    monkeypatch.delenv("AWS_REGION")
    assert "eu-west-1" == only("region").what


def test_a_region_that_the_account_has_not_enabled(front: Front, look: Look) -> None:
    """AWS calls good keys invalid there. Otherwise a person renews credentials that are in order."""
    front.refuse("GetCallerIdentity", "InvalidClientTokenId", status=403, region="ap-east-1")
    [region] = look("region", region="ap-east-1")
    [credentials] = look("credentials", region="ap-east-1")

    assert (State.PROBLEM, "ap-east-1 is not enabled for this account") == (region.state, region.what)
    assert "aws account enable-region --region-name ap-east-1 --region us-east-1" == region.command
    assert (State.SKIPPED, "it needs an enabled region") == (credentials.state, credentials.what)


@pytest.mark.parametrize("code", ["OptInRequired", "AuthFailure"])
def test_a_region_that_only_ec2_refuses(code: str, front: Front, only: Only) -> None:
    front.refuse("DescribeRegions", code, status=401)
    finding = only("region", region="me-south-1")

    assert (State.PROBLEM, "me-south-1 is not enabled for this account") == (finding.state, finding.what)


def test_a_region_that_does_not_exist(front: Front, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers there: the region is named as the cause, with the one that was meant."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        [region] = look("region", region="eu-cental-1")
        [credentials] = look("credentials", region="eu-cental-1")

    assert "there is no region eu-cental-1. Did you mean eu-central-1?" == region.what
    assert "spotrelay doctor --stack-name relay --region eu-central-1" == region.command
    assert "AWS gives no answer in eu-cental-1" == credentials.what
    assert "HTTPS_PROXY" in credentials.remedy


def test_a_region_whose_name_can_be_none(front: Front, look: Look) -> None:
    """Nothing is sent anywhere, and it is the region that is wrong, not the credentials."""
    [region], [credentials] = look("region", region="US East 1"), look("credentials", region="US East 1")

    assert (State.PROBLEM, "there is no region US East 1.") == (region.state, region.what)
    assert "spotrelay doctor --stack-name relay --region us-east-1" == region.command
    assert (State.SKIPPED, "it needs a region that exists") == (credentials.state, credentials.what)
    assert [] == front.asked


def test_a_region_younger_than_boto3(front: Front, look: Look) -> None:
    """It answers, so it is there: a warning at most."""
    found = look("region", region="mx-north-9")

    assert State.PROBLEM not in [each.state for each in found]
    assert "pip install --upgrade boto3" == found[0].command


# A second may pass between the header and its reading.
CLOCKS = {
    "right": (0, State.OK, "agrees with AWS's"),
    "a little off": (20, State.OK, "agrees with AWS's"),
    "slow": (61, State.WARNING, "this computer's clock is (59|6[01]) s behind"),
    "fast": (-95, State.WARNING, "this computer's clock is 9[567] s ahead"),
    "refused": (600, State.PROBLEM, "this computer's clock is 10 min behind: AWS refuses what it signs"),
}


@pytest.mark.parametrize(("aws_ahead_s", "state", "what"), CLOCKS.values(), ids=CLOCKS.keys())
def test_the_clock(aws_ahead_s: float, state: State, what: str, front: Front, only: Only) -> None:
    """Half a minute is a drift to be mended, five minutes end all signatures. Otherwise the error is about keys."""
    front.ahead_s = aws_ahead_s
    finding = only("clock")

    assert state == finding.state
    assert re.fullmatch(what, finding.what)
    assert state is State.OK or finding.command.startswith("sudo ")


def test_the_clock_is_told_by_a_refusal_too(front: Front, only: Only) -> None:
    """The clock is why it was refused: just then it must be looked at."""
    front.ahead_s = 3600
    front.refuse("GetCallerIdentity", "SignatureDoesNotMatch", "Signature expired: it is now earlier than", status=403)

    assert "this computer's clock is 60 min behind: AWS refuses what it signs" == only("clock").what
