"""What the status says that a notice would take, held against what it does take: a real attempt whose store is reached
over a wire of known width. A notice leaves seconds here (support/brief.py), and the wire is as much narrower.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bench.site import BUCKET, Site, served
from spotrelay.core import records
from spotrelay.core.forecast import Forecast
from support.brief import USABLE_S
from support.counting_job import WEIGHT
from support.story import Stage, Story, stage

# Half as long again as a notice leaves.
NARROW = WEIGHT / (1.5 * USABLE_S)
# What a checkpoint has beside its weights, and requests beside their bodies: some KB of 9 MiB.
BESIDE = 1.05
# A wire is shared with nobody here. What a busy computer adds to a save of seconds, and to its measurement.
BUSY = 4


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A store over HTTP that is as slow as it is told to be."""
    with served() as site:
        site.clear()
        for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            monkeypatch.setenv(name, site.environment[name])
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", site.endpoint)
        yield site


def staged(folder: Path, site: Site) -> AbstractAsyncContextManager[Stage]:
    """The cloud, with its store behind that wire."""
    return stage(folder, module="support.brief", store_url=f"s3://{BUCKET}", store_endpoint=site.endpoint)


async def said(story: Story, fits: Callable[[records.Status], bool]) -> records.Status:
    """The first status that fits."""

    async def there() -> records.Status | None:
        status = await story.history.status(1)
        return status if status is not None and fits(status) else None

    found = await story.until(there, what="a status that says so")
    assert isinstance(found, records.Status)
    return found


def log(story: Story) -> str:
    """Of the first attempt's agent."""
    return (story.computers(1)[0].state / "agent.log").read_text()


def wanted(warning: str) -> float:
    """Bytes a second that would be enough."""
    found = re.search(r"with ([\d.]+) ([kMG])bit/s of network or more", warning)
    assert found is not None, warning
    return float(found[1]) * {"k": 1e3, "M": 1e6, "G": 1e9}[found[2]] / 8


@pytest.mark.slow
async def test_save_that_does_not_fit_is_said_before_the_notice_and_after_it(site: Site, tmp_path: Path) -> None:
    """In status, log and hand-over; and the figures beside it come true when the notice comes. Otherwise nobody knows
    that this run goes back to its snapshot at each interruption, or is told so by numbers that mean nothing."""
    async with staged(tmp_path, site) as cloud:
        site.behave(rate=NARROW)
        story = await cloud.begin("weighs")
        status = await said(story, lambda status: bool(status.warning))
        cloud.interrupt(story.computers(1)[0].instance.id, in_s=60)
        await story.phase(1, "staying")
        site.behave()
        await story.ends("succeeded")
        handover = await story.history.handover(1)
        later = await story.status(2)
        told = log(story)

    assert handover is not None
    assert status.dirty_bytes is not None
    assert status.upload_bytes_s is not None
    assert status.needed_s is not None
    assert status.checkpoint_s is None, "nobody has seen one end"
    # As it was measured: what the last checkpoint weighs, over a wire that is no wider than it is.
    assert WEIGHT <= status.dirty_bytes <= WEIGHT * BESIDE
    assert status.upload_bytes_s <= NARROW * BESIDE
    assert status.needed_s >= status.dirty_bytes / status.upload_bytes_s > USABLE_S
    # As it came.
    assert WEIGHT <= handover.saved_bytes <= status.dirty_bytes * BESIDE
    assert 1 / BUSY <= handover.timings["save_s"] / status.needed_s <= BUSY
    assert "choose an instance type with" in handover.warning
    assert "let a checkpoint change at most" in handover.warning
    assert 1 == told.count("deadline.tight"), "once, however many saves say so"
    # What the successor goes by.
    assert handover.timings["signal_to_exit_s"] == later.checkpoint_s
    assert later.dirty_bytes == handover.saved_bytes


async def test_save_that_fits_is_nobodys_alarm(site: Site, tmp_path: Path) -> None:
    """It was measured, and it is quiet. Otherwise the next warning, a true one, is not read."""
    async with staged(tmp_path, site) as cloud:
        story = await cloud.begin("weighs")
        instance = await story.ready(1)
        status = await said(story, lambda status: (status.dirty_bytes or 0) >= WEIGHT)
        cloud.interrupt(instance, in_s=60)
        await story.ends("succeeded")
        handover = await story.history.handover(1)
        told = log(story)

    assert handover is not None
    assert status.needed_s is not None
    assert status.needed_s <= USABLE_S
    assert ("", "") == (status.warning, handover.warning)
    assert "deadline.tight" not in told


@pytest.mark.slow
async def test_what_would_make_it_fit_does(site: Site, tmp_path: Path) -> None:
    """The network that the warning names is enough, by its own arithmetic and over the wire; then it is taken back.
    Otherwise somebody pays for a larger machine and is warned again."""
    async with staged(tmp_path, site) as cloud:
        site.behave(rate=NARROW)
        story = await cloud.begin("weighs")
        instance = await story.ready(1)
        tight = await said(story, lambda status: bool(status.warning))
        assert tight.dirty_bytes
        assert tight.upload_bytes_s
        assert tight.needed_s
        enough = wanted(tight.warning)
        look_s = tight.needed_s - tight.dirty_bytes / tight.upload_bytes_s
        assert enough > tight.upload_bytes_s
        assert Forecast(None, tight.dirty_bytes, enough, look_s).needed_s <= USABLE_S
        site.behave(rate=enough * BUSY)
        (story.shared / "again").touch()
        eased = await said(story, lambda status: not status.warning and (status.upload_bytes_s or 0) > enough)
        cloud.interrupt(instance, in_s=60)
        await story.ends("succeeded")

        assert eased.needed_s is not None
        assert eased.needed_s <= USABLE_S
        assert "deadline.fits" in log(story)
