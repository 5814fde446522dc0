"""The unit, as systemd carries it out: what the agent may rely on when it starts, hangs and is told to stop."""

from __future__ import annotations

import time

from spotrelay.core import spec
from support.story import STEPS, Story, until
from support.twin.stage import DIRECTORY, NO_LOCAL_STAGE, TwinStage

UNITS = "etc/systemd/system"
AGENT = f"{UNITS}/spotrelay-agent.service.d"
# Times over which the unit's own would make a test long.
IMPATIENT_S, HANGING_S = 1, 3
OWN_CPU_S = 1.0
# The stages that carry out user data: scripts, packages. The two before them are the machine's own.
USER_DATA_HANGS = {
    f"{UNITS}/cloud-config.service.d/hangs.conf": (
        "[Service]\nExecStart=\nExecStart=/bin/sh -c 'touch /run/hangs; exec sleep infinity'\n"
    ),
    f"{UNITS}/cloud-final.service.d/hangs.conf": "[Service]\nExecStart=\nExecStart=/bin/sleep infinity\n",
    **NO_LOCAL_STAGE,
}


async def test_agent_that_hangs_is_replaced_by_another(cloud: TwinStage) -> None:
    """Stopped as by a debugger or a broken kernel, its watchdog runs out; the next agent takes up the directory, in the
    same attempt on the same machine. Otherwise it hangs until its successor takes it for dead, and works beside it."""
    cloud.making.files = {f"{AGENT}/hanging.conf": f"[Service]\nWatchdogSec={HANGING_S}\n"}
    story = await cloud.begin("restarted", save={"every_s": 0})
    instance = await story.ready(1)
    twin = await cloud.twin(instance)
    await twin.run("systemctl", "kill", "--kill-who=main", "--signal=STOP", "spotrelay-agent.service")
    await story.until(lambda: [what for _, what, _ in story.journal()].count("start") > 1, what="the command again")
    restarts = await twin.show("spotrelay-agent.service", "NRestarts")
    (story.shared / "may-go-on").touch()
    await story.ends("succeeded", restarted=True)

    assert {"NRestarts": "1"} == restarts
    assert 1 == len(await story.claims())
    assert 1 == cloud.console(instance).count("directory.taken_up")


async def test_stop_takes_the_time_that_the_plan_takes(cloud: TwinStage) -> None:
    """However little a drop-in, or the distribution, grants: the agent tells systemd how long an end takes
    (EXTEND_TIMEOUT_USEC). Otherwise the checkpoint of a large program is shot in its middle."""
    cloud.making.files = {f"{AGENT}/impatient.conf": f"[Service]\nTimeoutStopSec={IMPATIENT_S}\n"}
    story = await cloud.begin("slow-to-save", save={"every_s": 0})
    instance = await story.ready(1)
    cloud.plane.ec2.instances.terminate(instance)
    await story.until((story.shared / "told-1").exists, what="the command is told")
    told = time.monotonic()
    await story.until(lambda: time.monotonic() > told + 3 * IMPATIENT_S, what="systemd's patience is over")
    (story.shared / "may-save").touch()
    await story.ends("succeeded")
    handover = await story.history.handover(1)

    assert handover is not None
    assert handover.clean
    assert [(1, "start", 0), (1, "exit-0", STEPS // 2), (2, "start", STEPS // 2)] == story.journal()[:3]


async def test_run_does_not_wait_for_cloud_init_to_carry_out_user_data(cloud: TwinStage) -> None:
    """It runs to its end while cloud-init's last stages hang. Otherwise each boot waits for what other people's images
    do with user data, which here is ours."""
    cloud.making.files, cloud.making.cloud_init = USER_DATA_HANGS, True
    waits = "until test -e /run/hangs; do sleep 0.1; done"
    run = {"name": "early", "command": ["sh", "-c", waits], "directory": str(DIRECTORY)}
    document = spec.parse({"run": run}, source="test")
    instance = cloud.boot(cloud.user_data(document))
    outcome = await Story(cloud, "early", cloud.folder, document).outcome()

    assert "succeeded" == outcome.result, cloud.console(instance)


async def test_agent_takes_little_until_the_command_starts(cloud: TwinStage) -> None:
    """With a run in its user data and nothing to restore: a second of a core at most, interpreter, libraries and
    handshakes together. Of a core, not of the clock: that one belongs to whoever works beside it. Otherwise each
    interruption costs what an import costs, a thousand times over."""
    run = {"name": "quick", "command": ["sleep", "1000"], "directory": str(DIRECTORY)}
    instance = cloud.boot(cloud.user_data(spec.parse({"run": run}, source="test")))
    twin = await cloud.twin(instance)
    await until(lambda: "command.started" in cloud.console(instance), what="the command's start")
    used = await twin.show("spotrelay-agent.service", "CPUUsageNSec")

    assert 0 < int(used["CPUUsageNSec"]) / 1e9 <= OWN_CPU_S, used
