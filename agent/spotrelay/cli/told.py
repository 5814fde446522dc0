"""How numbers and words are told to a person: seconds, moments, dollars, bytes; and text that came from elsewhere."""

from __future__ import annotations

from datetime import datetime

from rich.filesize import decimal

UNKNOWN = "?"


def seconds(number: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2 h 5 min`, `3 d 4 h`: two units at most, for nobody acts on the third."""
    number = max(0.0, number)
    if number < 10:
        return f"{number:.1f} s"
    if number < 120:
        return f"{number:.0f} s"
    minutes = round(number / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def moment(at: float, now: float) -> str:
    """On the person's own clock: `14:03:27` today, `Nov 27 14:03` before; "?" where nobody knows."""
    if not 0 < at < 1e11:
        return UNKNOWN
    then, today = datetime.fromtimestamp(at), datetime.fromtimestamp(now)
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%b %d %H:%M}"


def since(at: float, now: float) -> str:
    return seconds(now - at) if at > 0 else UNKNOWN


def dollars(number: float) -> str:
    """Cents, and what is below a cent so that it is not told as nothing."""
    return f"${number:.2f}" if number >= 0.095 or not number else f"${number:.4f}"


def size(number: int) -> str:
    return decimal(number)


def plain(text: str) -> str:
    """Without what a terminal would obey: names and messages come from objects that anybody may have written."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
