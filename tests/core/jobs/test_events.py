import math

import numpy as np
import pytest

from core.errors import StorageError
from core.jobs.events import EventLog, finite, read_events


def test_events_are_numbered_from_one_and_read_back(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.append("log", message="first")
    log.append("metrics", step="gat", values={"loss": 0.5})
    events, _ = read_events(tmp_path / "events.jsonl")
    assert [e["seq"] for e in events] == [1, 2]
    assert events[1]["values"] == {"loss": 0.5}


def test_torn_last_line_is_left_out_and_written_after(tmp_path):
    path = tmp_path / "events.jsonl"
    EventLog(path).append("log", message="whole")
    with path.open("a") as file:
        file.write('{"seq": 2, "type": "lo')
    assert [e["message"] for e in read_events(path)[0]] == ["whole"]
    EventLog(path).append("log", message="after the crash")
    assert [(e["seq"], e["message"]) for e in read_events(path)[0]] == [
        (1, "whole"),
        (2, "after the crash"),
    ]


def test_reading_goes_on_from_an_offset_and_waits_for_the_end_of_a_line(tmp_path):
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.append("log", message="one")
    _, offset = read_events(path)
    with path.open("a") as file:
        file.write('{"seq": 2, ')
    assert read_events(path, offset) == ([], offset)
    with path.open("a") as file:
        file.write('"type": "log"}\n')
    events, _ = read_events(path, offset)
    assert [e["seq"] for e in events] == [2]


def test_memory_is_bounded_and_older_events_come_from_the_file(tmp_path):
    log = EventLog(tmp_path / "events.jsonl", keep=3)
    for _ in range(10):
        log.append("log", message="x")
    assert len(log._recent) == 3
    assert [e["seq"] for e in log.after(8)] == [9, 10]
    assert [e["seq"] for e in log.after(2)] == list(range(3, 11))


def test_missing_file_holds_no_events(tmp_path):
    assert read_events(tmp_path / "none.jsonl") == ([], 0)


def test_numpy_numbers_become_plain_and_not_a_number_becomes_null():
    assert finite({"a": np.float32(0.5), "b": math.nan, "c": 3}) == {"a": 0.5, "b": None, "c": 3}


def test_a_removed_folder_is_a_storage_error(tmp_path):
    log = EventLog(tmp_path / "gone" / "events.jsonl")
    with pytest.raises(StorageError, match="cannot write"):
        log.append("log", message="x")
