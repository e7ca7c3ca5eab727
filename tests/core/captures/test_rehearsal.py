"""Attacks acted out on clean traffic."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.captures.frame_table import FrameTable
from core.captures.rehearsal import CLEAN_SHARE, KINDS, TAUGHT, clean_run, rehearse
from core.captures.simulator import simulate_recording, simulate_vehicle
from tests.core.graphs.captures import random_capture


@pytest.fixture(scope="module")
def clean() -> FrameTable:
    return simulate_recording(simulate_vehicle(3), 12.0, None, 5)


def rows(table: FrameTable, which: np.ndarray) -> set[tuple[float, int, int, bytes]]:
    """The chosen frames, whatever their order."""
    return {
        (float(table.timestamp[i]), int(table.arbitration_id[i]), int(table.length[i]), p)
        for i, p in zip(which, map(bytes, table.payload[which]), strict=True)
    }


@pytest.mark.parametrize("kind", TAUGHT)
def test_every_recorded_frame_stays_and_what_is_added_is_labelled(
    clean: FrameTable, kind: str
) -> None:
    table = rehearse(clean, kind, 1)
    assert (np.diff(table.timestamp) >= 0).all()
    recorded = rows(clean, np.arange(len(clean)))
    assert recorded <= rows(table, np.flatnonzero(table.label == 0))
    added = len(table) - len(clean)
    events = added - np.count_nonzero(table.label)
    assert 0.02 < np.count_nonzero(table.label) / len(table) < 0.8
    assert 0 < events < 0.05 * len(clean)
    assert table.attack_names == (kind,)
    np.testing.assert_array_equal(table.attack == 0, table.label == 1)
    since = (table.timestamp - table.timestamp[0]) / np.ptp(clean.timestamp)
    assert since[table.label == 1].min() >= CLEAN_SHARE


def attacked(clean: FrameTable, kind: str, seed: int = 1) -> tuple[FrameTable, np.ndarray]:
    table = rehearse(clean, kind, seed)
    return table, np.flatnonzero(table.label)


def test_dos_wins_every_arbitration(clean: FrameTable) -> None:
    table, added = attacked(clean, "DoS")
    assert table.arbitration_id[added].max() < clean.arbitration_id.min()


def test_fuzzing_draws_ids_from_all_there_are(clean: FrameTable) -> None:
    table, added = attacked(clean, "fuzzing")
    ids = table.arbitration_id[added]
    assert ids.max() < 1 << 11
    assert np.mean(np.isin(ids, clean.arbitration_id)) < 0.2
    assert len(np.unique(ids)) > 0.3 * len(ids)


def test_payload_fuzzing_and_malfunction_use_ids_of_the_vehicle(clean: FrameTable) -> None:
    for kind in ("payload_fuzzing", "malfunction", "spoofing", "replay"):
        table, added = attacked(clean, kind)
        assert np.isin(table.arbitration_id[added], clean.arbitration_id).all()


def test_a_burst_of_malfunction_has_one_id(clean: FrameTable) -> None:
    table, added = attacked(clean, "malfunction")
    pauses = np.diff(table.timestamp[added]) > 0.009 * np.ptp(clean.timestamp)
    burst = np.cumsum(np.append(0, pauses))
    pairs = np.unique(np.stack([burst, table.arbitration_id[added]]), axis=1)
    assert burst[-1] > 2
    assert pairs.shape[1] == burst[-1] + 1


def test_replay_repeats_what_was_said(clean: FrameTable) -> None:
    table, added = attacked(clean, "replay")
    said = {(i, p) for _, i, _, p in rows(clean, np.arange(len(clean)))}
    assert all((i, p) in said for _, i, _, p in rows(table, added))


def test_spoofing_forges_payloads(clean: FrameTable) -> None:
    table, added = attacked(clean, "spoofing")
    said = {(i, p) for _, i, _, p in rows(clean, np.arange(len(clean)))}
    forged = [(i, p) not in said for _, i, _, p in rows(table, added)]
    assert np.mean(forged) > 0.5


def test_suppression_takes_frames_out_and_labels_the_next(clean: FrameTable) -> None:
    table, labelled = attacked(clean, "suppression")
    there = rows(table, np.arange(len(table)))
    gone = sorted(rows(clean, np.arange(len(clean))) - there)
    silenced = {number for _, number, _, _ in gone}
    assert len(gone) > 20
    assert len(silenced) < 20
    frames = [row for row in sorted(rows(clean, np.arange(len(clean)))) if row in there]
    times = np.array([row[0] for row in frames])
    next_one = {frames[i] for i in np.searchsorted(times, [g[0] for g in gone]) if i < len(frames)}
    assert rows(table, labelled) == next_one


def test_masquerade_forges_in_place(clean: FrameTable) -> None:
    table, labelled = attacked(clean, "masquerade")
    recorded = {(t, i, n) for t, i, n, _ in rows(clean, np.arange(len(clean)))}
    forged = rows(table, labelled)
    assert len(forged) > 20
    assert all((t, i, n) in recorded for t, i, n, _ in forged)
    assert len(forged & rows(clean, np.arange(len(clean)))) < 0.2 * len(forged)
    # None but those are forged, and none is sent twice.
    events = len(table) - len(clean)
    assert 0 < events < 0.05 * len(clean)


def test_events_are_sent_by_slower_ids_and_change_one_bit_at_most(clean: FrameTable) -> None:
    table = rehearse(clean, "DoS", 4)
    recorded = rows(clean, np.arange(len(clean)))
    quiet = np.flatnonzero(table.label == 0)
    events = [row for row in rows(table, quiet) if row not in recorded]
    span = np.ptp(clean.timestamp)
    for _, number, length, payload in events:
        own = clean.payload[clean.arbitration_id == number]
        assert span / len(own) >= 0.05
        bits = np.bitwise_count(own ^ np.frombuffer(payload, np.uint8)).sum(axis=1)
        assert bits.min() <= 1
        assert not any(payload[length:])


def test_the_seed_decides(clean: FrameTable) -> None:
    one, two, other = (rehearse(clean, "fuzzing", seed) for seed in (1, 1, 2))
    for name in ("timestamp", "arbitration_id", "payload", "label"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert len(other) != len(one)


def test_unknown_kind(clean: FrameTable) -> None:
    with pytest.raises(ValueError, match="got 'jamming'"):
        rehearse(clean, "jamming", 0)


@settings(max_examples=30, deadline=None)
@given(
    frames=st.integers(1, 300),
    ids=st.integers(1, 8),
    seed=st.integers(0, 99),
    kind=st.sampled_from(KINDS),
    width=st.sampled_from([8, 64]),
    extended=st.booleans(),
)
def test_any_traffic_can_be_rehearsed_on(
    frames: int, ids: int, seed: int, kind: str, width: int, extended: bool
) -> None:
    """Few frames, times that go backwards, no payload at all: nothing recorded is lost."""
    capture = random_capture(frames, ids, seed, width, extended)
    table = rehearse(capture, kind, seed)
    if kind in TAUGHT:
        assert rows(capture, np.arange(frames)) <= rows(table, np.arange(len(table)))
    assert (table.timestamp <= capture.timestamp.max() + 1).all()
    assert not table.payload[np.arange(width) >= table.length[:, None]].any()
    assert table.arbitration_id.max() < 1 << 29


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([0, 0, 0], slice(0, 3)),
        ([1, 0, 0, 1, 0], slice(1, 3)),
        ([0, 1, 0, 0], slice(2, 4)),
        ([1, 1], slice(0, 0)),
    ],
)
def test_longest_clean_run(label: list[int], expected: slice) -> None:
    capture = random_capture(len(label), 2, 0)
    capture.label[:] = label
    assert clean_run(capture) == expected
