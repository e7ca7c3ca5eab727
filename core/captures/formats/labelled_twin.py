"""Labels of a capture that lie in a labelled CSV beside it, frame by frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.captures.formats import j1939_csv
from core.captures.rows import ALL_FRAMES, Columns
from core.errors import CaptureError


def labelled_twin(path: Path) -> Path | None:
    """``labeled_NAME.csv`` beside ``NAME.log``, whatever the case of its name."""
    wanted = f"labeled_{path.name.split('.')[0]}.csv".lower()
    try:
        beside = sorted(path.parent.iterdir())
        return next((p for p in beside if p.name.lower() == wanted and p.is_file()), None)
    except OSError:
        return None


def take_labels(twin: Path, columns: Columns) -> tuple[Sequence[str], tuple[str, ...]]:
    """Set the labels of a whole capture's ``columns`` from the CSV beside it.

    Taken only where the CSV has the same identifiers in the same order.

    Returns:
        Names of the attacks, and warnings.
    """
    try:
        labelled = next(j1939_csv.read_chunks(twin, ALL_FRAMES))
    except CaptureError as error:
        return (), (f"labels beside the capture cannot be used: {error}",)
    if not np.array_equal(labelled.arbitration_id, columns.arbitration_id):
        return (), (f"labels in {twin.name} are of other frames and are not taken",)
    if not labelled.labelled:
        return (), (f"{twin.name} has no labels",)
    columns.label = labelled.attack + 1
    return labelled.attack_names, (f"labels are taken from {twin.name}",)
