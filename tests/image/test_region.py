"""The network in which twins of the image are booted: what every story on them takes for granted."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from support.twin.network import Region

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="network namespaces take root and ip"),
]


def gateway(region: Region) -> str:
    """The address of the bridge, as instances learn it by ARP."""
    link = ["ip", "-n", region.name, "-brief", "link", "show", "br0"]
    return subprocess.run(link, capture_output=True, text=True, check=True).stdout.split()[2]


async def test_gateway_stays_the_same_whoever_comes_and_goes() -> None:
    """Its hardware address, through ten instances. Otherwise each launch cuts those that run off the network, until
    they ask who has the gateway's address now: half a minute."""
    async with Region() as region:
        first = gateway(region)
        joined = [region.join("http://127.0.0.1:9") for _ in range(10)]
        seen = [gateway(region)]
        for name, address in joined:
            region.leave(name, address)
            seen.append(gateway(region))

    assert {first} == set(seen)
