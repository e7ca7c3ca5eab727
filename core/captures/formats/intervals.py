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
IN_LOG = "malicious"
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

    def frames(self, columns: Columns, start: float) -> npt.NDArray[np.bool_]:
        """Where ``[F]`` frames of a capture that begins at ``start`` belong to the attack."""
        elapsed = columns.timestamp - start
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


class JsonLabels:
    """Labels from the JSON file beside a log, where there is one; those in the log itself win."""

    def __init__(self, path: Path) -> None:
        stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
        self.names = (IN_LOG, _attack_name(stem))
        """Of attacks told in the log, and of those in the JSON file."""
        self._source = self._problem = ""
        self._intervals: list[Interval] = []
        self._start: float | None = None
        self._named = self._flagged = self._taken = self._attacked = 0
        self._agree = True
        beside = ((path.with_name(f"{stem}.json"), None), (path.with_name(ROAD_FILE), stem))
        for source, key in beside:
            try:
                if not source.is_file():
                    continue
                if source.stat().st_size > MOST_BYTES:
                    self._problem = f"{source.name} is too large to describe captures; left out"
                    return
                content = json.loads(source.read_bytes())
                intervals = _road(content, key) if key is not None else _markers(content)
            except (OSError, ValueError, TypeError, RecursionError) as error:
                self._problem = f"{source.name} beside the capture cannot be used: {error}"
                return
            if isinstance(intervals, str):
                self._problem = f"{source.name}: {intervals}; the capture is unlabelled"
                return
            if intervals is not None:
                self._source, self._intervals = source.name, intervals
                return

    def put(self, columns: Columns) -> None:
        """Set the labels of the next frames of the capture that have none."""
        if not self._source or not len(columns.timestamp):
            return
        if self._start is None:
            self._start = float(columns.timestamp[0])
        attacked = np.zeros(len(columns.timestamp), bool)
        for interval in self._intervals:
            attacked |= interval.frames(columns, self._start)
        unknown = columns.label < 0
        self._agree &= bool((attacked == (columns.label > 0))[~unknown].all())
        self._named += int(np.count_nonzero(attacked))
        self._flagged += int(np.count_nonzero(columns.label > 0))
        self._taken += int(np.count_nonzero(unknown))
        self._attacked += int(np.count_nonzero(attacked & unknown))
        # 2: the second name.
        columns.label = np.where(unknown, 2 * attacked, columns.label).astype(np.int16)

    def warnings(self) -> tuple[str, ...]:
        """What there is to tell of the frames so far."""
        if self._problem:
            return (self._problem,)
        notes = []
        if self._intervals and not self._agree:
            notes.append(
                f"{self._source} names {self._named} attacked frames, the flags in the lines "
                f"{self._flagged}: the flags are taken"
            )
        if self._taken and self._intervals and not self._attacked:
            notes.append(f"no frame is in the attacks that {self._source} names")
        elif self._taken:
            notes.append(f"labels are taken from {self._source}")
        return tuple(notes)


def _attack_name(stem: str) -> str:
    """A log's name without its running numbers: ``fuzzing_attack_1`` is a ``fuzzing_attack``."""
    return re.sub(r"_\d+(?=_|$)", "", stem) or stem


def _markers(content: Any) -> list[Interval] | str | None:
    if not isinstance(content, dict) or not isinstance(content.get("markers"), list):
        return None
    begun: dict[int, float] = {}
    intervals = []
    for marker in content["markers"]:
        if not isinstance(marker, dict) or not {"packet_ID", "time"} <= marker.keys():
            return "a marker has no packet_ID or no time"
        identifier, time = _identifier(marker["packet_ID"]), _seconds(marker["time"])
        description = str(marker.get("description", "")).lower()
        if description.startswith("start"):
            begun.setdefault(identifier, time)
        elif description.startswith("end") and identifier in begun:
            intervals.append(Interval(begun.pop(identifier), time, identifier))
        else:
            return "a marker is neither start nor end of an attack"
    intervals += [Interval(start, math.inf, i) for i, start in begun.items()]
    if not intervals and content.get("label") != "benign":
        return "it names no interval"
    return intervals


def _road(content: Any, stem: str) -> list[Interval] | str | None:
    entry = content.get(stem) if isinstance(content, dict) else None
    if entry is None:
        return None
    if not isinstance(entry, dict):
        return "what it says of this capture is no object"
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
    number = None if anything else _identifier(identifier)
    start, end = (_seconds(time) for time in span)
    return [Interval(start, end, number, str(digits))]


def _identifier(value: Any) -> int:
    """A number of JSON, which is decimal, or hexadecimal digits in a string."""
    return value if isinstance(value, int) else int(str(value), 16)


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except OverflowError as error:
        raise ValueError("a time is beyond all numbers") from error
    if math.isnan(seconds):
        raise ValueError("a time is not a number")
    return seconds
