"""Real files of each format: recognised by content, and counted."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE
from core.captures.readers import detect, read_capture, read_head
from core.errors import CaptureError

pytestmark = pytest.mark.real_data

# file: (format, frames, ids (not of error frames), extended, remote, error, FD, attacked)
COUNTS = {
    "candump/sample-can.log": ("candump", 6158, 34, 0, 0, 0, 0, 0),
    "candump_flags/S-1-1-benign.log": ("candump", 17935, 18, 0, 0, 0, 0, 0),
    "ciciov2024/decimal_spoofing-GAS.csv": ("ciciov2024", 9991, 1, 0, 0, 0, 0, 9991),
    "edge_cases/issue_1256.asc": ("vector-asc", 1457, 6, 0, 0, 0, 0, 0),
    "edge_cases/issue_1299.asc": ("vector-asc", 4, 4, 0, 0, 0, 0, 0),
    "edge_cases/logfile.asc": ("vector-asc", 20, 8, 9, 4, 4, 2, 0),
    "edge_cases/logfile_errorframes.asc": ("vector-asc", 12, 4, 6, 2, 3, 0, 0),
    "edge_cases/single_frame.asc": ("vector-asc", 1, 1, 1, 0, 0, 1, 0),
    "edge_cases/single_frame_us_locale.asc": ("vector-asc", 1, 1, 1, 0, 0, 0, 0),
    "edge_cases/test_CanErrorFrameExt.blf": ("vector-blf", 2, 0, 0, 0, 2, 0, 0),
    "edge_cases/test_CanErrorFrames.asc": ("vector-asc", 4, 0, 0, 0, 4, 0, 0),
    "edge_cases/test_CanFdMessage.asc": ("vector-asc", 3, 3, 1, 0, 0, 3, 0),
    "edge_cases/test_CanFdMessage.blf": ("vector-blf", 2, 1, 0, 0, 0, 2, 0),
    "edge_cases/test_CanFdMessage64.asc": ("vector-asc", 2, 2, 1, 0, 0, 2, 0),
    "edge_cases/test_CanFdMessage64.blf": ("vector-blf", 2, 1, 0, 2, 0, 0, 0),
    "edge_cases/test_CanFdRemoteMessage.asc": ("vector-asc", 1, 1, 1, 1, 0, 0, 0),
    "edge_cases/test_CanMessage.asc": ("vector-asc", 2, 2, 0, 0, 0, 0, 0),
    "edge_cases/test_CanMessage.asc.gz": ("vector-asc", 2, 2, 0, 0, 0, 0, 0),
    "edge_cases/test_CanMessage.blf": ("vector-blf", 2, 1, 0, 0, 0, 0, 0),
    "edge_cases/test_CanMessage.trc": ("peak-trc", 2, 2, 0, 0, 0, 0, 0),
    "edge_cases/test_CanMessage2.blf": ("vector-blf", 2, 1, 0, 0, 0, 0, 0),
    "edge_cases/test_CanMessage_V1_0_BUS1.trc": ("peak-trc", 11, 3, 7, 1, 0, 0, 0),
    "edge_cases/test_CanMessage_V1_1.trc": ("peak-trc", 11, 3, 7, 1, 0, 0, 0),
    "edge_cases/test_CanMessage_V1_3.trc": ("peak-trc", 11, 3, 7, 1, 0, 0, 0),
    "edge_cases/test_CanMessage_V2_0_BUS1.trc": ("peak-trc", 11, 3, 7, 1, 0, 0, 0),
    "edge_cases/test_CanMessage_V2_1.trc": ("peak-trc", 11, 3, 7, 1, 0, 0, 0),
    "edge_cases/test_CanRemoteMessage.asc": ("vector-asc", 3, 3, 0, 3, 0, 0, 0),
    "gvret/221210-1-2021-dcan-car-scanner-elm327.csv": ("gvret-csv", 1845, 72, 0, 0, 0, 0, 0),
    "gvret/230606-1-2021-epcu-control-board-only.csv": ("gvret-csv", 9473, 22, 0, 0, 0, 0, 0),
    "gvret/231016-2019-srscm-bench-pcan-ccan.csv": ("gvret-csv", 4326, 5, 0, 0, 0, 0, 0),
    "j1939/labeled_TSC1.csv": ("j1939-csv", 21568, 90, 21568, 0, 0, 0, 923),
    "j1939/tsc1.log": ("candump-console", 21568, 90, 21568, 0, 0, 0, 923),
    "mf4/00000002.MF4": ("mf4", 9600, 50, 9600, 0, 0, 0, 0),
    "otids_bare/48.csv": ("otids", 34894, 20, 0, 0, 0, 0, 0),
    "trc/2009_Zebra_Frozenbattery.trc": ("peak-trc", 6279, 16, 0, 0, 0, 0, 0),
    "trc/2011_Enerdel_BrokenRLEC.txt": ("peak-trc", 2420, 36, 0, 0, 0, 0, 0),
    "vector_asc/Main Relay (+) On.asc": ("vector-asc", 738, 24, 0, 0, 0, 0, 0),
}


@pytest.fixture
def formats(real_data: Path) -> Path:
    """The folder of samples of formats."""
    folder = real_data / "formats"
    if not folder.is_dir():
        pytest.skip(f"no samples of formats at {folder}")
    return folder


@pytest.mark.parametrize("name", COUNTS)
def test_a_real_file_is_recognised_and_counted(formats: Path, name: str) -> None:
    path = formats / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    reader = detect(Path("no.ending"), read_head(path))
    assert reader is not None
    table = read_capture(path)
    error = table.flags & ERROR != 0
    kinds = [int(np.count_nonzero(table.flags & bit)) for bit in (EXTENDED, REMOTE, ERROR, FD)]
    ids = len(set(table.arbitration_id[~error].tolist()))
    got = (reader.name, len(table), ids, *kinds, int(table.label.sum()))
    assert got == COUNTS[name]
    assert table.skipped.counts == {}


def files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def test_no_other_sample_is_taken_for_a_capture(formats: Path) -> None:
    for path in files(formats):
        if path.suffix in (".dbc", ".json"):
            with pytest.raises(CaptureError, match="text that is no known capture format"):
                read_capture(path)


def test_flags_in_the_lines_win_over_the_intervals_beside_them(formats: Path) -> None:
    path = next((formats / "candump_flags").glob("*DOUBLE*.log"))
    table = read_capture(path)
    assert set(table.arbitration_id[table.label == 1].tolist()) == {0x110, 0x410}
    assert int(table.label.sum()) == 661
    assert any("the flags are taken" in warning for warning in table.warnings)


def test_the_attack_in_j1939_keeps_its_name(formats: Path) -> None:
    for name in ("labeled_TSC1.csv", "tsc1.log"):
        assert read_capture(formats / "j1939" / name).attack_names == ("high_torque_command",)


def test_the_same_frames_in_all_versions_of_trc(formats: Path) -> None:
    first, *others = [
        read_capture(path) for path in sorted((formats / "edge_cases").glob("*_V*.trc"))
    ]
    for other in others:
        assert other.arbitration_id.tolist() == first.arbitration_id.tolist()
        assert other.payload.tolist() == first.payload.tolist()
        assert other.flags.tolist() == first.flags.tolist()
