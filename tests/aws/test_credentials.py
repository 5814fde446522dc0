"""The keys that sign: from the role of an instance, from what else the environment says, and renewed in time."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from spotrelay.aws.credentials import RENEW_BEFORE_S, ROLE_PATH, Chain, Given, Keys, Role, of_instance
from spotrelay.aws.imds import InstanceMetadata
from spotrelay.aws.store import open_store
from spotrelay.core.errors import MetadataUnavailable, StoreDenied, StoreUnavailable
from spotrelay.local.imds import Credentials
from spotrelay.local.imds_faults import status
from support.imds import INSTANCE, PATIENT_S, Clock, one_instance

NOWHERE = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
PAIR = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "hush"}
LIVE_S = 6 * 3600.0


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)


async def test_the_role_s_keys_are_asked_for_once_until_they_are_about_to_end() -> None:
    """However many requests begin at once. Otherwise a save with 100 packs is 100 questions, and EC2 throttles the
    look at the notice with them; or a run longer than six hours ends unauthorized."""
    clock = Clock()
    document = ("GET", f"/latest/{ROLE_PATH}spotrelay-agent")
    keys = Credentials("ASIA1", "hush", "session", lifetime_s=LIVE_S)
    async with (
        one_instance(clock, credentials=keys) as (imds, endpoint),
        InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata,
    ):
        role = Role(metadata, wall=clock)
        found = await asyncio.gather(*(role.keys() for _ in range(20)))
        assert {Keys("ASIA1", "hush", "session", clock.now + LIVE_S)} == set(found)
        assert 1 == imds.requests(INSTANCE).count(document)

        clock.now += LIVE_S - RENEW_BEFORE_S + 1
        assert clock.now + LIVE_S == (await role.keys()).ends
        assert 2 == imds.requests(INSTANCE).count(document)


async def test_keys_that_are_good_outlive_a_metadata_service_that_is_not() -> None:
    """Until they end, and not a second longer. Otherwise a quarter of an hour without metadata is one without saves."""
    clock = Clock()
    async with one_instance(clock) as (imds, endpoint), InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata:
        role = Role(metadata, wall=clock)
        known = await role.keys()
        clock.now += LIVE_S - 60
        imds.inject(INSTANCE, *[status(500)] * 20)
        assert known == await role.keys()

        clock.now += 61
        with pytest.raises(MetadataUnavailable):
            await role.keys()


async def test_an_instance_without_a_role_is_told_what_it_lacks() -> None:
    """Otherwise the first refusal of S3 is what there is to read."""
    async with one_instance(role=None) as (_, endpoint), InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata:
        with pytest.raises(StoreDenied, match="instance profile"):
            await Role(metadata).keys()


async def test_what_the_environment_says_comes_before_the_role(tmp_path: Path) -> None:
    """Keys as they are; a profile, a web identity or a file by botocore's own chain. Otherwise who tries an agent with
    other keys than the machine's writes into the wrong account."""
    (tmp_path / "credentials").write_text("[default]\n")
    metadata = InstanceMetadata("http://127.0.0.1:9")
    given = of_instance(metadata, NOWHERE | PAIR | {"AWS_SESSION_TOKEN": "session"}, wall=time.time)
    assert Keys("AKIA", "hush", "session") == await given.keys()

    others = [{"AWS_PROFILE": "mine"}, {"AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}]
    others += [{"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}]
    assert {Chain} == {type(of_instance(metadata, NOWHERE | more, wall=time.time)) for more in others}
    assert Role is type(of_instance(metadata, NOWHERE, wall=time.time))
    assert Role is type(of_instance(metadata, NOWHERE | {"AWS_PROFILE": ""}, wall=time.time))


@pytest.mark.usefixtures("nowhere")
async def test_a_file_is_read_by_botocore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every other tool on the machine reads it; and a file without keys says so."""
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = AKIA2\naws_secret_access_key = hush\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    found = await Chain().keys()
    assert ("AKIA2", "hush", None) == (found.access_key, found.secret_key, found.token)

    file.write_text("[default]\n")
    with pytest.raises(StoreDenied, match="no credentials"):
        await Chain().keys()


@pytest.mark.usefixtures("nowhere")
async def test_the_store_says_whether_keys_cannot_be_had_now_or_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Away for now is tried again, no role is refused. Otherwise a slow metadata service ends a machine at its boot."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    async with one_instance(role=None) as (imds, endpoint), InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata:
        store = open_store("s3://bucket/prefix", credentials=Role(metadata), patience=0)
        with pytest.raises(StoreDenied, match="no role"):
            await store.get("a")
        imds.inject(INSTANCE, *[status(503)] * 5)
        with pytest.raises(StoreUnavailable, match="503"):
            await store.get("a")


async def test_given_keys_never_end() -> None:
    """Nobody asks for them again."""
    assert (await Given(Keys("a", "b")).keys()).ends is None
