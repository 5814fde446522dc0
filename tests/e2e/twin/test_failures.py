"""What goes wrong on a machine: each run ends as it must, each machine ends, and its console says why (P5, P8)."""

from __future__ import annotations

import pytest

from spotrelay.core.keys import SnapshotId
from spotrelay.local.instances import State
from spotrelay.snapshot import Snapshots
from support.story import until
from support.twin.stage import DIRECTORY, TwinStage

# A small disk of its own under the execution directory.
SMALL = f"[Mount]\nWhat=tmpfs\nWhere={DIRECTORY}\nType=tmpfs\nOptions=size=1M,mode=777\n"
SMALL_DISK = {
    "etc/systemd/system/home-admin-job.mount": SMALL,
    "etc/systemd/system/spotrelay-agent.service.d/small.conf": f"[Unit]\nRequiresMountsFor={DIRECTORY}\n",
}
UNITS = "etc/systemd/system"
NEVER = "[Unit]\nConditionPathExists=/there/is/none\n"
# As a cloud-init whose data source does not answer.
HANGS = (
    "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n"
    "[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/sleep infinity\n"
)
WANTED = "[Unit]\nWants=hangs.service\n"


async def ended(cloud: TwinStage, instance: str) -> str:
    """What the console says, once the instance is gone by itself."""
    computer = cloud.computers[instance]
    await until(lambda: computer.instance.state is State.TERMINATED, what=f"{instance} is gone")
    assert "itself" == computer.ended_by
    return cloud.console(instance)


@pytest.mark.parametrize(
    ("run", "code", "said"),
    [
        pytest.param({"command": ["no-such-program"]}, 127, "no-such-program: in no folder of PATH", id="no command"),
        pytest.param({"command": ["true"], "user": "ghost"}, None, "there is no user 'ghost' here", id="no user"),
    ],
)
async def test_run_that_cannot_start_is_over(
    run: dict[str, object], code: int | None, said: str, cloud: TwinStage
) -> None:
    """Its outcome and the console name the reason. Otherwise a typo is an instance that waits for a command, or one
    after the other."""
    # A user that is missing is made; here that cannot be done.
    cloud.making.files = {"usr/sbin/useradd": "no program"}
    story = await cloud.begin(run=run | {"directory": str(DIRECTORY)})
    outcome = await story.ends("failed", exit_code=code)
    (computer,) = story.computers()

    assert said in outcome.message
    assert said in cloud.console(computer.instance.id)


@pytest.mark.parametrize(
    ("user_data", "said"),
    [
        pytest.param("#!/bin/sh\nreboot\n", "user data: not TOML", id="a script"),
        pytest.param('[relay]\nstore = "s3://no-such-bucket/x"\nqueue = "q"\n', "NoSuchBucket", id="no bucket"),
    ],
)
async def test_instance_that_can_learn_nothing_ends(user_data: str, said: str, cloud: TwinStage) -> None:
    """User data of another kind, a bucket that is not there. Otherwise it burns until somebody looks."""
    assert said in await ended(cloud, cloud.boot(user_data))


async def test_network_that_comes_late_is_waited_for(cloud: TwinStage) -> None:
    """No cable until the agent has asked in vain, then the run goes its way. Otherwise a slow network costs a machine,
    and the next one, and the next."""
    cloud.making.plugged = False
    # Two minutes, by default, which nothing here would do but wait.
    cloud.making.files = {
        "etc/systemd/system/systemd-networkd-wait-online.service.d/soon.conf": (
            "[Service]\nExecStart=\nExecStart=/lib/systemd/systemd-networkd-wait-online --timeout=2\n"
        )
    }
    story = await cloud.begin()
    (computer,) = await story.until(story.computers, what="an instance")
    twin = await cloud.twin(computer.instance.id)
    await story.until(lambda: "metadata.waiting" in cloud.console(computer.instance.id), what="it waits")
    await twin.plug(into=True)
    await story.ends("succeeded")

    assert 1 == len(story.computers())


async def test_command_that_fills_its_disk_is_saved_to_the_last_byte(cloud: TwinStage) -> None:
    """The save reads, and needs no room. Otherwise a full disk costs what filled it."""
    fill = "cat /dev/zero > big 2>/dev/null; touch /var/lib/spotrelay/full; exec sleep 1000"
    cloud.making.files = dict(SMALL_DISK)
    story = await cloud.begin(command=["sh", "-c", f"test -e big && exit 0; {fill}"], save={"every_s": 0})
    claim = await story.until(lambda: story.history.claim(1), what="a claim")
    twin = await cloud.twin(claim.instance)
    await story.until((twin.root / "var/lib/spotrelay/full").exists, what="the disk is full")
    cloud.making.files = {}
    cloud.plane.ec2.instances.terminate(claim.instance)
    outcome = await story.outcome()
    await story.off()
    handover = await story.history.handover(1)

    assert handover is not None
    assert ("1-0", "succeeded") == (handover.snapshot, outcome.result)


async def test_snapshot_that_does_not_fit_ends_the_run_before_its_command(cloud: TwinStage) -> None:
    """A disk that is too small is said, with what helps, and nothing runs on half a directory (P2). Otherwise the
    command finds files that were cut short."""
    cloud.making.files = dict(SMALL_DISK)
    story = cloud.plan()
    source = cloud.folder / "source" / story.run
    source.mkdir(parents=True)
    (source / "big").write_bytes(b"\1" * (3 << 20))
    await Snapshots(cloud.store, story.run, source).save(SnapshotId(0, 0))
    await cloud.store.create(f"runs/{story.run}/run.json", story.spec.encode())
    cloud.ring(story.run, 1)
    outcome = await story.ends("failed")

    assert "choose an instance or a volume with more disk" in outcome.message
    assert [] == story.journal()


async def test_agent_that_cannot_start_at_all_ends_its_machine(cloud: TwinStage) -> None:
    """An interpreter that is not there: systemd tries as often as the unit says, and powers off. Otherwise a broken
    image burns, and tells nobody."""
    cloud.making.files = {
        "etc/systemd/system/spotrelay-agent.service.d/broken.conf": (
            "[Service]\nExecStart=\nExecStart=/opt/spotrelay/bin/nothing\nRestartSec=10ms\n"
        )
    }
    instance = cloud.boot(cloud.user_data())

    assert "spotrelay-agent.service" in await ended(cloud, instance)


@pytest.mark.parametrize(
    "why",
    [
        pytest.param({f"{UNITS}/spotrelay-agent.service.d/never.conf": NEVER}, id="masked"),
        pytest.param({f"{UNITS}/hangs.service": HANGS, f"{UNITS}/sysinit.target.d/hangs.conf": WANTED}, id="hangs"),
    ],
)
async def test_agent_that_is_never_started_ends_its_machine(why: dict[str, str], cloud: TwinStage) -> None:
    """Masked, as by a person who forgot; or the boot does not get to it. The dead man's switch finds nobody at work.
    Otherwise that machine burns."""
    cloud.making.files = {
        f"{UNITS}/spotrelay-dead-man.timer.d/soon.conf": "[Timer]\nOnBootSec=\nOnActiveSec=1\n",
        **why,
    }
    instance = cloud.boot(cloud.user_data())

    assert "this machine works for nobody" in await ended(cloud, instance)


async def test_machine_that_shall_stay_is_left_alone(cloud: TwinStage) -> None:
    """keep_alive: the run is over, the dead man's switch has looked, and the machine is there. Otherwise nobody can
    look into a run that went wrong."""
    cloud.making.files = {
        "etc/systemd/system/spotrelay-dead-man.timer.d/soon.conf": "[Timer]\nOnUnitActiveSec=\nOnUnitInactiveSec=1\n"
    }
    story = await cloud.begin(command=["true"], instance={"keep_alive": True})
    assert "succeeded" == (await story.outcome()).result
    claim = await story.history.claim(1)
    assert claim is not None
    twin = await cloud.twin(claim.instance)

    async def gone() -> bool:
        return (await twin.show("spotrelay-agent.service", "ActiveState")).get("ActiveState") == "inactive"

    await story.until(gone, what="the agent has ended")
    await twin.run("systemctl", "start", "spotrelay-dead-man.service")

    assert {"ConditionResult": "no"} == await twin.show("spotrelay-dead-man.service", "ConditionResult")
    assert "running" == (await twin.run("systemctl", "is-system-running")).output.strip()
