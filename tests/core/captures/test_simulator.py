"""Properties of simulated traffic: what a bus can carry, and what the vehicle's model promises."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import simulator
from core.captures.frame_table import FrameTable
from core.captures.simulator import (
    ATTACKS,
    CHECKSUM,
    CONSTANT,
    COUNTER,
    RECORDING_START_S,
    AttackSpec,
    arbitrate,
    frame_duration_us,
    simulate_recording,
    simulate_vehicle,
)

VEHICLE = simulate_vehicle(5)
BURSTS = ((2.0, 3.5), (4.5, 6.0))
LATE_S = 0.03
"""Longer than any frame waits for the bus."""


def seconds(table: FrameTable) -> np.ndarray:
    """Times from the recording's start."""
    return np.asarray(table.timestamp - RECORDING_START_S)


@pytest.fixture(scope="module")
def clean() -> FrameTable:
    """Eight seconds without attack."""
    return simulate_recording(VEHICLE, 8.0)


@pytest.fixture(scope="module", params=ATTACKS)
def attacked(request: pytest.FixtureRequest) -> FrameTable:
    """Eight seconds with two bursts of each attack."""
    return simulate_recording(VEHICLE, 8.0, AttackSpec(request.param, BURSTS))


@given(st.integers(0, 2**31))
def test_vehicles_are_plausible(seed: int) -> None:
    vehicle = simulate_vehicle(seed)
    assert 1400 <= vehicle.frames_per_s <= 2400
    assert 20 <= len(vehicle.messages) <= 80
    assert list(vehicle.ids) == sorted(set(vehicle.ids))
    assert 0 < vehicle.ids[0] <= vehicle.ids[-1] < 0x7FF
    for message in vehicle.messages:
        assert 1 <= len(message.kinds) == len(message.base) <= 8
        assert 0 < message.jitter_s < message.period_s / 10
    assert vehicle == simulate_vehicle(seed)


def test_vehicles_differ_clearly() -> None:
    vehicles = [simulate_vehicle(seed) for seed in range(4)]
    for a, b in itertools.combinations(vehicles, 2):
        common = set(a.ids) & set(b.ids)
        assert len(common) < len(a.ids) / 4
        assert abs(a.frames_per_s - b.frames_per_s) > 1


def test_the_same_seed_gives_the_same_recording(attacked: FrameTable) -> None:
    attack = AttackSpec(attacked.attack_names[0], BURSTS)
    again = simulate_recording(VEHICLE, 8.0, attack)
    other = simulate_recording(VEHICLE, 8.0, attack, seed=1)
    for name in ("timestamp", "arbitration_id", "length", "payload", "label"):
        assert np.array_equal(getattr(attacked, name), getattr(again, name))
    assert not np.array_equal(attacked.payload[:500], other.payload[:500])


def test_messages_keep_their_periods_within_jitter_and_waiting(clean: FrameTable) -> None:
    time = seconds(clean)
    for message in VEHICLE.messages:
        sent = time[clean.arbitration_id == message.arbitration_id]
        if message.event:
            assert np.diff(sent).min(initial=1.0) > 0.01
            continue
        place = message.phase_s + message.period_s * np.arange(len(sent) + 1)
        late = sent - place[np.abs(place - sent[0]).argmin() :][: len(sent)]
        assert abs(len(sent) - 8.0 / message.period_s) <= 1
        assert late.min() >= -message.jitter_s
        assert late.max() <= message.jitter_s + LATE_S


def test_counters_count_and_checksums_hold_on_clean_frames(clean: FrameTable) -> None:
    seen = set()
    for message in VEHICLE.messages:
        payload = clean.payload[clean.arbitration_id == message.arbitration_id]
        length = len(message.kinds)
        assert not payload[:, length:].any()
        for i, kind in enumerate(message.kinds):
            if kind == COUNTER:
                assert (np.diff(payload[:, i] & 15) % 16 == 1).all()
            elif kind == CONSTANT:
                assert (payload[:, i] == message.base[i]).all()
            elif kind == CHECKSUM:
                others = np.delete(payload[:, :length], i, axis=1)
                number = message.arbitration_id
                expected = np.bitwise_xor.reduce(others, axis=1) ^ (number & 255) ^ (number >> 8)
                assert (payload[:, i] == expected).all()
            seen.add(kind)
    assert seen == set(range(7))


def test_frames_leave_the_bus_one_after_another(attacked: FrameTable) -> None:
    end_us = np.round(seconds(attacked) * 1e6).astype(np.int64)
    assert (np.diff(end_us) >= frame_duration_us(attacked.length)[1:]).all()


def test_only_injected_frames_inside_bursts_are_labelled(
    clean: FrameTable, attacked: FrameTable
) -> None:
    time, label = seconds(attacked), attacked.label == 1
    for start, end in BURSTS:
        inside = (time >= start) & (time <= end + LATE_S)
        assert label[inside].sum() > 50
        label = label & ~inside
    assert not label.any()
    # What the vehicle sends does not depend on the attack.
    own = attacked.label == 0
    for message in VEHICLE.messages[::7]:
        here = own & (attacked.arbitration_id == message.arbitration_id)
        there = clean.arbitration_id == message.arbitration_id
        assert np.array_equal(attacked.payload[here], clean.payload[there])


def test_attacks_do_what_they_are_named_after(attacked: FrameTable) -> None:
    label = attacked.label == 1
    ids, payload = attacked.arbitration_id[label], attacked.payload[label]
    known = np.isin(ids, VEHICLE.ids)
    kind = attacked.attack_names[0]
    if kind == "DoS":
        assert (ids == 0).all()
        assert label.sum() > 3000
    elif kind == "fuzzing":
        assert len(np.unique(ids)) > 500
        assert len(np.unique(payload, axis=0)) > len(payload) * 0.99
    elif kind == "malfunction":
        assert known.all()
        assert len(np.unique(ids)) == len(np.unique(payload, axis=0)) == 1
    else:
        assert known.all()
        own = attacked.payload[~label][:, None] if kind == "spoofing" else None
        if own is not None:
            assert len(np.unique(ids)) == 1
            same = attacked.payload[(attacked.label == 0) & (attacked.arbitration_id == ids[0])]
            originals = {p.tobytes() for p in same}
            assert sum(p.tobytes() in originals for p in payload) < len(payload) / 2
        else:
            before = seconds(attacked) < BURSTS[0][0] + LATE_S
            recorded = {
                (i, p.tobytes())
                for i, p in zip(
                    attacked.arbitration_id[before & ~label],
                    attacked.payload[before & ~label],
                    strict=True,
                )
            }
            assert all((i, p.tobytes()) in recorded for i, p in zip(ids, payload, strict=True))
            assert len(np.unique(ids)) > 10


def test_an_unknown_attack_is_refused() -> None:
    with pytest.raises(ValueError, match="masquerade"):
        simulate_recording(VEHICLE, 1.0, AttackSpec("masquerade"))


@given(
    st.lists(
        st.tuples(st.integers(0, 3000), st.integers(0, 20), st.integers(0, 8)),
        min_size=1,
        max_size=60,
    )
)
def test_arbitration_is_what_a_bus_does(frames: list[tuple[int, int, int]]) -> None:
    release, ids, length = (np.array(column) for column in zip(*frames, strict=True))
    duration = frame_duration_us(length.astype(np.uint8))
    order, end = arbitrate(release, ids.astype(np.uint32), duration)
    assert sorted(order.tolist()) == list(range(len(frames)))
    start = end - duration[order]
    release, ids = release[order], ids[order]
    assert (start >= release).all()
    assert (start[1:] >= end[:-1]).all()
    # The bus is idle only while nobody waits.
    idle = np.flatnonzero(start[1:] > end[:-1]) + 1
    for i in idle:
        assert start[i] == release[i:].min()
    # Nobody overtakes a lower identifier that waited already, and neighbours are in order.
    waiting = release[1:] <= start[:-1]
    assert not (waiting & (ids[1:] < ids[:-1])).any()
    for i, j in itertools.combinations(range(len(frames)), 2):
        assert not (release[j] == release[i] and ids[j] < ids[i])


def test_frame_durations_match_a_count_by_hand() -> None:
    # 0 bytes: 44 bits, 3 of pause, 34 // 10 = 3 stuffed; 8 bytes: 64 more, 98 // 10 = 9 stuffed.
    assert frame_duration_us(np.array([0, 8], np.uint8)).tolist() == [2 * 50, 2 * 120]
    assert simulator.BIT_US == 2
