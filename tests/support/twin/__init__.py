"""The image's twin: its root file system, booted by the real systemd, in a network of its own that looks like EC2's.

    rootfs      what a stock base is: Debian, made once and kept in the user's cache
    image       what spotrelay's image is: that, and a layer of what packer's provisioning wrote
    network     a region: bridge, addresses, and the wires from it to the simulators of this process
    machine     an instance: systemd-nspawn on a disk of layers, with 169.254.169.254 in reach
    stage       the local cloud (`support.story`), whose instances are such machines

Root alone can do this. Where it cannot be done, `rootfs.why_not` says why, and the tests skip with those words.
"""
