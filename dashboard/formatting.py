"""Numbers, times and names as a person reads them."""

import re
import time

DASH = "–"
"""Stands for a value that is undefined; never for zero."""


def number(value: float | None, digits: int = 3) -> str:
    """``0.998``; a dash where the value is undefined."""
    return DASH if value is None else f"{value:.{digits}f}"


def count(value: float) -> str:
    """``12,345``."""
    return f"{value:,.0f}"


def percent(value: float) -> str:
    """``43 %`` of a share between 0 and 1."""
    return f"{value:.0%}".replace("%", " %")


def duration(seconds: float | None) -> str:
    """``8 s``, ``2 min 05 s``, ``3 h 12 min``; a dash where it is unknown."""
    if seconds is None:
        return DASH
    whole = round(max(seconds, 0.0))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def ago(unix_s: float | None, now: float | None = None) -> str:
    """How long ago a moment was: ``just now``, ``5 min ago``, ``3 days ago``."""
    if unix_s is None:
        return DASH
    passed = (time.time() if now is None else now) - unix_s
    for unit, seconds in (("day", 86_400), ("h", 3600), ("min", 60)):
        if passed >= seconds:
            n = int(passed // seconds)
            return f"{n} {unit}{'s' if unit == 'day' and n > 1 else ''} ago"
    return "just now"


def size(bytes: float) -> str:
    """``840 B``, ``12.3 kB``, ``1.2 GB`` (powers of 1000)."""
    for unit in ("B", "kB", "MB"):
        if bytes < 1000:
            return f"{bytes:.0f} {unit}" if unit == "B" else f"{bytes:.1f} {unit}"
        bytes /= 1000
    return f"{bytes:.1f} GB"


def clock(unix_s: float) -> str:
    """``16:15:04`` of a moment, in the server's time zone."""
    return time.strftime("%H:%M:%S", time.localtime(unix_s))


def moment(unix_s: float) -> str:
    """``25 Nov 23:44`` of a moment, in the server's time zone."""
    return time.strftime("%d %b %H:%M", time.localtime(unix_s))


def code(text: str) -> str:
    """``text`` for Markdown, shown letter by letter whatever it holds."""
    return "`" + text.replace("`", "'").replace("\n", " ") + "`"


def plain(text: str) -> str:
    """``text`` in Markdown that is shown as it is: nothing in it is taken for markup."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def scenario(name: str) -> str:
    """``test_02_unknown_vehicle_known_attack`` as ``02 unknown vehicle, known attack``."""
    first, _, rest = name.removeprefix("test_").replace("_", " ").partition(" ")
    return f"{first} {rest.replace('vehicle ', 'vehicle, ')}".strip()
