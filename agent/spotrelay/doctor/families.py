"""Which of EC2's vCPU quotas an instance type counts against. No API tells; the codes are the same in every region.

Checked against listings of `aws service-quotas list-service-quotas --service-code ec2`. One code that circulates is
wrong: L-5480EFD2, named in places as Trn's spot quota, is the number of dedicated Inf hosts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """`spot` and `on_demand` are quota codes; empty where there is no such market."""

    name: str
    spot: str
    on_demand: str


STANDARD = Family("Standard (A, C, D, H, I, M, R, T, Z)", "L-34B43A08", "L-1216C47A")
_G_AND_VT = Family("G and VT", "L-3819A6DF", "L-DB2E81BA")
_BY_LETTERS = {
    **dict.fromkeys(("a", "c", "d", "h", "i", "m", "r", "t", "z"), STANDARD),
    "g": _G_AND_VT,
    "gr": _G_AND_VT,
    "vt": _G_AND_VT,
    "p": Family("P", "L-7212CCBC", "L-417A185B"),
    "f": Family("F", "L-88CF9481", "L-74FC7D96"),
    "x": Family("X", "L-E3A00192", "L-7295265B"),
    "inf": Family("Inf", "L-B5D1601B", "L-1945791B"),
    "trn": Family("Trn", "L-6B0D517C", "L-2C3B7624"),
    "dl": Family("DL", "L-85EED4F7", "L-6E869C2A"),
    "hpc": Family("HPC", "", "L-F7808C92"),
    "u": Family("High Memory", "", "L-43DA4232"),
    # im4gn and is4gen carry a second letter and count as I.
    "im": STANDARD,
    "is": STANDARD,
}


def family_of(instance_type: str) -> Family | None:
    """None: none that is known, such as mac1.metal, which has hosts of its own and is never spot."""
    letters = re.match(r"[a-z]+", instance_type)
    return _BY_LETTERS.get(letters[0]) if letters else None
