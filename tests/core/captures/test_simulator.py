"""Properties of simulated traffic: what a bus can carry, and what the vehicle's model promises."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import simulator
from core.captures.frame_table import EXTENDED, FrameTable
from core.captures.readers import read_capture
from core.captures.simulator import (
    ATTACKS,
    CHECKSUM,
    CONSTANT,
    COUNTER,
    PAGE,
    PHASES,
    RECORDING_START_S,
    SIGNAL,
    SPEED,
    AttackSpec,
    Message,
    arbitrate,
    drawn_phases,
    frame_duration_us,
    simulate_recording,
    simulate_vehicle,
)

VEHICLE = simulate_vehicle(5)
BURSTS = ((2.0, 3.5), (4.5, 6.0))
LATE_S = 0.03
"""Longer than any frame waits for the bus."""
ALTERING = ("suppression", "masquerade")
"""Attacks that add no frame."""


def seconds(table: FrameTable) -> np.ndarray:
    """Times from the recording's start."""
    return np.asarray(table.timestamp - RECORDING_START_S)


def columns(table: FrameTable, rows: np.ndarray) -> list[tuple[int, bytes]]:
    """(id, payload) of some frames."""
    payload = (p.tobytes() for p in table.payload[rows])
    return list(zip(table.arbitration_id[rows].tolist(), payload, strict=True))


@pytest.fixture(scope="module")
def clean() -> FrameTable:
    """Eight seconds without attack."""
    return simulate_recording(VEHICLE, 8.0)


@pytest.fixture(scope="module", params=ATTACKS)
def attacked(request: pytest.FixtureRequest) -> FrameTable:
    """Eight seconds with two bursts of each attack."""
    return simulate_recording(VEHICLE, 8.0, AttackSpec(request.param, BURSTS))


class TestVehicles:
    @given(st.integers(0, 2**31))
    def test_are_plausible(self, seed: int) -> None:
        vehicle = simulate_vehicle(seed)
        assert 20 <= len(vehicle.messages) <= 120
        assert 0.18 <= vehicle.bus_load <= 0.62
        assert list(vehicle.ids) == sorted(set(vehicle.ids))
        assert 0 < vehicle.ids[0] <= vehicle.ids[-1] < 0x7FF
        assert any(message.event for message in vehicle.messages)
        for message in vehicle.messages:
            assert 2 <= message.length <= 8
            assert {len(page) for page in message.pages} == {message.length}
            assert 0 < message.jitter_s < message.period_s / 10
            assert message.event or 0.0099 < message.period_s < 1.01
        assert vehicle == simulate_vehicle(seed)

    def test_come_in_all_sizes_and_loads(self) -> None:
        vehicles = [simulate_vehicle(seed) for seed in range(60)]
        counts = [len(vehicle.ids) for vehicle in vehicles]
        loads = [vehicle.bus_load for vehicle in vehicles]
        assert min(counts) < 30
        assert max(counts) > 100
        assert min(loads) < 0.3
        assert max(loads) > 0.5

    def test_can_be_ordered_by_size_and_load(self) -> None:
        for ids, load in ((40, 0.3), (120, 0.6), (60, 0.5)):
            vehicle = simulate_vehicle(1, ids=ids, bus_load=load)
            assert len(vehicle.ids) == ids
            assert vehicle.bus_load == pytest.approx(load, abs=0.03)

    def test_differ_clearly(self) -> None:
        vehicles = [simulate_vehicle(seed) for seed in range(4)]
        for a, b in itertools.combinations(vehicles, 2):
            common = set(a.ids) & set(b.ids)
            assert len(common) < min(len(a.ids), len(b.ids)) / 4
            assert abs(a.frames_per_s - b.frames_per_s) > 1

    @pytest.mark.parametrize("seed", range(4))
    def test_give_urgent_messages_low_identifiers_mostly(self, seed: int) -> None:
        vehicle = simulate_vehicle(seed, ids=100)
        periods = np.array([message.period_s for message in vehicle.messages])
        rank = np.argsort(np.argsort(periods))
        assert 0.5 < np.corrcoef(rank, np.arange(len(rank)))[0, 1] < 0.99


def test_the_same_seed_gives_the_same_recording(attacked: FrameTable) -> None:
    attack = AttackSpec(attacked.attack_names[0], BURSTS)
    again = simulate_recording(VEHICLE, 8.0, attack)
    other = simulate_recording(VEHICLE, 8.0, attack, seed=1)
    for name in ("timestamp", "arbitration_id", "length", "payload", "label", "attack"):
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
        assert not payload[:, message.length :].any()
        assert_bookkeeping(message, payload)
        for number, page in enumerate(message.pages):
            rows = payload[number :: len(message.pages)]
            for i, byte in enumerate(page):
                if byte.kind in (CONSTANT, PAGE):
                    assert (rows[:, i] == byte.base).all()
                seen.add(byte.kind)
    assert seen == set(range(8))


def assert_bookkeeping(message: Message, payload: np.ndarray) -> None:
    """Pages come in turn, counters count, checksums hold."""
    for i, byte in enumerate(message.pages[0]):
        if byte.kind == COUNTER:
            assert (np.diff(payload[:, i] & 15) % 16 == 1).all()
        elif byte.kind == PAGE:
            assert (payload[:, i] == np.arange(len(payload)) % len(message.pages)).all()
        elif byte.kind == CHECKSUM:
            others = np.delete(payload[:, : message.length], i, axis=1)
            number = message.arbitration_id
            expected = np.bitwise_xor.reduce(others, axis=1) ^ (number & 255) ^ (number >> 8)
            assert (payload[:, i] == expected).all()


class TestDriving:
    def recording(self, *phases: tuple[str, float], duration_s: float = 60.0) -> FrameTable:
        return simulate_recording(VEHICLE, duration_s, phases=phases)

    def test_speed_stands_still_then_moves(self) -> None:
        table = self.recording(("standstill", 0.0), ("highway", 30.0))
        followers = [
            (message.arbitration_id, i)
            for message in VEHICLE.messages
            for i, byte in enumerate(message.pages[0])
            if byte.kind == SIGNAL and byte.source == SPEED and len(message.pages) == 1
        ]
        assert followers
        parked = seconds(table) < 29.9
        for number, i in followers:
            here = table.arbitration_id == number
            assert np.ptp(table.payload[here & parked, i]) == 0
            driving = table.payload[here & ~parked, i].astype(int)
            assert driving[-1] > driving[0]

    def test_more_happens_in_town_than_at_a_standstill(self) -> None:
        events = [m.arbitration_id for m in VEHICLE.messages if m.event]
        parked, town = (
            np.isin(self.recording((phase, 0.0), duration_s=200.0).arbitration_id, events).sum()
            for phase in ("standstill", "city")
        )
        assert 2.5 < town / parked < 6

    def test_drawn_drives_cover_the_recording_and_change(self) -> None:
        phases = drawn_phases(np.random.default_rng(0), 300.0)
        names, starts = zip(*phases, strict=True)
        assert set(names) == set(PHASES)
        assert starts[0] == 0
        assert all(10 <= b - a <= 40 for a, b in itertools.pairwise(starts))
        assert all(a != b for a, b in itertools.pairwise(names))
        assert 260 <= starts[-1] < 300

    @pytest.mark.parametrize(
        "phases",
        [(), (("parking", 0.0),), (("city", 1.0),), (("city", 0.0), ("highway", 0.0))],
    )
    def test_impossible_drives_are_refused(self, phases: tuple[tuple[str, float], ...]) -> None:
        with pytest.raises(ValueError, match="standstill, city, highway"):
            self.recording(*phases)


def test_frames_leave_the_bus_one_after_another(attacked: FrameTable) -> None:
    end_us = np.round(seconds(attacked) * 1e6).astype(np.int64)
    assert (np.diff(end_us) >= frame_duration_us(attacked.length)[1:]).all()


class TestAttacks:
    def test_only_frames_inside_bursts_are_labelled(self, attacked: FrameTable) -> None:
        time, label = seconds(attacked), attacked.label == 1
        few = 10 if attacked.attack_names[0] == "slow_spoofing" else 30
        for start, end in BURSTS:
            inside = (time >= start) & (time <= end + LATE_S)
            assert label[inside].sum() > few
            label = label & ~inside
        assert not label.any()
        assert np.array_equal(attacked.attack, attacked.label.astype(np.int16) - 1)

    @pytest.mark.parametrize("kind", [kind for kind in ATTACKS if kind not in ALTERING])
    def test_the_vehicle_does_not_mind_added_frames(self, clean: FrameTable, kind: str) -> None:
        attacked = simulate_recording(VEHICLE, 8.0, AttackSpec(kind, BURSTS))
        own = attacked.label == 0
        for message in VEHICLE.messages:
            here = own & (attacked.arbitration_id == message.arbitration_id)
            there = clean.arbitration_id == message.arbitration_id
            assert np.array_equal(attacked.payload[here], clean.payload[there])

    def test_do_what_they_are_named_after(self, clean: FrameTable, attacked: FrameTable) -> None:
        label = attacked.label == 1
        ids, payload = attacked.arbitration_id[label], attacked.payload[label]
        kind = attacked.attack_names[0]
        sent = set(columns(clean, np.ones(len(clean), bool)))
        if kind not in ("DoS", "fuzzing"):
            assert np.isin(ids, VEHICLE.ids).all()
        if kind == "DoS":
            assert (ids == 0).all()
            assert label.sum() > 3000
        elif kind == "fuzzing":
            assert len(np.unique(ids)) > 500
            assert len(np.unique(payload, axis=0)) > len(payload) * 0.99
        elif kind == "payload_fuzzing":
            assert len(np.unique(ids)) == len(VEHICLE.ids)
            assert len(np.unique(payload, axis=0)) > len(payload) * 0.99
            lengths = {message.arbitration_id: message.length for message in VEHICLE.messages}
            assert [lengths[i] for i in ids.tolist()] == attacked.length[label].tolist()
        elif kind == "malfunction":
            assert len(np.unique(ids)) == len(np.unique(payload, axis=0)) == 1
        elif kind in ("spoofing", "slow_spoofing"):
            assert len(np.unique(ids)) == 1
            assert sum(frame not in sent for frame in columns(attacked, label)) > len(ids) / 2
            inside = (clean.arbitration_id == ids[0]) & within(seconds(clean), BURSTS)
            assert len(ids) / inside.sum() == pytest.approx(2 if kind == "spoofing" else 0.2, 0.1)
        elif kind == "replay":
            before = seconds(attacked) < BURSTS[0][0] + LATE_S
            recorded = set(columns(attacked, before & ~label))
            assert set(columns(attacked, label)) <= recorded
            assert len(np.unique(ids)) > 10

    def test_masquerade_alters_payloads_and_nothing_else(self, clean: FrameTable) -> None:
        table = simulate_recording(VEHICLE, 8.0, AttackSpec("masquerade", BURSTS))
        for name in ("timestamp", "arbitration_id", "length"):
            assert np.array_equal(getattr(table, name), getattr(clean, name))
        altered = (table.payload != clean.payload).any(axis=1)
        label = table.label == 1
        assert not altered[~label].any()
        assert altered[label].mean() > 0.95
        (number,) = np.unique(table.arbitration_id[label])
        (target,) = (m for m in VEHICLE.messages if m.arbitration_id == number)
        assert_bookkeeping(target, table.payload[table.arbitration_id == number])

    @pytest.mark.parametrize("targets", [1, 5])
    def test_suppression_labels_the_frame_after_each_missing_one(
        self, clean: FrameTable, targets: int
    ) -> None:
        attack = AttackSpec("suppression", BURSTS, targets=targets)
        table = simulate_recording(VEHICLE, 8.0, attack)
        sent, kept = (
            dict(zip(*np.unique(t.arbitration_id, return_counts=True), strict=True))
            for t in (clean, table)
        )
        silenced = [number for number in sent if kept.get(number, 0) < sent[number]]
        assert len(silenced) == targets
        during = within(seconds(table), BURSTS, LATE_S)
        assert not np.isin(table.arbitration_id[during], silenced).any()
        missing = sum(sent[number] - kept.get(number, 0) for number in silenced)
        # Several may be missing before one frame.
        assert missing * 0.8 <= table.label.sum() <= missing
        due = within(seconds(clean), BURSTS, LATE_S) & np.isin(clean.arbitration_id, silenced)
        marked = seconds(table)[table.label == 1]
        assert max(np.abs(marked - time).min() for time in seconds(clean)[due]) < LATE_S / 10

    def test_rates_can_be_chosen(self) -> None:
        for kind, rate in (("DoS", 400.0), ("payload_fuzzing", 20.0), ("malfunction", 50.0)):
            table = simulate_recording(VEHICLE, 4.0, AttackSpec(kind, ((1.0, 3.0),), rate))
            assert table.label.sum() == pytest.approx(2 * rate, abs=2)

    def test_several_may_follow_each_other(self) -> None:
        attacks = [
            AttackSpec("fuzzing", ((1.0, 2.0),)),
            AttackSpec("suppression", ((3.0, 4.0),)),
            AttackSpec("fuzzing", ((5.0, 6.0),)),
        ]
        table = simulate_recording(VEHICLE, 7.0, attacks)
        assert table.attack_names == ("fuzzing", "suppression")
        assert set(table.attack[within(seconds(table), [(1.0, 2.0), (5.0, 6.0)])]) == {-1, 0}
        assert set(table.attack[within(seconds(table), [(3.0, 4.0)])]) == {-1, 1}
        assert table.attack[within(seconds(table), [(2.0 + LATE_S, 3.0)])].max() == -1

    def test_impossible_ones_are_refused(self) -> None:
        with pytest.raises(ValueError, match="teleport"):
            AttackSpec("teleport")
        with pytest.raises(ValueError, match="targets"):
            AttackSpec("suppression", targets=0)
        with pytest.raises(ValueError, match="rate"):
            AttackSpec("DoS", rate=0.0)


def within(
    time: np.ndarray, intervals: Iterable[tuple[float, float]], margin: float = 0.0
) -> np.ndarray:
    """Which times lie inside some interval, a margin away from its ends."""
    return np.any([(time >= a + margin) & (time <= b - margin) for a, b in intervals], axis=0)


def traffic_statistics(table: FrameTable) -> dict[str, float]:
    """What traffic is like: rates, and over the ids how regular they are and how payloads move."""
    gap, changed, owner = [], [], []
    for number in np.unique(table.arbitration_id).tolist():
        here = table.arbitration_id == number
        if here.sum() > 20:
            gap.append(np.diff(table.timestamp[here]))
            changed.append((np.diff(table.payload[here].astype(int), axis=0) != 0).sum(axis=1))
            owner.append(number)
    spread = [np.ptp(np.quantile(g, [0.1, 0.9])) / 2 / np.median(g) for g in gap]
    change = np.array([(c > 0).mean() for c in changed])
    duration = float(np.ptp(table.timestamp))
    busy = frame_duration_us(table.length) + np.where(table.flags & EXTENDED, 46, 0)
    return {
        "frames_per_s": len(table) / duration,
        "bus_load": float(busy.sum()) / 1e6 / duration,
        "ids": len(owner),
        "period_median": float(np.median([np.median(g) for g in gap])),
        "interval_spread_quarter": float(np.quantile(spread, 0.25)),
        "interval_spread_median": float(np.median(spread)),
        "interval_spread_three_quarters": float(np.quantile(spread, 0.75)),
        "payload_never_changes": float((change == 0).mean()),
        "payload_always_changes": float((change > 0.95).mean()),
        "changed_bytes": float(np.mean([c.mean() for c in changed])),
        "full_frames": float((table.length == 8).mean()),
    }


BANDS = {
    "frames_per_s": (850, 2700),
    "bus_load": (0.18, 0.62),
    "ids": (20, 120),
    "period_median": (0.009, 0.21),
    "interval_spread_quarter": (0.0005, 0.02),
    "interval_spread_median": (0.002, 0.04),
    "interval_spread_three_quarters": (0.005, 0.12),
    "payload_never_changes": (0.05, 0.5),
    "payload_always_changes": (0.1, 0.85),
    "changed_bytes": (0.3, 2.6),
    "full_frames": (0.5, 1.0),
}
"""Between which values each statistic of a simulated vehicle lies."""


@pytest.fixture(scope="module")
def simulated() -> list[dict[str, float]]:
    """Statistics of some vehicles, a minute of each."""
    recordings = (simulate_recording(vehicle, 60.0) for vehicle in map(simulate_vehicle, range(12)))
    return [traffic_statistics(table) for table in recordings]


@pytest.mark.parametrize("name", BANDS)
def test_statistics_stay_in_their_bands(simulated: list[dict[str, float]], name: str) -> None:
    low, high = BANDS[name]
    values = [statistics[name] for statistics in simulated]
    assert low <= min(values)
    assert max(values) <= high


REAL = (
    "hcrl_sa/train_01_attack_free/attack-free-kia.parquet",
    "hcrl_sa/train_01_attack_free/attack-free-sonata.parquet",
    "set_04/train_01_attack_free/accessory-4.parquet",
    "set_04/train_01_attack_free/attack-free-4.parquet",
)
"""Whole vehicles, without attack."""


@pytest.mark.real_data
@pytest.mark.parametrize("name", sorted(BANDS.keys() - {"ids", "bus_load"}))
def test_statistics_are_like_those_of_real_vehicles(
    look_alikes: list[tuple[dict[str, float], list[dict[str, float]]]], name: str
) -> None:
    """Every real vehicle is less than a factor 2.5 beyond simulated ones of its size and bus load;
    the typical simulated vehicle is less than a factor 2.5 beyond the real ones' range.

    2.5 is the largest step between two usual periods.
    """
    measured = [real[name] for real, _ in look_alikes]
    typical = np.median([like[name] for _, likes in look_alikes for like in likes])
    assert min(measured) / 2.5 < typical < max(measured) * 2.5
    for real, likes in look_alikes:
        assert min(like[name] for like in likes) / 2.5 <= real[name]
        assert real[name] <= max(like[name] for like in likes) * 2.5


@pytest.fixture(scope="module")
def look_alikes(real_data: Path) -> list[tuple[dict[str, float], list[dict[str, float]]]]:
    """Statistics of real vehicles, each with those of simulated ones of its size and bus load."""
    result = []
    for name in REAL:
        real = traffic_statistics(read_capture(real_data / name))
        vehicles = [
            simulate_vehicle(seed, ids=int(real["ids"]), bus_load=real["bus_load"])
            for seed in range(8)
        ]
        likes = [traffic_statistics(simulate_recording(vehicle, 40.0)) for vehicle in vehicles]
        result.append((real, likes))
    return result


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
    for i in idle.tolist():
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
