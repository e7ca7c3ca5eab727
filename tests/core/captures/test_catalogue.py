"""The catalogue: facts computed by hand, kept by content, duplicates found."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import catalogue
from core.captures.catalogue import (
    BINS,
    build_catalogue,
    describe,
    facts_of,
    find_duplicates,
    forget,
    frame_bits,
    leaks,
    read_catalogue,
)
from core.captures.formats import can_train_and_test_csv, candump
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.errors import DatasetError, JobStopped
from core.progress import SilentReporter
from core.workspace import Workspace
from tests.core.captures.capture_strategies import Frame, table_of
from tests.core.captures.capture_strategies import frames as frames_of_any_kind

FREE, ATTACKED, TEST = "train_01_attack_free", "train_02_with_attacks", "test_01_known"
HEAD = "timestamp,arbitration_id,data_field,attack\n"


class Listener(SilentReporter):
    def __init__(self, checks: int = 10**9) -> None:
        self.lines, self.checks = list[str](), checks

    def log(self, message: str) -> None:
        self.lines.append(message)

    def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            raise JobStopped("stopped")


def frames(seed: int = 0, n: int = 300, attacked: range = range(0)) -> FrameTable:
    rng = np.random.default_rng(seed)
    rows: list[Frame] = [
        (0.01 * i, int(rng.integers(1, 9)), 0, 8, rng.bytes(8), int(i in attacked))
        for i in range(n)
    ]
    return table_of(rows)


def put(workspace: Workspace, key: str, table: FrameTable) -> Path:
    path = workspace.datasets / key
    can_train_and_test_csv.write(table, path)
    return path


@pytest.fixture
def mine(workspace: Workspace) -> Workspace:
    """A workspace with a data set of three captures, one attacked, one partly unreadable."""
    put(workspace, f"mine/{FREE}/clean.csv", frames(1))
    put(workspace, f"mine/{ATTACKED}/DoS-a.csv", frames(2, attacked=range(100, 200)))
    odd = workspace.datasets / "mine" / TEST / "odd.csv"
    odd.parent.mkdir(parents=True)
    odd.write_text(HEAD + "1.0,123,00,0\nx,123,00,0\n2.0,zz,00,0\n3.0,123,00,1\n")
    return workspace


def test_facts_are_what_a_hand_counts() -> None:
    table = table_of(
        [
            (10.0, 1, 0, 8, b"12345678", 0),
            (11.0, 1, EXTENDED, 0, b"", 1),
            (12.0, 2, REMOTE, 8, b"", 0),
            (14.0, 9, ERROR, 0, b"", 0),
        ]
    )
    facts = facts_of([replace(table, attack_names=("DoS",), time="absolute")])
    assert (facts.frames, facts.ids, facts.duration_s) == (4, 3, 4.0)
    assert (facts.extended_frames, facts.remote_frames, facts.error_frames) == (1, 1, 1)
    assert (facts.attack_frames, facts.attacks) == (1, {"DoS": 1})
    # 13 + 98 + 9 bits; 13 + 54 + 5; 13 + 34 + 3; 20: in 4 s at 500 kbit/s.
    assert frame_bits(table).tolist() == [120, 72, 50, 20]
    assert facts.bus_load == pytest.approx(262 / 2_000_000)


def test_fd_frames_take_longer() -> None:
    plain, fd = ((0.0, 1, flags, 8, b"12345678", 0) for flags in (0, FD))
    bits = frame_bits(table_of([plain, fd]))
    assert bits[1] > bits[0]


def test_the_timeline_counts_each_frame_once_and_places_the_attack() -> None:
    facts = facts_of([frames(n=1000, attacked=range(250, 500))])
    assert len(facts.bin_frames) == BINS
    assert sum(facts.bin_frames) == 1000
    attacked = facts.bin_attacked["attack"]
    assert sum(attacked) == 250
    begin, end = np.flatnonzero(attacked)[[0, -1]] * facts.bin_width
    assert (begin, end) == (pytest.approx(2.5, abs=0.06), pytest.approx(5.0, abs=0.06))


def test_without_times_the_timeline_counts_frames() -> None:
    table = frames(n=400, attacked=range(0, 40))
    facts = facts_of([replace(table, time="missing", timestamp=np.zeros(400))])
    assert (facts.duration_s, facts.bus_load, facts.bin_width) == (None, None, 2.0)
    assert facts.bin_attacked["attack"][:20] == [2] * 20


@given(st.lists(frames_of_any_kind(kinds=True), min_size=1, max_size=120), st.integers(1, 40))
def test_chunks_do_not_show(generated: list[Frame], size: int) -> None:
    whole = replace(table_of(generated), warnings=("last",))
    chunks = [
        replace(
            table_of(generated[i : i + size]),
            attack_names=whole.attack_names,
            warnings=("last",) if i + size >= len(generated) else ("first",),
        )
        for i in range(0, len(generated), size)
    ]
    facts = facts_of(iter(chunks))
    assert facts == facts_of([whole])
    assert facts.frames == sum(facts.bin_frames) == len(generated)
    assert bool(facts.recording) == (len(generated) >= 100)


@pytest.mark.parametrize(("count", "period"), [(1, 0.0), (2, 0.0), (3, 0.0001)])
def test_captures_of_next_to_no_duration_have_no_load(count: int, period: float) -> None:
    facts = facts_of([table_of([(5.0 + period * i, 1, 0, 0, b"", 0) for i in range(count)])])
    assert facts.bus_load is None
    assert sum(facts.bin_frames) == count


def test_nothing_is_known_before_the_catalogue_looked(mine: Workspace) -> None:
    listed = read_catalogue("mine", mine)
    assert [c.key for c in listed] == [
        f"{FREE}/clean.csv",
        f"{ATTACKED}/DoS-a.csv",
        f"{TEST}/odd.csv",
    ]
    assert all(c.facts is None and c.bytes > 0 for c in listed)
    assert read_catalogue("nothing", mine) == []


def test_quarantine_warnings_and_hash_are_kept(mine: Workspace) -> None:
    listener = Listener()
    build_catalogue("mine", mine, listener)
    odd = read_catalogue("mine", mine)[2]
    assert odd.facts is not None
    assert sum(odd.facts.skipped.values()) == 2
    assert [line for line, _, _ in odd.facts.examples] == [3, 4]
    assert len(odd.sha256) == 64
    assert any("odd.csv" in line and "skipped" in line for line in listener.lines)


def test_a_capture_that_cannot_be_used_is_kept_with_the_reason(mine: Workspace) -> None:
    (mine.datasets / "mine" / TEST / "junk.csv").write_bytes(bytes(range(256)) * 10)
    listener = Listener()
    build_catalogue("mine", mine, listener)
    junk = next(c for c in read_catalogue("mine", mine) if c.path.name == "junk.csv")
    assert junk.facts is not None
    assert junk.facts.error
    assert str(mine.root) not in junk.facts.error
    assert any("junk.csv cannot be used" in line for line in listener.lines)


def test_an_equal_content_is_read_once_until_it_changes(
    mine: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    really = catalogue.read_chunks

    def counted(path: Path) -> Iterator[FrameTable]:
        read.append(path.name)
        return really(path)

    monkeypatch.setattr(catalogue, "read_chunks", counted)
    build_catalogue("mine", mine)
    build_catalogue("mine", mine)
    assert len(read) == 3
    clean = mine.datasets / "mine" / FREE / "clean.csv"
    os.utime(clean, (1, 1))
    assert read_catalogue("mine", mine)[0].facts is None
    build_catalogue("mine", mine)
    assert len(read) == 3
    put(mine, f"mine/{FREE}/clean.csv", frames(9))
    build_catalogue("mine", mine)
    assert read[3:] == ["clean.csv"]
    (clean.parent / "clean.json").write_text("{}")
    assert read_catalogue("mine", mine)[0].facts is None
    build_catalogue("mine", mine)
    monkeypatch.setattr(catalogue, "reading_code", lambda: "other")
    assert all(c.facts is None and c.sha256 for c in read_catalogue("mine", mine))


def test_a_stopped_catalogue_goes_on_where_it_was(
    mine: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JobStopped):
        build_catalogue("mine", mine, Listener(checks=2))
    assert [c.facts is not None for c in read_catalogue("mine", mine)] == [True, True, False]
    read: list[str] = []
    really = catalogue.read_chunks
    monkeypatch.setattr(catalogue, "read_chunks", lambda p: read.append(p.name) or really(p))
    build_catalogue("mine", mine)
    assert read == ["odd.csv"]


def test_captures_read_side_by_side_are_the_same(mine: Workspace) -> None:
    alone, together = Listener(), Listener()
    build_catalogue("mine", mine, alone)
    expected = read_catalogue("mine", mine)
    shutil.rmtree(mine.catalogue)
    build_catalogue("mine", mine, together, jobs=2)
    assert read_catalogue("mine", mine) == expected
    assert sorted(together.lines) == sorted(alone.lines)
    assert any("first in line 3: 'x,123,00,0'" in line for line in alone.lines)


def test_a_stop_does_not_wait_for_the_end_of_a_capture(mine: Workspace) -> None:
    endless = mine.datasets / "mine" / TEST / "endless.csv"
    with endless.open("wb") as file:
        file.write(HEAD.encode())
        file.truncate(1 << 40)  # A terabyte that takes no space, and a quarter of an hour to read.

    seen: list[float] = []

    class StopAfterThree(SilentReporter):
        def progress(self, step: str, fraction: float, message: str = "") -> None:
            seen.append(time.monotonic())

        def check(self) -> None:
            if len(seen) == 1 + 3:
                raise JobStopped("stopped")

    with pytest.raises(JobStopped):
        build_catalogue("mine", mine, StopAfterThree(), jobs=4)
    assert time.monotonic() - seen[-1] < 20
    known = {c.path.name for c in read_catalogue("mine", mine) if c.facts}
    assert known == {"clean.csv", "DoS-a.csv", "odd.csv"}


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_catalogue_is_made_anew(mine: Workspace, junk: bytes) -> None:
    build_catalogue("mine", mine)
    for path in mine.catalogue.rglob("*.json"):
        path.write_bytes(junk)
    assert all(c.facts is None for c in read_catalogue("mine", mine))
    build_catalogue("mine", mine)
    assert all(c.facts for c in read_catalogue("mine", mine))


def test_an_unknown_data_set_names_the_known_ones(mine: Workspace) -> None:
    with pytest.raises(DatasetError, match="demo, mine"):
        build_catalogue("yours", mine)


def test_a_forgotten_data_set_is_not_known_but_its_contents_are(mine: Workspace) -> None:
    build_catalogue("mine", mine)
    forget("mine", mine)
    assert list((mine.catalogue / "files").iterdir()) == []
    assert len(list((mine.catalogue / "contents").iterdir())) == 3


def test_a_recording_in_train_and_test_is_told_first_and_loudly(mine: Workspace) -> None:
    put(mine, f"mine/{FREE}/again.csv", frames(1))
    put(mine, f"mine/{TEST}/leak.csv", frames(2, attacked=range(100, 200)))
    listener = Listener()
    build_catalogue("mine", mine, listener)
    leak, again = find_duplicates("mine", mine)
    assert leaks(leak, "mine")
    assert leak.same_file
    assert "a test capture is also trained on" in describe(leak, "mine")
    assert not again.crosses
    assert describe(again, "mine") == (
        f"{FREE}/again.csv and {FREE}/clean.csv have the same content"
    )
    assert any("worthless" in line for line in listener.lines)


def test_a_duplicate_is_told_before_all_of_it_was_read_anew(
    mine: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(mine, f"mine/{TEST}/leak.csv", frames(1))
    build_catalogue("mine", mine)
    monkeypatch.setattr(catalogue, "reading_code", lambda: "other")
    with pytest.raises(JobStopped):
        build_catalogue("mine", mine, Listener(checks=1))
    (leak,) = find_duplicates("mine", mine)
    assert leaks(leak, "mine")


def test_the_same_recording_is_found_in_another_format(mine: Workspace) -> None:
    table = replace(frames(1), labelled=False)
    lines = [
        f"(100.{i:06d}) can0 {table.arbitration_id[i]:03X}#{table.payload[i].tobytes().hex()}\n"
        for i in range(len(table))
    ]
    (mine.datasets / "mine" / TEST / "leak.log").write_text("".join(lines))
    build_catalogue("mine", mine)
    listed = {c.path.name: c.facts for c in read_catalogue("mine", mine)}
    assert listed["leak.log"] is not None
    assert listed["leak.log"].format == candump.NAME
    (leak,) = find_duplicates("mine", mine)
    assert not leak.same_file
    assert leaks(leak, "mine")


def test_a_recording_in_two_data_sets_is_told_from_both_sides(mine: Workspace) -> None:
    put(mine, f"yours/{FREE}/own.csv", frames(7))
    put(mine, f"yours/{TEST}/borrowed.csv", frames(1))
    build_catalogue("mine", mine)
    build_catalogue("yours", mine)
    (here,), (there,) = find_duplicates("mine", mine), find_duplicates("yours", mine)
    assert here.crosses
    assert not leaks(here, "mine")
    assert describe(here, "mine").startswith(f"{FREE}/clean.csv and yours: {TEST}/borrowed.csv")
    assert describe(there, "yours").startswith(f"{TEST}/borrowed.csv and mine: {FREE}/clean.csv")


def test_the_demo_is_made_for_its_catalogue(workspace: Workspace, monkeypatch: object) -> None:
    build_catalogue("demo", workspace)
    listed = read_catalogue("demo", workspace)
    assert len(listed) > 5
    assert find_duplicates("demo", workspace) == []
    for capture in listed:
        assert capture.facts is not None
        assert not capture.facts.error
        assert 0 < (capture.facts.bus_load or 0) <= 1


@pytest.mark.real_data
def test_real_captures_have_plausible_facts(real_data: Path, workspace: Workspace) -> None:
    workspace.datasets.mkdir(parents=True)
    (workspace.datasets / "hcrl_sa").symlink_to(real_data / "hcrl_sa")
    build_catalogue("hcrl_sa", workspace)
    facts = {c.path.name: c.facts for c in read_catalogue("hcrl_sa", workspace)}
    kia = facts["DoS-kia.parquet"]
    assert kia is not None
    assert (kia.frames, kia.ids, kia.attacks) == (181_901, 46, {"DoS": 33_141})
    assert kia.bus_load == pytest.approx(0.606, abs=0.01)
