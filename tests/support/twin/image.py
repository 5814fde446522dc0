"""spotrelay's image, as packer builds it: `packer build` of packer/spotrelay.pkr.hcl, with other ends to its wires.

EC2 is moto's, the instance that packer reaches by ssh is a twin, pip's index is this process's. What provisioning wrote
is then a layer, kept in the user's cache under the hash of what went in: base and bundle. So there is one way to make
an image, and the twin's is made by it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami

from support.moto_server import moto_server
from support.twin import rootfs
from support.twin.machine import Twin
from support.twin.network import GATEWAY, LOCALHOST, Region
from support.twin.wheels import index, wheels

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "packer" / "spotrelay.pkr.hcl"
BASE = {"bookworm": ("debian-12", "3.11"), "trixie": ("debian-13", "3.13")}
REGION = "us-east-1"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}


@dataclass(frozen=True, slots=True)
class Built:
    """`layers`: the disk of an instance of this image, the uppermost first. `ami`: as EC2 describes it. `said`: what
    packer printed."""

    layers: tuple[Path, ...]
    ami: Mapping[str, Any]
    bundle: Path
    said: str

    @property
    def added(self) -> Path:
        """What the image has over its base."""
        return self.layers[0]


def built() -> Built:
    """The image of this checkout. Built if it is not there; of two who want it, one builds it. Blocking: minutes on a
    new computer, seconds after a change, and nothing otherwise."""
    base = rootfs.base()
    with tempfile.TemporaryDirectory() as name:
        bundle = make_bundle(Path(name))
        made_of = TEMPLATE.read_bytes() + bundle.read_bytes() + base.name.encode()
        target = rootfs.CACHE / f"image-{base.name}-{hashlib.sha256(made_of).hexdigest()[:16]}"
        packages = wheels(BASE[rootfs.SUITE][1])
        with rootfs.locked(rootfs.CACHE):
            if not target.exists():
                rootfs.forget("image-*")
                with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=rootfs.CACHE) as unfinished:
                    build(Path(unfinished) / "image", bundle, base, packages).rename(target)
    target.touch()
    said = json.loads((target / "said.json").read_text())
    return Built((target / "layer", base), said["ami"], target / "bundle.tar.gz", said["packer"])


def make_bundle(folder: Path) -> Path:
    done = subprocess.run([ROOT / "scripts" / "bundle", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "spotrelay-bundle.tar.gz"


def build(target: Path, bundle: Path, base: Path, packages: Path) -> Path:
    """One `packer build` onto `base`, with the wheels in `packages`, into the folder `target`."""
    # In a thread: whoever waits may have a loop of its own.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, _build(target, bundle, base, packages)).result()
    return target


async def _build(target: Path, bundle: Path, base: Path, packages: Path) -> None:
    work = target / "work"
    work.mkdir(parents=True)
    (target / "console").touch()
    name, _ = BASE[rootfs.SUITE]
    with moto_server() as moto, index(packages) as served:
        public = await asyncio.to_thread(_login, work, moto, name)
        async with Region() as region:
            twin = await Twin.boot(
                work / "machine",
                layers=[base],
                region=region,
                imds=moto,
                console=target / "console",
                files={f"home/{rootfs.USER}/.ssh/authorized_keys": public},
            )
            try:
                await twin.up()
                variables = {
                    "base": name,
                    "commit": _commit(bundle),
                    "root": str(ROOT),
                    "ec2_endpoint": (await region.wire(moto)).replace(LOCALHOST, GATEWAY),
                    "ssh_host": twin.address,
                    "ssh_key": str(work / "key"),
                    "ssh_keypair": "builder",
                    "environment": json.dumps(pip_settings(await region.wire(served))),
                }
                said = await asyncio.to_thread(_packer, region.name, work, variables)
                twin.power_button()
                await twin.off()
                await asyncio.to_thread(twin.keep, target / "layer")
            finally:
                await twin.close()
        ami = await asyncio.to_thread(_described, moto, said)
    shutil.copy(bundle, target / "bundle.tar.gz")
    (target / "said.json").write_text(json.dumps({"ami": ami, "packer": said}, default=str))
    shutil.rmtree(work)


def _login(work: Path, moto: str, base: str) -> str:
    """The key by which packer gets in, known to EC2 too; and the base image that it asks EC2 for. The public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / "key")], check=True)
    public = (work / "key.pub").read_text()
    ec2 = boto3.client("ec2", endpoint_url=moto, **KEYS)
    ec2.import_key_pair(KeyName="builder", PublicKeyMaterial=public.encode())
    ec2.close()
    backend = ec2_backends["123456789012"][REGION]
    backend.amis["ami-0ba5e0000000ba5e0"] = Ami(
        backend,
        "ami-0ba5e0000000ba5e0",
        name=f"{base}-amd64-20261101-1",
        owner_id="136693071363",
        architecture="x86_64",
        virtualization_type="hvm",
        root_device_type="ebs",
        root_device_name="/dev/xvda",
        public=True,
    )
    return public


def pip_settings(packages: str) -> list[str]:
    """What tells pip on a machine that its index is there, as variables of its environment."""
    host = packages.split("//")[1].split(":", maxsplit=1)[0]
    return [f"PIP_INDEX_URL={packages}/simple/", f"PIP_TRUSTED_HOST={host}", "PIP_RETRIES=0"]


def _commit(bundle: Path) -> str:
    with tarfile.open(bundle) as archive:
        said = archive.extractfile("./COMMIT")
        assert said is not None
        return said.read().decode().strip()


def for_debians_packer(folder: Path) -> Path:
    """The template as packer 1.6 reads it: without the lines that say so."""
    old = folder / "spotrelay.pkr.hcl"
    old.write_text(re.sub(r"(?m)^.*# since 1\.7\n", "", TEMPLATE.read_text()))
    return old


def _packer(namespace: str, work: Path, variables: Mapping[str, str]) -> str:
    options = [word for name, value in variables.items() for word in ("-var", f"{name}={value}")]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PKR_"))},
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_POLL_DELAY_SECONDS": "1",
        "CHECKPOINT_DISABLE": "1",
        "PACKER_CACHE_DIR": str(work / "packer_cache"),
    }
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, "packer", "build", "-color=false", *options, str(for_debians_packer(work))],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=work,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def _described(moto: str, said: str) -> dict[str, Any]:
    identity = re.findall(r"ami-[0-9a-f]+", said)[-1]
    ec2 = boto3.client("ec2", endpoint_url=moto, **KEYS)
    found: dict[str, Any] = ec2.describe_images(ImageIds=[identity])["Images"][0]
    ec2.close()
    return found
