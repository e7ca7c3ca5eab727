"""Labels from JSON files beside candump logs."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ({"injection_id": 0xD0, "injection_interval": [1, 3]}, [0, 1, 0, 1, 0]),
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
        '{"fuzzing_attack_1": {"injection_interval": [0, 1' + "0" * 400 + "]}}",
        '{"fuzzing_attack_1": [0, 9]}',
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


def test_an_attack_that_begins_twice_lasts_from_its_first_start(tmp_path: Path) -> None:
    times = [("Start", 1.0), ("Start", 2.5), ("End", 3.0)]
    markers = [{"packet_ID": 0xD0, "time": time, "description": what} for what, time in times]
    (tmp_path / "a.json").write_text(json.dumps({"label": "malicious", "markers": markers}))
    assert read_capture(write_text(tmp_path / "a.log", LOG)).label.tolist() == [0, 1, 0, 1, 0]


@st.composite
def descriptions(draw: st.DrawFn) -> object:
    """What looks like a description of captures, with anything for its values."""
    scalar = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(10**400)
    )
    value = st.one_of(scalar, st.lists(scalar, max_size=3), st.just({}))
    keys = ["injection_id", "injected_aid", "injection_data_str", "injection_interval"]
    entry = st.dictionaries(st.sampled_from(keys), value)
    words = st.one_of(st.sampled_from(["start", "end"]), value)
    identifiers = st.one_of(st.sampled_from(["0xd0", "XXX"]), value)
    marker = st.one_of(
        value,
        st.fixed_dictionaries({"packet_ID": identifiers, "time": value, "description": words}),
        st.dictionaries(st.sampled_from(["packet_ID", "time", "description"]), value),
    )
    markers = st.fixed_dictionaries({"markers": st.one_of(value, st.lists(marker, max_size=3))})
    return draw(
        st.one_of(value, st.fixed_dictionaries({"a": st.one_of(value, entry)}), entry, markers)
    )


@pytest.mark.parametrize("name", ["a.json", "capture_metadata.json"])
@given(content=descriptions())
def test_no_description_of_a_capture_makes_it_unreadable(
    scratch: Path, name: str, content: object
) -> None:
    folder = scratch / f"described-{name}"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    table = read_capture(write_text(folder / "a.log", LOG))
    assert len(table) == len(LOG)
    assert all("\n" not in warning for warning in table.warnings)
