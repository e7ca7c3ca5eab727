import dataclasses

import pandas as pd
import pytest

from core.config import create_fusion_config
from core.errors import InputError
from dashboard.results import load_predictions, rows_where
from dashboard.window_data import capture_file, frame_rows, frames_of_window, id_text
from dashboard.window_graph import graph_option, in_words, transitions
from tests.dashboard.run_folders import FRAMES, write_capture, write_run

CAPTURE = "test_01_known_vehicle_known_attack/DoS-1.csv"


@pytest.fixture
def row(workspace):
    rows = rows_where(load_predictions(write_run(workspace)), capture=CAPTURE)
    return rows[rows["window"] == 3].iloc[0]


def frames(workspace, row, attacked=range(0)):
    write_capture(workspace, CAPTURE, 5, attacked)
    config = create_fusion_config()
    return frames_of_window(capture_file(workspace, "demo", config, CAPTURE), row, config)


def test_the_frames_of_a_window_are_those_of_its_place(workspace, row):
    shown = frame_rows(frames(workspace, row, range(301, 303)), int(row["first_frame"]))
    assert list(shown["Frame"]) == list(range(300, 400))
    assert shown["Time (ms)"].tolist()[:2] == pytest.approx([0.0, 0.5])
    assert shown["Payload"][0] == "00 00 00 00 00 00 01 2C"
    assert shown["Attack"].tolist()[:4] == ["", "DoS", "DoS", ""]
    assert shown["ID"][1] == "0x101"


def test_windows_by_time_end_with_their_last_frame(workspace, row):
    write_capture(workspace, CAPTURE, 5)
    config = create_fusion_config(data={"detector": {"window": {"duration_s": 0.05}}})
    path = capture_file(workspace, "demo", config, CAPTURE)
    assert len(frames_of_window(path, row, config)) == FRAMES


def test_a_capture_that_has_changed_is_not_passed_off_as_the_old_one(workspace, row):
    path = write_capture(workspace, CAPTURE, 5)
    path.write_text(path.read_text().replace("\n0.", "\n7."))
    with pytest.raises(InputError, match="has changed since this run"):
        frames_of_window(path, row, create_fusion_config())


@pytest.mark.parametrize(
    ("capture", "words"),
    [
        ("test_01/gone.csv", "no longer in the data set"),
        ("../../secret", "no longer in the data set"),
        ("/etc/passwd", "no longer in the data set"),
        ("rehearsed/flood", "acted out"),
    ],
)
def test_a_capture_that_is_not_there_says_so(workspace, capture, words):
    with pytest.raises(InputError, match=words):
        capture_file(workspace, "demo", create_fusion_config(), capture)


def test_a_capture_may_lie_outside_the_workspace(workspace, tmp_path):
    outside = tmp_path / "elsewhere" / CAPTURE
    outside.parent.mkdir(parents=True)
    outside.write_text("x")
    config = create_fusion_config(str(tmp_path / "elsewhere"))
    assert capture_file(workspace, "elsewhere", config, CAPTURE) == outside


def test_ids_of_29_bits_have_eight_digits():
    assert (id_text(0x1F0, False), id_text(0x1F0, True)) == ("0x1F0", "0x000001F0")


def test_the_graph_has_ids_and_counted_transitions(workspace, row):
    # Ids come round in turn, 100 of five: 20 frames each, 99 transitions in a ring.
    table = frames(workspace, row, range(301, 302))
    nodes, edges = transitions(table)
    assert nodes["frames"].tolist() == [20] * 5
    assert nodes["attacked"].tolist() == [0, 1, 0, 0, 0]
    assert edges["count"].sum() == 99
    assert list(zip(edges["source"], edges["target"], strict=True)) == [
        (f"0x10{i}", f"0x10{(i + 1) % 5}") for i in range(5)
    ]
    (series,) = graph_option(table)["series"]
    assert [node["category"] for node in series["data"]] == [0, 1, 0, 0, 0]
    assert in_words(table) == "5 ids and 5 different transitions; attacked: 0x101"


def test_one_frame_alone_is_a_graph_without_transitions(workspace, row):
    table = frames(workspace, row)
    one = dataclasses.replace(
        table,
        **{
            name: getattr(table, name)[:1]
            for name in ("timestamp", "arbitration_id", "flags", "length", "payload", "label")
        },
        attack=table.attack[:1],
    )
    nodes, edges = transitions(one)
    assert (len(nodes), len(edges)) == (1, 0)
    assert graph_option(one)["series"][0]["links"] == []
    assert isinstance(nodes, pd.DataFrame)
