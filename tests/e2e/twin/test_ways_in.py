"""How an instance comes to its run, other than by the launcher's word: user data of the image, and of a stock one."""

from __future__ import annotations

import hashlib
import re
import textwrap
from pathlib import Path

import boto3
import pytest

from spotrelay.core import spec
from support.story import Story, until
from support.twin import rootfs
from support.twin.image import BASE, KEYS
from support.twin.network import GATEWAY, LOCALHOST
from support.twin.stage import BUCKET, NO_LOCAL_STAGE, TwinStage
from support.twin.wheels import index, wheels

ROOT = Path(__file__).parents[3]
FORMS = [ROOT / "scripts/bootstrap", ROOT / "scripts/examples/user-data/cloud-config.yaml"]
# Which service carries out user data: cloud-init is one process since its release 24.3.
CARRIES_OUT = {"bookworm": "cloud-final", "trixie": "cloud-init-main"}
# cloud-init, pip and the agent's first start, on two cores that others use as well.
INSTALLED_WITHIN_S = 300.0
RELAY = '[relay]\nstore = "s3://BUCKET/relay"\nqueue = "https://sqs.REGION.amazonaws.com/ACCOUNT/QUEUE"\n'


async def test_image_with_a_run_as_its_user_data(cloud: TwinStage) -> None:
    """The file that a person copies, with its places filled in; the run's user is made where it is missing. Otherwise
    nobody can try spotrelay without its command line."""
    example = (ROOT / "scripts/examples/user-data/run.toml").read_text()
    document = spec.toml_document(example.encode(), source="the example")
    told = document.pop("relay")
    assert {"store", "queue"} == told.keys()
    document["run"] |= {"command": ["sh", "-c", "id -un; pwd; cat /proc/self/cgroup"], "user": "worker"}
    document["run"]["directory"] = "/home/worker/digits"
    instance = cloud.boot(cloud.user_data(spec.parse(document, source="the example")))
    story = Story(cloud, "digits-1", cloud.folder, spec.parse(document, source="the example"))
    outcome = await story.outcome()
    await story.off()

    assert "succeeded" == outcome.result, cloud.console(instance)
    said = await story.output(1)
    assert ["worker", "/home/worker/digits"] == said.splitlines()[:2]
    assert "/system.slice/spotrelay-agent.service/command\n" in said


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
async def test_stock_image_that_is_bootstrapped(form: Path, cloud: TwinStage) -> None:
    """Debian with scripts/bootstrap as user data, as it is or in a #cloud-config: the same bundle as in the image,
    verified, fetched with the role of the instance; then the run. Otherwise spotrelay needs an image of its own."""
    story = cloud.plan()
    await story.save_first()
    bundle = cloud.built.bundle.read_bytes()
    put(cloud, bundle)
    with index(wheels(BASE[rootfs.SUITE][1])) as packages:
        await on_a_stock_image(cloud, packages)
        instance = cloud.boot(filled(form, cloud, hashlib.sha256(bundle).hexdigest(), story.spec))
        await until(cloud.computers[instance].off.is_set, what="it is off", within=INSTALLED_WITHIN_S)

    assert "spotrelay: started" in cloud.console(instance)
    await story.ends("succeeded")


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
async def test_bundle_that_is_not_what_it_should_be_is_not_installed(form: Path, cloud: TwinStage) -> None:
    """A hash that differs ends the machine, and the console says where. Otherwise whoever can write to the bucket is
    root on each machine, or a failed installation burns on."""
    put(cloud, cloud.built.bundle.read_bytes() + b"\0")
    await on_a_stock_image(cloud, "http://127.0.0.1:9")
    expected = hashlib.sha256(cloud.built.bundle.read_bytes()).hexdigest()
    instance = cloud.boot(filled(form, cloud, expected, cloud.plan().spec))
    await until(cloud.computers[instance].off.is_set, what="it is off", within=INSTALLED_WITHIN_S)

    assert "spotrelay: bootstrap failed in line" in cloud.console(instance)
    assert "spotrelay: installed" not in cloud.console(instance)


def put(cloud: TwinStage, bundle: bytes) -> None:
    client = boto3.client("s3", endpoint_url=str(cloud.provision.store_endpoint), **KEYS)
    client.put_object(Bucket=BUCKET, Key="bundle.tar.gz", Body=bundle)
    client.close()


def filled(form: Path, cloud: TwinStage, digest: str, run: spec.Spec) -> str:
    """As a person fills it in: line by line, indented as the rest is."""
    text = form.read_text()
    margin = re.search(r"(?m)^( *)bundle=$", text)
    assert margin is not None
    places = {
        "bundle=\n": f"bundle=s3://{BUCKET}/bundle.tar.gz\n",
        "sha256=\n": f"sha256={digest}\n",
        RELAY: cloud.user_data(run) + "\n",
    }
    for place, value in places.items():
        assert 1 == text.count(textwrap.indent(place, margin[1]))
        text = text.replace(textwrap.indent(place, margin[1]), textwrap.indent(value, margin[1]))
    assert len(text.encode()) <= 16 * 1024
    return text


async def on_a_stock_image(cloud: TwinStage, packages: str) -> None:
    """Instances without our layer, whose cloud-init runs; with this index for pip."""
    served = await cloud.region.wire(packages)
    # curl knows by itself where localhost is.
    endpoint = cloud.wires[str(cloud.provision.store_endpoint)].replace(LOCALHOST, GATEWAY)
    cloud.making.layers, cloud.making.cloud_init = cloud.built.layers[1:], True
    cloud.making.files = {
        "etc/pip.conf": f"[global]\nindex-url = {served}/simple/\n",
        f"etc/systemd/system/{CARRIES_OUT[rootfs.SUITE]}.service.d/twin.conf": (
            f"[Service]\nEnvironment=AWS_ENDPOINT_URL_S3={endpoint}\n"
        ),
        **NO_LOCAL_STAGE,
    }
