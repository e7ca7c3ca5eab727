"""Attacks named as intervals in a JSON file beside a candump log.

ROAD, ``capture_metadata.json``, one entry per log's name without ending (from descriptions)::

    {"fuzzing_attack_1": {"injection_id": "XXX", "injection_data_str": "FFFFFFFFXXXXXXXX",
                          "injection_interval": [4.2, 11.9]}}

``XXX`` or null is any identifier, ``X`` any digit; the names ``injected_aid`` and
``injection_data`` occur too. Entries without any of these keys are attack-free.

``NAME.json`` beside ``NAME.log``::

    {"label": "malicious", "markers": [
        {"packet_ID": "0x410", "time": 12.09, "description": "Start of the attack."},
        {"packet_ID": "0x410", "time": 17.99, "description": "End of the attack."}]}

All times are seconds since the first frame.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.captures.rows import Columns

ROAD_FILE = "capture_metadata.json"
MOST_BYTES = 16 << 20
"""A larger JSON file is no description of captures."""
_IDS, _DATA = ("injection_id", "injected_aid"), ("injection_data_str", "injection_data")
_INTERVAL = "injection_interval"


@dataclass(frozen=True)
class Interval:
    """Frames that are attacks: by time, and by identifier and payload where those are told."""

    start: float
    end: float
    arbitration_id: int | None = None
    digits: str = ""
    """Payload in hexadecimal, X for any digit; a prefix of the frames' payloads."""

    def frames(self, columns: Columns) -> npt.NDArray[np.bool_]:
        """Where ``[F]`` frames belong to the attack."""
        elapsed = columns.timestamp - columns.timestamp[:1]
        # Times in the file have fewer digits than a difference of two floats.
        found = (elapsed >= self.start - 1e-6) & (elapsed <= self.end + 1e-6)
        if self.arbitration_id is not None:
            found &= columns.arbitration_id == self.arbitration_id
        for k, digit in enumerate(self.digits):
            if digit in "Xx":
                continue
            byte, low = divmod(k, 2)
            if byte >= columns.payload.shape[1]:
                return np.zeros(len(elapsed), bool)
            value = columns.payload[:, byte] & 15 if low else columns.payload[:, byte] >> 4
            found &= (value == int(digit, 16)) & (columns.length > byte)
        return found


def label_from_json(path: Path, columns: Columns) -> tuple[str, tuple[str, ...]]:
    """Set the labels of ``columns`` from the JSON file beside a log, where there is one.

    Labels in the log itself win.

    Returns:
        Name of the attack, and warnings.
    """
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    for source, key in ((path.with_name(f"{stem}.json"), None), (path.with_name(ROAD_FILE), stem)):
        try:
            if not source.is_file():
                continue
            if source.stat().st_size > MOST_BYTES:
                return "malicious", (f"{source.name} is too large to describe captures; left out",)
            content = json.loads(source.read_bytes())
            intervals = _road(content, key) if key is not None else _markers(content)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            return "malicious", (f"{source.name} beside the capture cannot be used: {error}",)
        if intervals is None:
            continue
        return _apply(columns, source.name, intervals, _attack_name(stem))
    return "malicious", ()


def _apply(
    columns: Columns, source: str, intervals: list[Interval] | str, name: str
) -> tuple[str, tuple[str, ...]]:
    if isinstance(intervals, str):
        return "malicious", (f"{source}: {intervals}; the capture is unlabelled",)
    attacked = np.zeros(len(columns.timestamp), bool)
    for interval in intervals:
        attacked |= interval.frames(columns)
    if np.any(columns.label >= 0):
        if not intervals or np.array_equal(attacked, columns.label > 0):
            return "malicious", ()
        return "malicious", (
            f"{source} names {np.count_nonzero(attacked)} attacked frames, the flags in the lines "
            f"{np.count_nonzero(columns.label > 0)}: the flags are taken",
        )
    columns.label[:] = attacked
    if intervals and not attacked.any():
        return name, (f"no frame is in the attacks that {source} names",)
    return name, (f"labels are taken from {source}",)


def _attack_name(stem: str) -> str:
    """A log's name without its running numbers: ``fuzzing_attack_1`` is a ``fuzzing_attack``."""
    return re.sub(r"_\d+(?=_|$)", "", stem) or stem


def _markers(content: Any) -> list[Interval] | str | None:
    if not isinstance(content, dict) or not isinstance(content.get("markers"), list):
        return None
    begun: dict[str, float] = {}
    intervals = []
    for marker in content["markers"]:
        identifier, time = str(marker["packet_ID"]), _seconds(marker["time"])
        description = str(marker.get("description", "")).lower()
        if description.startswith("start"):
            begun[identifier] = time
        elif description.startswith("end") and identifier in begun:
            intervals.append(Interval(begun.pop(identifier), time, int(identifier, 16)))
        else:
            return "a marker is neither start nor end of an attack"
    intervals += [Interval(start, math.inf, int(i, 16)) for i, start in begun.items()]
    if not intervals and content.get("label") != "benign":
        return "it names no interval"
    return intervals


def _road(content: Any, stem: str) -> list[Interval] | str | None:
    entry = content.get(stem) if isinstance(content, dict) else None
    if not isinstance(entry, dict):
        return None
    if not {*_IDS, *_DATA, _INTERVAL} & set(entry):
        return []
    span = entry.get(_INTERVAL)
    if span is None:
        return "it says attack, but not when"
    identifier = next((entry[key] for key in _IDS if entry.get(key) is not None), None)
    digits = next((entry[key] for key in _DATA if entry.get(key) is not None), None) or ""
    if not re.fullmatch("[0-9A-Fa-fXx]*", str(digits)):
        raise ValueError(f"injection data {str(digits)[:40]!r} is not hexadecimal")
    anything = identifier is None or not str(identifier).strip("Xx")
    number = None if anything else int(str(identifier), 16)
    start, end = (_seconds(time) for time in span)
    return [Interval(start, end, number, str(digits))]


def _seconds(value: Any) -> float:
    seconds = float(value)
    if math.isnan(seconds):
        raise ValueError("a time is not a number")
    return seconds
