"""Every real capture: recognised by content, and counted by the command.

The figures were counted without this project's readers: text line by line with a pattern of the
grammar, parquet with pyarrow, J1939 labels in their CSV, the rest with python-can. Where these
differ from python-can: it takes some frames on a CAN FD bus for CAN FD that are classical ones by
their flags, or remote ones, which CAN FD does not have.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.captures.readers import detect, read_capture, read_head
from core.cli.main import main
from core.errors import CaptureError

pytestmark = pytest.mark.real_data

PARQUET = "can-train-and-test-parquet"

# Pattern of one file: (format, frames, ids (not of error frames), extended, remote, error, FD,
# attacked). Attacked is None where the file does not say which frames are attacks. No line of these
# files is bad. 48.csv has 34,893 line ends, and one more frame after the last of them.
COUNTS: dict[str, tuple[str, int, int, int, int, int, int, int | None]] = {
    "formats/candump/sample-can.log": ("candump", 6158, 34, 0, 0, 0, 0, None),
    "formats/candump_flags/S-1-1-benign.log": ("candump", 17935, 18, 0, 0, 0, 0, 0),
    "formats/candump_flags/*-CONST-*.log": ("candump", 17935, 18, 0, 0, 0, 0, 60),
    "formats/candump_flags/*-DOUBLE-*.log": ("candump", 17935, 18, 0, 0, 0, 0, 661),
    "formats/ciciov2024/decimal_spoofing-GAS.csv": ("ciciov2024", 9991, 1, 0, 0, 0, 0, 9991),
    "formats/edge_cases/issue_1256.asc": ("vector-asc", 1457, 6, 0, 0, 0, 0, None),
    "formats/edge_cases/issue_1299.asc": ("vector-asc", 4, 4, 0, 0, 0, 0, None),
    "formats/edge_cases/logfile.asc": ("vector-asc", 20, 8, 9, 4, 4, 2, None),
    "formats/edge_cases/logfile_errorframes.asc": ("vector-asc", 12, 4, 6, 2, 3, 0, None),
    "formats/edge_cases/single_frame.asc": ("vector-asc", 1, 1, 1, 0, 0, 1, None),
    "formats/edge_cases/single_frame_us_locale.asc": ("vector-asc", 1, 1, 1, 0, 0, 0, None),
    "formats/edge_cases/test_CanErrorFrameExt.blf": ("vector-blf", 2, 0, 0, 0, 2, 0, None),
    "formats/edge_cases/test_CanErrorFrames.asc": ("vector-asc", 4, 0, 0, 0, 4, 0, None),
    "formats/edge_cases/test_CanFdMessage.asc": ("vector-asc", 3, 3, 1, 0, 0, 3, None),
    "formats/edge_cases/test_CanFdMessage.blf": ("vector-blf", 2, 1, 0, 0, 0, 2, None),
    "formats/edge_cases/test_CanFdMessage64.asc": ("vector-asc", 2, 2, 1, 0, 0, 2, None),
    "formats/edge_cases/test_CanFdMessage64.blf": ("vector-blf", 2, 1, 0, 2, 0, 0, None),
    "formats/edge_cases/test_CanFdRemoteMessage.asc": ("vector-asc", 1, 1, 1, 1, 0, 0, None),
    "formats/edge_cases/test_CanMessage.asc": ("vector-asc", 2, 2, 0, 0, 0, 0, None),
    "formats/edge_cases/test_CanMessage.asc.gz": ("vector-asc", 2, 2, 0, 0, 0, 0, None),
    "formats/edge_cases/test_CanMessage.blf": ("vector-blf", 2, 1, 0, 0, 0, 0, None),
    "formats/edge_cases/test_CanMessage.trc": ("peak-trc", 2, 2, 0, 0, 0, 0, None),
    "formats/edge_cases/test_CanMessage2.blf": ("vector-blf", 2, 1, 0, 0, 0, 0, None),
    "formats/edge_cases/test_CanMessage_V1_0_BUS1.trc": ("peak-trc", 11, 3, 7, 1, 0, 0, None),
    "formats/edge_cases/test_CanMessage_V1_1.trc": ("peak-trc", 11, 3, 7, 1, 0, 0, None),
    "formats/edge_cases/test_CanMessage_V1_3.trc": ("peak-trc", 11, 3, 7, 1, 0, 0, None),
    "formats/edge_cases/test_CanMessage_V2_0_BUS1.trc": ("peak-trc", 11, 3, 7, 1, 0, 0, None),
    "formats/edge_cases/test_CanMessage_V2_1.trc": ("peak-trc", 11, 3, 7, 1, 0, 0, None),
    "formats/edge_cases/test_CanRemoteMessage.asc": ("vector-asc", 3, 3, 0, 3, 0, 0, None),
    "formats/gvret/221210-1-*.csv": ("gvret-csv", 1845, 72, 0, 0, 0, 0, None),
    "formats/gvret/221210-2-*.csv": ("gvret-csv", 638, 21, 0, 0, 0, 0, None),
    "formats/gvret/230606-*.csv": ("gvret-csv", 9473, 22, 0, 0, 0, 0, None),
    "formats/gvret/231016-2019-srscm-bench-pcan-ccan.csv": ("gvret-csv", 4326, 5, 0, 0, 0, 0, None),
    "formats/j1939/labeled_TSC1.csv": ("j1939-csv", 21568, 90, 21568, 0, 0, 0, 923),
    "formats/j1939/tsc1.log": ("candump-console", 21568, 90, 21568, 0, 0, 0, 923),
    "formats/mf4/00000002.MF4": ("mf4", 9600, 50, 9600, 0, 0, 0, None),
    "formats/otids_bare/48.csv": ("otids", 34894, 20, 0, 0, 0, 0, None),
    "formats/trc/2009_Zebra_Frozenbattery.trc": ("peak-trc", 6279, 16, 0, 0, 0, 0, None),
    "formats/trc/2011_Enerdel_BrokenRLEC.txt": ("peak-trc", 2420, 36, 0, 0, 0, 0, None),
    "formats/vector_asc/Main Relay (+) On.asc": ("vector-asc", 738, 24, 0, 0, 0, 0, None),
    "hcrl_sa/test_01_*/DoS-sonata.parquet": (PARQUET, 149547, 28, 0, 0, 0, 0, 32422),
    "hcrl_sa/test_01_*/fuzzing-kia.parquet": (PARQUET, 249990, 2048, 0, 0, 0, 0, 39812),
    "hcrl_sa/test_03_*/malfunction-kia.parquet": (PARQUET, 173436, 45, 0, 0, 0, 0, 7401),
    "hcrl_sa/train_01_*/attack-free-kia.parquet": (PARQUET, 192516, 45, 0, 0, 0, 0, 0),
    "hcrl_sa/train_01_*/attack-free-sonata.parquet": (PARQUET, 117173, 27, 0, 0, 0, 0, 0),
    "hcrl_sa/train_02_*/DoS-kia.parquet": (PARQUET, 181901, 46, 0, 0, 0, 0, 33141),
    "hcrl_sa/train_02_*/fuzzing-sonata.parquet": (PARQUET, 135670, 2048, 0, 0, 0, 0, 18118),
    "set_04/test_01_*/standstill-1.parquet": (PARQUET, 306189, 50, 0, 0, 0, 0, 7862),
    "set_04/train_01_*/accessory-3.parquet": (PARQUET, 31991, 13, 0, 0, 0, 0, 0),
    "set_04/train_01_*/accessory-4.parquet": (PARQUET, 52783, 48, 0, 0, 0, 0, 0),
    "set_04/train_01_*/attack-free-4.parquet": (PARQUET, 336011, 54, 0, 0, 0, 0, 0),
    "set_04/train_02_*/rpm-accessory-3.parquet": (PARQUET, 157883, 50, 0, 0, 0, 0, 229),
    "set_04/train_02_*/speed-accessory-3.parquet": (PARQUET, 249865, 50, 0, 0, 0, 0, 205),
    "set_04/train_02_*/untargeted_*.parquet": (PARQUET, 261358, 54, 0, 0, 0, 0, 247),
    "set_04/train_02_*/valid_systematic-3.parquet": (PARQUET, 331046, 54, 0, 0, 0, 0, 2047),
}


@pytest.fixture
def formats(real_data: Path) -> Path:
    """The folder of samples of formats."""
    folder = real_data / "formats"
    if not folder.is_dir():
        pytest.skip(f"no samples of formats at {folder}")
    return folder


@pytest.mark.parametrize("name", COUNTS)
def test_a_real_file_is_recognised_and_counted(real_data: Path, tmp_path: Path, name: str) -> None:
    path = next(real_data.glob(name), None)
    if path is None:
        pytest.skip(f"no {name} in {real_data}")
    reader = detect(Path("no.ending"), read_head(path))
    assert reader is not None
    assert main(["ingest", str(path), "--report", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    kinds = [report[f"{kind}_frames"] for kind in ("extended", "remote", "error", "fd")]
    attacked = report["attack_frames"] if report["labelled"] else None
    assert (reader.name, report["frames"], report["ids"], *kinds, attacked) == COUNTS[name]
    assert report["format"] == reader.name
    assert report["attack_frames"] == (attacked or 0)
    assert report["skipped"] == {}


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
