"""Files beside a capture that its reader takes labels from: they belong to its content."""

import os
from pathlib import Path

from core.captures.formats.intervals import ROAD_FILE


class LabelFiles:
    """The files of one split folder that may label its captures."""

    def __init__(self, folder: Path) -> None:
        names = os.listdir(folder)  # noqa: PTH208 (names only: folders can be large)
        self._folder = folder
        self._json = {name for name in names if name.endswith(".json")}
        self._twins = {
            n.lower(): n for n in sorted(names, reverse=True) if n.lower()[-4:] == ".csv"
        }

    def of(self, capture: Path) -> list[Path]:
        """``NAME.json``, ROAD's one file for all, and ``labeled_NAME.csv``, where they exist."""
        stem = capture.name.removesuffix(".gz").rsplit(".", 1)[0]
        twin = self._twins.get(f"labeled_{capture.name.split('.')[0]}.csv".lower())
        names = [name for name in (f"{stem}.json", ROAD_FILE) if name in self._json]
        if twin is not None:
            names.append(twin)
        files = (self._folder / name for name in names if name != capture.name)
        return [file for file in files if file.is_file()]
