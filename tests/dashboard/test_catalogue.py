from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from core.captures.catalogue import CaptureFacts, Listed
from dashboard.attack_timeline import attack_timeline, in_words
from dashboard.catalogue import (
    capture_rows,
    kinds_of_frames,
    note,
    numbers,
    progress_note,
    quarantine_note,
    quarantine_rows,
)

FACTS = CaptureFacts(
    format="candump",
    frames=1000,
    ids=12,
    remote_frames=1,
    time="relative",
    duration_s=10.0,
    bus_load=0.25,
    labelled=True,
    attack_frames=150,
    attacks={"DoS": 100, "fuzzing": 50},
    bin_width=2.5,
    bin_frames=[250, 250, 250, 250],
    bin_attacked={"DoS": [0, 100, 0, 0], "fuzzing": [0, 0, 25, 25]},
    skipped={"id is not hexadecimal": 2, "timestamp is missing": 30},
    examples=[
        [4, "timestamp is missing", "a"],
        [5, "timestamp is missing", "b"],
        [9, "id is not hexadecimal", "c"],
    ],
    warnings=["32 of 1032 lines skipped"],
)
KNOWN = Listed("train_01", Path("a.log"), 2000, "ab" * 32, FACTS)


def test_a_row_holds_numbers_that_sort():
    row = capture_rows([KNOWN]).iloc[0]
    assert (row["Frames"], row["IDs"], row["Skipped"]) == (1000, 12, 32)
    assert row["Attacked"] == pytest.approx(0.15)
    assert row["Attacks"] == "DoS, fuzzing"


def test_what_is_not_known_is_empty_and_never_zero():
    unknown = replace(KNOWN, facts=None)
    unusable = replace(KNOWN, facts=CaptureFacts(error="binary data"))
    unlabelled = replace(KNOWN, facts=replace(FACTS, labelled=False, warnings=[]))
    rows = capture_rows([unknown, unusable, unlabelled])
    empty = rows[["Frames", "IDs", "Duration (s)", "Bus load", "Attacked", "Skipped"]].isna()
    assert empty.iloc[:2].all(axis=None)
    assert list(empty.iloc[2]) == [False, False, False, False, True, False]
    assert list(rows["Note"]) == ["not looked at yet", "cannot be used", "no labels"]
    assert note(KNOWN) == "1 warning"


def test_progress_is_told_only_while_something_is_missing():
    unknown = replace(KNOWN, facts=None)
    assert progress_note([KNOWN]) == ""
    assert "1 of 2" in progress_note([KNOWN, unknown])
    assert "these captures" in progress_note([unknown])


def test_numbers_are_rounded_for_reading():
    assert list(numbers(FACTS).values()) == ["1,000", "12", "10 s", "25 %", "15.00 %"]
    bare = replace(FACTS, duration_s=None, bus_load=None, labelled=False, time="missing")
    assert list(numbers(bare).values()) == ["1,000", "12", "–", "–", "–"]
    assert kinds_of_frames(FACTS) == "candump, relative times, 1 remote frame"
    assert "no times" in kinds_of_frames(bare)


def test_the_quarantine_names_the_most_frequent_reason_first_with_its_first_line():
    rows = quarantine_rows(FACTS)
    assert list(rows["Reason"]) == ["timestamp is missing", "id is not hexadecimal"]
    assert list(rows["First at line"]) == [4, 9]
    assert list(rows["It reads"]) == ["a", "c"]


def test_what_cannot_be_used_is_named_and_what_was_set_aside_is_counted():
    whole = replace(KNOWN, facts=replace(FACTS, skipped={}, examples=[]))
    junk = replace(KNOWN, path=Path("junk.blf"), facts=CaptureFacts(error="binary data"))
    assert quarantine_note([whole]) == ""
    note = quarantine_note([whole, KNOWN, junk])
    assert note.startswith("Cannot be used: `junk.blf`. 32 lines set aside in `a.log`.")
    many = [replace(junk, path=Path(f"{n}.blf")) for n in range(9)]
    assert "`0.blf`, `1.blf`, `2.blf` and 6 more." in quarantine_note(many)


def test_the_timeline_stacks_attacks_on_what_is_none():
    figure = attack_timeline(FACTS)
    heights = pd.DataFrame({area.name: area.y for area in figure.data})
    assert list(heights.columns) == ["no attack", "DoS", "fuzzing"]
    assert (heights.sum(axis=1) == 100.0).all()
    assert figure.layout.xaxis.title.text == "time since the first frame (s)"
    assert in_words(FACTS) == (
        "DoS: 100 frames between 2.5 s and 5.0 s; fuzzing: 50 frames between 5.0 s and 10.0 s"
    )


def test_without_times_the_timeline_counts_frames():
    facts = replace(FACTS, duration_s=None, bin_width=250.0)
    assert attack_timeline(facts).layout.xaxis.title.text == "frame"
    assert in_words(facts).startswith("DoS: 100 frames between frame 250 and 500")
