"""The adapter of the metadata port, against the simulated service over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from spotrelay.aws.imds import InstanceMetadata
from spotrelay.core.errors import MetadataUnavailable
from spotrelay.local.imds_faults import EMPTY, GARBAGE, HANG, HUGE, RESET, Fault, status
from spotrelay.ports import Identity
from support.imds import INSTANCE, PATIENT_S, TOKEN, Clock, one_instance

ID_PATH = "meta-data/instance-id"
GET_ID = ("GET", f"/latest/{ID_PATH}")


async def test_one_token_serves_many_questions() -> None:
    """A document is its text, a missing one None, and both cost one token in all. Otherwise every look is two
    requests, and EC2 throttles them together with the SDK's."""
    async with one_instance() as (imds, endpoint), InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata:
        assert INSTANCE == await metadata.text(ID_PATH)
        assert await metadata.text("meta-data/spot/instance-action") is None
        assert "[]" == await metadata.text("meta-data/events/maintenance/scheduled")

        assert 1 == imds.requests(INSTANCE).count(TOKEN)


async def test_token_is_renewed_before_it_ends() -> None:
    """Six hours on, a new token is there before the old one is refused: a training run is longer than a token."""
    clock = Clock()
    async with (
        one_instance(clock) as (imds, endpoint),
        InstanceMetadata(endpoint, timeout=PATIENT_S, clock=clock) as metadata,
    ):
        await metadata.text(ID_PATH)
        clock.now += 21600 - 61
        await metadata.text(ID_PATH)
        clock.now += 2
        await metadata.text(ID_PATH)

        assert [TOKEN, GET_ID, GET_ID, TOKEN, GET_ID] == imds.requests(INSTANCE)


async def test_token_that_the_service_forgot_is_renewed_within_the_question() -> None:
    """401 costs one new token and no answer. Otherwise the watch is blind until the old token would have ended."""
    server_clock = Clock()
    async with (
        one_instance(server_clock) as (imds, endpoint),
        InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata,
    ):
        await metadata.text(ID_PATH)
        server_clock.now += 21600
        assert INSTANCE == await metadata.text(ID_PATH)

        assert [TOKEN, GET_ID, GET_ID, TOKEN, GET_ID] == imds.requests(INSTANCE)


async def test_new_token_that_is_refused_too_is_an_error_and_not_a_loop() -> None:
    """A second 401 ends the question, and the next question begins with a new token. Otherwise one bad answer keeps
    the agent hammering a throttled service, or a bad token is kept for ever."""
    async with one_instance() as (imds, endpoint), InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata:
        await metadata.text(ID_PATH)
        imds.inject(INSTANCE, status(401), Fault(), status(401))
        with pytest.raises(MetadataUnavailable, match="401"):
            await metadata.text(ID_PATH)
        assert INSTANCE == await metadata.text(ID_PATH)

        assert [TOKEN, GET_ID, GET_ID, TOKEN, GET_ID, TOKEN, GET_ID] == imds.requests(INSTANCE)


@pytest.mark.parametrize("refusal", [status(404), status(405), status(403), status(400), EMPTY, GARBAGE])
async def test_nothing_is_asked_without_a_token(refusal: Fault) -> None:
    """A service that gives no token gets no question in the old way. Otherwise a forged or misconfigured service that
    speaks IMDSv1 is believed."""
    async with one_instance() as (imds, endpoint), InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata:
        imds.inject(INSTANCE, refusal)
        with pytest.raises(MetadataUnavailable):
            await metadata.text(ID_PATH)

        assert [TOKEN] == imds.requests(INSTANCE)


# Two resets, because aiohttp itself asks a second time after the first.
@pytest.mark.parametrize(
    "faults", [[status(302)], [status(403)], [status(500)], [status(503)], [RESET, RESET], [GARBAGE], [HUGE], [HANG]]
)
@pytest.mark.parametrize("good", [0, 1], ids=["at the token", "at the document"])
async def test_every_failure_is_one_kind_of_error_and_passes(faults: list[Fault], good: int) -> None:
    """Whatever the service does is MetadataUnavailable, and the next question is answered. Otherwise aiohttp's errors
    reach the agent, which knows nothing of them, and it dies of its surroundings (P6)."""
    async with one_instance() as (imds, endpoint), InstanceMetadata(endpoint, timeout=0.3) as metadata:
        imds.inject(INSTANCE, *[Fault()] * good, *faults)
        with pytest.raises(MetadataUnavailable):
            async with asyncio.timeout(60):
                await metadata.text(ID_PATH)
        assert INSTANCE == await answered(metadata)


async def answered(metadata: InstanceMetadata) -> str | None:
    """What it says, however often a stalled computer makes its short timeout end a question."""
    async with asyncio.timeout(60):
        while True:
            with suppress(MetadataUnavailable):
                return await metadata.text(ID_PATH)


async def test_service_that_is_not_there_says_what_to_do() -> None:
    """Outside of EC2 the error names the variable to set, not a socket's number."""
    async with one_instance() as (_, endpoint):
        pass
    async with InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata:
        with pytest.raises(MetadataUnavailable) as caught:
            await metadata.text(ID_PATH)

    assert "AWS_EC2_METADATA_SERVICE_ENDPOINT" in caught.value.next_step


async def test_question_and_token_together_end_at_the_timeout() -> None:
    """A hanging token and a hanging document do not add up: the watch's next look depends on it."""
    async with one_instance() as (imds, endpoint), InstanceMetadata(endpoint, timeout=0.2) as metadata:
        imds.inject(INSTANCE, Fault(latency=0.15), HANG)
        with pytest.raises(MetadataUnavailable, match=r"no answer in 0\.2 s"):
            async with asyncio.timeout(60):
                await metadata.text(ID_PATH)


async def test_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """`http_proxy` is set on many research machines. A proxy would be asked for this instance's identity, and EC2
    refuses what it forwards."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    async with one_instance() as (_, endpoint), InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata:
        assert INSTANCE == await metadata.text(ID_PATH)


async def test_endpoint_comes_from_the_variable_that_botocore_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable leads the agent and its SDK to the same service, with or without a slash at its end."""
    async with one_instance() as (_, endpoint):
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint + "/")
        async with InstanceMetadata(timeout=PATIENT_S) as metadata:
            assert INSTANCE == await metadata.text(ID_PATH)


@pytest.mark.parametrize("skew", [-300.0, 0.0, 300.0])
async def test_server_now_is_ec2_s_time_carried_on(skew: float) -> None:
    """EC2's time is known to the second however wrong this machine's clock is, and goes on between answers. Otherwise
    a deadline is off by as much as the clock."""
    here, ec2 = Clock(now=5000.0), Clock(now=1_700_000_000.0 + skew)
    async with (
        one_instance(ec2) as (_, endpoint),
        InstanceMetadata(endpoint, timeout=PATIENT_S, clock=here) as metadata,
    ):
        assert metadata.server_now() is None
        await metadata.text(ID_PATH)
        first = metadata.server_now()
        here.now += 40
        later = metadata.server_now()

    assert ec2.now == first
    assert ec2.now + 40 == later


@asynccontextmanager
async def answering(answer: Callable[[web.BaseRequest], web.Response]) -> AsyncIterator[str]:
    """A server of another kind; yields its URL."""

    async def handle(request: web.BaseRequest) -> web.Response:
        return answer(request)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_date_that_cannot_be_read_leaves_the_last_one_standing() -> None:
    """An answer with a broken Date is still an answer."""
    dates = iter(["Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:20 GMT", "tomorrow"])
    async with (
        answering(lambda request: web.Response(text="x", headers={"Date": next(dates)})) as url,
        InstanceMetadata(url, timeout=PATIENT_S, clock=Clock(now=0.0)) as metadata,
    ):
        answers = [await metadata.text(ID_PATH), await metadata.text(ID_PATH)]
        now = metadata.server_now()

    assert ["x", "x"] == answers
    assert 1_700_000_000.0 == now


async def test_redirect_is_not_followed() -> None:
    """Who answers for the service answers himself. Otherwise a document, or the token, comes from and goes to anybody
    that a redirect names."""

    def elsewhere(request: web.BaseRequest) -> web.Response:
        if request.path.endswith("instance-id"):
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        return web.Response(text="i-00000000000000bad")

    async with answering(elsewhere) as url, InstanceMetadata(url, timeout=PATIENT_S) as metadata:
        with pytest.raises(MetadataUnavailable, match="302"):
            await metadata.text(ID_PATH)


async def test_identity_survives_the_first_minute() -> None:
    """A service that fails and then does not know everything yet is asked again. Otherwise one 503 at boot is the
    end of an instance that was paid for."""
    async with (
        one_instance(instance_type="c7i.large", zone="eu-west-1b", life_cycle="on-demand") as (imds, endpoint),
        InstanceMetadata(endpoint, timeout=0.5) as metadata,
    ):
        imds.inject(INSTANCE, status(503), RESET, HANG, Fault(), status(404), EMPTY)
        identity = await metadata.identity(patience=60)

    assert Identity(INSTANCE, "c7i.large", "eu-west-1b", "eu-west-1", "on-demand") == identity


async def test_patience_ends() -> None:
    """A service that never comes is given up after the patience that was asked for, with the last reason. Otherwise
    the instance burns money without ever having a run (P5)."""
    async with one_instance() as (imds, endpoint), InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata:
        imds.misbehave(INSTANCE, lambda path: status(403))
        with pytest.raises(MetadataUnavailable, match="403") as caught:
            await metadata.identity(patience=0.3)

    assert "HttpEndpoint" in caught.value.next_step


@pytest.mark.parametrize(("given", "expected"), [(b"\x1f\x8b\x00\xff", b"\x1f\x8b\x00\xff"), (b"", None)])
async def test_user_data_is_bytes_or_none(given: bytes, expected: bytes | None) -> None:
    """User data may be compressed: its bytes come through untouched. None when the instance was given none."""
    async with (
        one_instance(user_data=given) as (imds, endpoint),
        InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata,
    ):
        imds.inject(INSTANCE, status(503))
        assert expected == await metadata.user_data(patience=5)
