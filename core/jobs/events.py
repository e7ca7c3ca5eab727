"""What a run said, line by line: an append-only file of JSON events.

One event per line: ``{"seq", "time", "type", ...}`` with ``type`` one of

- ``progress``: ``step``, ``fraction`` (of the step), ``overall`` (of the run), ``message``
- ``metrics``: ``step``, ``values`` (name -> number, null where it is not finite)
- ``log``: ``message``
- ``state``: ``state`` and, when it failed, ``error``

``seq`` counts from 1 without gaps; ``time`` is Unix seconds. The last line may be torn (the process
was killed, the disk was full): readers leave it out, writers start a new line after it.
"""

import json
import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import StorageError

Event = dict[str, Any]

KEPT_IN_MEMORY = 2000
"""Events of one run that stay in memory; older ones are read from its file."""


class EventLog:
    """Appends to a run's events file and keeps the last events in memory. Safe between threads."""

    def __init__(self, path: Path, keep: int = KEPT_IN_MEMORY) -> None:
        self.path = path
        earlier, _ = read_events(path)
        self._recent: deque[Event] = deque(earlier, maxlen=keep)
        self._seq = self._recent[-1]["seq"] if self._recent else 0
        self._lock = threading.Lock()
        self._torn = _ends_torn(path)

    @property
    def last_seq(self) -> int:
        """Number of the newest event, 0 when there is none."""
        return self._seq

    def append(self, type: str, **values: Any) -> Event:
        """Write one event and return it.

        Raises:
            StorageError: if it cannot be written (no space, folder removed).
        """
        with self._lock:
            event = {"seq": self._seq + 1, "time": round(time.time(), 3), "type": type, **values}
            line = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write("\n" + line if self._torn else line)
            except OSError as error:
                self._torn = True
                raise StorageError(
                    f"cannot write {self.path}: {error.strerror or error}"
                ) from error
            self._torn = False
            self._seq += 1
            self._recent.append(event)
            return event

    def after(self, seq: int) -> list[Event]:
        """Events with a number above ``seq``, oldest first."""
        with self._lock:
            recent = list(self._recent)
        if not recent or recent[0]["seq"] <= seq + 1:
            return [event for event in recent if event["seq"] > seq]
        return [event for event in read_events(self.path)[0] if event["seq"] > seq]


def read_events(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """Complete events from byte ``offset`` on, and the offset to go on from.

    A missing file holds no events. Lines that are no events (torn by a crash) are left out.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    parsed = (_parse(line) for line in data[:end].splitlines())
    return [event for event in parsed if event is not None], offset + end


def finite(values: Mapping[str, Any]) -> dict[str, float | None]:
    """Plain numbers for JSON: NumPy and torch scalars become floats, not-a-number becomes null."""
    plain = {name: v if isinstance(v, int) else float(v) for name, v in values.items()}
    return {name: v if math.isfinite(v) else None for name, v in plain.items()}


def _parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("seq"), int) else None


def _ends_torn(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() != b"\n"
