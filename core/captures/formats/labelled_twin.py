"""Labels of a capture that lie in a labelled CSV beside it, frame by frame."""

from pathlib import Path

import numpy as np

from core.captures.formats import j1939_csv
from core.captures.rows import Columns
from core.errors import CaptureError


def take_labels(path: Path, columns: Columns) -> tuple[list[str], tuple[str, ...]]:
    """Set the labels of ``columns`` from ``labeled_NAME.csv`` beside ``NAME.log``.

    Taken only where the CSV has the same identifiers in the same order.

    Returns:
        Names of the attacks, and warnings.
    """
    wanted = f"labeled_{path.name.split('.')[0]}.csv".lower()
    try:
        twin = next((p for p in sorted(path.parent.iterdir()) if p.name.lower() == wanted), None)
    except OSError:
        return [], ()
    if twin is None:
        return [], ()
    try:
        labelled, names = j1939_csv.read_columns(twin)
    except CaptureError as error:
        return [], (f"labels beside the capture cannot be used: {error}",)
    if not np.array_equal(labelled.arbitration_id, columns.arbitration_id):
        return [], (f"labels in {twin.name} are of other frames and are not taken",)
    columns.label = labelled.label
    return names, (f"labels are taken from {twin.name}",)
