"""Text captures the plain way: one line at a time."""

from pathlib import Path

Row = tuple[float, int, bytes, int]
"""Timestamp (s), arbitration id, payload, label."""


def read_can_train_and_test_csv_plainly(path: Path) -> list[Row]:
    """Rows of ``timestamp,arbitration_id,data_field,attack``."""
    rows = []
    with path.open(encoding="ascii") as file:
        next(file)
        for line in file:
            timestamp, identifier, data, attack = line.rstrip("\n").split(",")
            rows.append((float(timestamp), int(identifier, 16), bytes.fromhex(data), int(attack)))
    return rows


def read_candump_plainly(path: Path) -> list[Row]:
    """Rows of ``(1436509053.850870) vcan0 0C9#8021C0071B101000``."""
    rows = []
    with path.open(encoding="ascii") as file:
        for line in file:
            timestamp, _, frame = line.split()[:3]
            identifier, _, data = frame.partition("#")
            rows.append((float(timestamp[1:-1]), int(identifier, 16), bytes.fromhex(data), 0))
    return rows
