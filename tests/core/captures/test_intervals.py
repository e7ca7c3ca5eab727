"""Labels from JSON files beside candump logs."""

import json
from pathlib import Path

import pytest

from core.captures.frame_table import FrameTable
from core.captures.readers import read_capture
from tests.core.captures.capture_strategies import write_text

LOG = [
    "(1000.0) can0 0D0#0000000000000000",
    "(1001.0) can0 0D0#FFFF000000000000",
    "(1002.0) can0 123#FFFF",
    "(1003.0) can0 0D0#FFFFAA0000000000",
    "(1004.0) can0 0D0#FF",
]


def road(tmp_path: Path, entry: object, name: str = "fuzzing_attack_1.log") -> FrameTable:
    path = write_text(tmp_path / name, LOG)
    metadata = {"fuzzing_attack_1": entry, "other": {"injection_interval": [0, 9]}}
    (tmp_path / "capture_metadata.json").write_text(json.dumps(metadata))
    return read_capture(path)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"injection_id": "0xd0", "injection_interval": [1, 3]}, [0, 1, 0, 1, 0]),
        ({"injection_id": "XXX", "injection_interval": [1.0, 2.0]}, [0, 1, 1, 0, 0]),
        ({"injection_id": None, "injection_interval": [2, 9]}, [0, 0, 1, 1, 1]),
        (
            {
                "injection_id": "0xd0",
                "injection_data_str": "FFFFXXXXXXXXXXXX",
                "injection_interval": [0, 9],
            },
            [0, 1, 0, 1, 0],
        ),
        (
            {"injected_aid": "D0", "injection_data": "XXXXaA", "injection_interval": [0, 9]},
            [0, 0, 0, 1, 0],
        ),
        ({"injection_id": "XXX", "injection_data_str": "FX", "injection_interval": [0, 9]}, [0]),
        ({"description": "ambient driving"}, [0, 0, 0, 0, 0]),
    ],
)
def test_road_intervals_label_frames(tmp_path: Path, entry: dict, expected: list[int]) -> None:
    if expected == [0]:
        expected = [0, 1, 1, 1, 1]
    table = road(tmp_path, entry)
    assert table.labelled
    assert table.label.tolist() == expected
    assert table.attack_names == (("fuzzing_attack",) if any(expected) else ())


def test_an_attack_without_its_time_leaves_the_capture_unlabelled(tmp_path: Path) -> None:
    table = road(tmp_path, {"injection_id": None, "injection_interval": None})
    assert not table.labelled
    assert any("not when" in warning for warning in table.warnings)


def test_a_packed_log_finds_its_entry_and_others_do_not(tmp_path: Path) -> None:
    assert not road(tmp_path, {"injection_interval": [0, 9]}, "else.log").labelled


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        '{"fuzzing_attack_1": {"injection_interval": [1]}}',
        '{"fuzzing_attack_1": {"injection_interval": ["a", "b"]}}',
        '{"fuzzing_attack_1": {"injection_interval": [0, 9], "injection_id": "0xZZ"}}',
        '{"fuzzing_attack_1": {"injection_interval": [0, 9], "injection_data_str": "0G"}}',
        "[" * 100_000,
    ],
)
def test_an_unusable_json_is_no_error(tmp_path: Path, content: str) -> None:
    path = write_text(tmp_path / "fuzzing_attack_1.log", LOG)
    (tmp_path / "capture_metadata.json").write_text(content)
    table = read_capture(path)
    assert len(table) == 5
    assert not table.labelled
    assert bool(table.warnings) == (content != "[1]")


def test_markers_label_frames_and_flags_win(tmp_path: Path) -> None:
    markers = [
        {"packet_ID": "0xd0", "time": 1.0, "description": "Start of the attack."},
        {"packet_ID": "0xd0", "time": 3.0, "description": "End of the attack."},
    ]
    (tmp_path / "a.json").write_text(json.dumps({"label": "malicious", "markers": markers}))
    path = write_text(tmp_path / "a.log", LOG)
    assert read_capture(path).label.tolist() == [0, 1, 0, 1, 0]
    flags = ["False", "1", "1", "False", "False"]
    write_text(path, [f"{line} {flag}\tFalse" for line, flag in zip(LOG, flags, strict=True)])
    table = read_capture(path)
    assert table.label.tolist() == [0, 1, 1, 0, 0]
    assert any("the flags are taken" in warning for warning in table.warnings)
