"""Versions of spotrelay, compared: the stack's and the image's against this one's."""

from __future__ import annotations

import re


def is_older(one: str, other: str) -> bool:
    return _numbers(one) < _numbers(other)


def _numbers(version: str) -> tuple[int, ...]:
    """The released part: "1.2.0rc1" counts as 1.2.0, which is near enough for advice."""
    released = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in released[0].split(".")) if released else ()
