"""Made-up vehicles on a made-up bus, for the demo data set, tests and benchmarks.

A vehicle is a set of messages with periods, jitter and payload layouts. A recording is all their
frames, with the attacker's, put through the arbitration of one 500 kbit/s bus. Everything follows
from seeds, and there is no loop over frames.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import FrameTable

BIT_US = 2
"""Duration of a bit at 500 kbit/s."""
RECORDING_START_S = 1_700_000_000
"""Date of the first recording, so that timestamps look like a logger's."""

ATTACKS = ("DoS", "fuzzing", "spoofing", "replay", "malfunction")
# How many frames a second an attacker adds.
_DOS_HZ, _FUZZING_HZ, _MALFUNCTION_HZ = 1600, 900, 250

CONSTANT, COUNTER, CHECKSUM, SIGNAL, SIGNAL_LOW, NOISE, STATUS = range(7)
"""What a payload byte holds. A ``SIGNAL_LOW`` byte is the lower half of the signal before it."""


@dataclass(frozen=True)
class Message:
    """One message of a vehicle."""

    arbitration_id: int
    period_s: float
    """Time between two frames; of an event message, on average."""
    jitter_s: float
    """Largest deviation of a frame from its place in the period, to either side."""
    phase_s: float
    event: bool
    kinds: tuple[int, ...]
    """What each payload byte holds."""
    base: tuple[int, ...]
    """Value of each constant byte, upper half of each counter byte, ground of the others."""


@dataclass(frozen=True)
class VehicleModel:
    """A vehicle: its messages by identifier, and the seed they came from."""

    seed: int
    messages: tuple[Message, ...]

    @property
    def frames_per_s(self) -> float:
        """Frames a second without attack."""
        return sum(1 / message.period_s for message in self.messages)

    @property
    def ids(self) -> tuple[int, ...]:
        """All identifiers, ascending."""
        return tuple(message.arbitration_id for message in self.messages)


@dataclass(frozen=True)
class AttackSpec:
    """What an attacker does, and when."""

    kind: str
    """One of :data:`ATTACKS`."""
    bursts: tuple[tuple[float, float], ...] = ()
    """(start, end) in seconds from the recording's start."""


class _Frames(NamedTuple):
    """Frames that ask for the bus: columns ``[F]``, payload ``[F, 8]``."""

    release_us: npt.NDArray[np.int64]
    arbitration_id: npt.NDArray[np.uint32]
    length: npt.NDArray[np.uint8]
    payload: npt.NDArray[np.uint8]


def simulate_vehicle(seed: int) -> VehicleModel:
    """A vehicle of its own: 1500 to 2200 frames/s, own identifiers, periods and payload layouts."""
    rng = np.random.default_rng([seed, 1])
    target = rng.uniform(1500, 2200)
    checksums, counters = rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.9)
    short = rng.uniform(0.0, 0.3)
    # Half to three quarters of the traffic comes from 10 ms messages, the rest from slower ones.
    fast = rng.uniform(0.5, 0.75)
    counts = {0.01: round(fast * target / 100), 0.02: round((0.9 - fast) * target / 50)}
    slow = {0.05: (4, 8), 0.1: (4, 10), 0.2: (1, 5), 0.5: (0, 3), 1.0: (2, 6)}
    counts |= {period: int(rng.integers(*between)) for period, between in slow.items()}
    periods = np.repeat(list(counts), list(counts.values()))
    events = int(rng.integers(2, 5))
    periods = np.concatenate((periods, rng.uniform(0.4, 2.0, events)))
    is_event = np.arange(len(periods)) >= len(periods) - events

    # Urgent messages have low identifiers, but not strictly so.
    ids = np.sort(rng.choice(np.arange(0x20, 0x7F0), len(periods), replace=False))
    rank = np.argsort(np.argsort(periods * rng.lognormal(0, 0.7, len(periods))))
    messages = []
    for i in np.argsort(rank).tolist():
        period = float(periods[i])
        length = int(rng.integers(2, 8)) if rng.random() < short else 8
        kinds = _layout(rng, length, bool(is_event[i]), counters, checksums)
        messages.append(
            Message(
                arbitration_id=int(ids[rank[i]]),
                period_s=period,
                jitter_s=period * float(rng.uniform(0.005, 0.02)),
                phase_s=float(rng.uniform(0, period)),
                event=bool(is_event[i]),
                kinds=kinds,
                base=tuple(int(b) for b in _base_bytes(rng, length)),
            )
        )
    return VehicleModel(seed, tuple(messages))


def _layout(
    rng: np.random.Generator, length: int, event: bool, counters: float, checksums: float
) -> tuple[int, ...]:
    """What each byte of a message holds."""
    if event:
        return tuple(rng.choice([STATUS, CONSTANT], length, p=[0.4, 0.6]).tolist())
    kinds = rng.choice([CONSTANT, SIGNAL, NOISE, STATUS], length, p=[0.45, 0.3, 0.1, 0.15]).tolist()
    wide = rng.random(length) < 0.6
    for i in range(1, length):
        if kinds[i - 1] == SIGNAL and wide[i]:
            kinds[i] = SIGNAL_LOW
    if rng.random() < checksums:
        kinds[-1] = CHECKSUM
    if length > 1 and rng.random() < counters:
        kinds[-2] = COUNTER
    # A signal's upper half that lost its lower one stays a signal; the reverse cannot be.
    return tuple(
        CONSTANT if kind == SIGNAL_LOW and kinds[i - 1] != SIGNAL else kind
        for i, kind in enumerate(kinds)
    )


def _base_bytes(rng: np.random.Generator, length: int) -> npt.NDArray[np.int64]:
    """Many constant bytes of real messages are 0, some 0xFF."""
    values = rng.integers(0, 256, length)
    return np.where(rng.random(length) < 0.5, 0, np.where(rng.random(length) < 0.2, 255, values))


def simulate_recording(
    vehicle: VehicleModel, duration_s: float, attack: AttackSpec | None = None, seed: int = 0
) -> FrameTable:
    """Record a vehicle for a while; injected frames carry label 1.

    Returns:
        Frames in the order in which they left the bus, with the time of their end.

    Raises:
        ValueError: on an unknown kind of attack.
    """
    rng = np.random.default_rng([seed, vehicle.seed, 2])
    frames = _join([_message_frames(rng, message, duration_s) for message in vehicle.messages])
    own = len(frames.release_us)
    if attack is not None:
        if attack.kind not in ATTACKS:
            raise ValueError(f"attack is one of {', '.join(ATTACKS)}, got {attack.kind!r}")
        # An own generator: an attack does not change what the vehicle itself sends.
        rng = np.random.default_rng([seed, vehicle.seed, 3])
        frames = _join([frames, _injected(rng, vehicle, frames, attack)])
    order, end_us = arbitrate(
        frames.release_us, frames.arbitration_id, frame_duration_us(frames.length)
    )
    label = (order >= own).astype(np.uint8)
    start_us = RECORDING_START_S * 1_000_000 + seed * 600_000_000
    return FrameTable(
        timestamp=(start_us + end_us) / 1e6,
        arbitration_id=frames.arbitration_id[order],
        flags=np.zeros(len(order), np.uint8),
        length=frames.length[order],
        payload=frames.payload[order],
        label=label,
        attack=np.where(label == 1, np.int16(0), np.int16(-1)),
        attack_names=(attack.kind,) if attack is not None and label.any() else (),
        labelled=True,
        format="simulated",
    )


def checksum(payload: npt.NDArray[np.uint8], arbitration_id: int) -> npt.NDArray[np.uint8]:
    """Checksum ``[F]`` over all other payload bytes ``[F, N]`` and the identifier."""
    start = np.uint8((arbitration_id ^ arbitration_id >> 8) & 0xFF)
    return np.bitwise_xor.reduce(payload, axis=1) ^ start


def frame_duration_us(length: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Time ``[F]`` on the bus of frames with 11-bit identifiers, with the pause behind them.

    44 bits and the payload, about a tenth of the stuffable part as stuff bits, 3 bits of pause.
    """
    payload_bits = 8 * length.astype(np.int64)
    return BIT_US * (47 + payload_bits + (34 + payload_bits) // 10)


def arbitrate(
    release_us: npt.NDArray[np.int64],
    arbitration_id: npt.NDArray[np.uint32],
    duration_us: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Order ``[F]`` in which frames get the bus, and when each has left it ``[F]``, in that order.

    Starting from the order of release, neighbours change places where the later one was already
    waiting when the earlier one started, and has the lower identifier. A frame on the bus is never
    interrupted, and the bus is never idle while a frame waits.
    """
    order = np.lexsort((arbitration_id, release_us))
    end = _bus_times(release_us[order], duration_us[order])
    settled = 0
    for parity in itertools.cycle((0, 1)):
        release, rank = release_us[order], arbitration_id[order]
        start = end - duration_us[order]
        waiting = (release[1:] <= start[:-1]) & (rank[1:] < rank[:-1])
        swap = np.flatnonzero(waiting[parity::2]) * 2 + parity
        if not len(swap):
            settled += 1
            if settled == 2:
                break
            continue
        settled = 0
        order[swap], order[swap + 1] = order[swap + 1], order[swap]
        end = _bus_times(release_us[order], duration_us[order])
    return order, end


def _bus_times(
    release: npt.NDArray[np.int64], duration: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """End of each frame ``[F]`` sent in this order: ``end[i] = max(release[i], end[i-1]) + d[i]``.

    The recursion unrolls to a running maximum over ``release - sum of earlier durations``.
    """
    total = np.cumsum(duration)
    return np.maximum.accumulate(release - total + duration) + total


def _join(parts: list[_Frames]) -> _Frames:
    return _Frames(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _message_frames(rng: np.random.Generator, message: Message, duration_s: float) -> _Frames:
    """All frames of one message in a recording."""
    if message.event:
        gaps = 0.02 + rng.exponential(
            message.period_s - 0.02, int(duration_s / message.period_s * 2) + 20
        )
        time = message.phase_s + np.cumsum(gaps)
    else:
        time = message.phase_s + np.arange(0, duration_s + message.period_s, message.period_s)
        time += rng.uniform(-message.jitter_s, message.jitter_s, len(time))
    time = np.sort(time[(time >= 0) & (time < duration_s)])
    payload = _payload(rng, message, time)
    return _Frames(
        np.round(time * 1e6).astype(np.int64),
        np.full(len(time), message.arbitration_id, np.uint32),
        np.full(len(time), len(message.kinds), np.uint8),
        payload,
    )


def _payload(
    rng: np.random.Generator, message: Message, time: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Payloads ``[F, 8]`` of one message sent at ``time`` ``[F]``."""
    payload = np.zeros((len(time), 8), np.uint8)
    fraction = np.zeros(len(time))
    for i, (kind, base) in enumerate(zip(message.kinds, message.base, strict=True)):
        if kind == CONSTANT:
            payload[:, i] = base
        elif kind == COUNTER:
            payload[:, i] = (base & 0xF0) | (np.arange(len(time)) + rng.integers(16)) & 15
        elif kind == SIGNAL:
            value = 256 * _slow_signal(rng, time)
            payload[:, i] = value.astype(np.uint8)
            fraction = value % 1
        elif kind == SIGNAL_LOW:
            payload[:, i] = (256 * fraction).astype(np.uint8)
        elif kind == NOISE:
            payload[:, i] = (base & 0xFC) | rng.integers(0, 4, len(time))
        elif kind == STATUS:
            # An event message speaks when something changes; others report now and then a change.
            changes = rng.random(len(time)) < (0.7 if message.event else message.period_s / 4)
            payload[:, i] = base ^ (1 << rng.integers(0, 8)) * (np.cumsum(changes) % 2)
    length = len(message.kinds)
    if CHECKSUM in message.kinds:
        at = message.kinds.index(CHECKSUM)
        payload[:, at] = 0
        payload[:, at] = checksum(payload[:, :length], message.arbitration_id)
    return payload


def _slow_signal(
    rng: np.random.Generator, time: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Something physical between 0 and 1 ``[F]``: three sinusoids of 4 to 60 s."""
    period = np.exp(rng.uniform(np.log(4), np.log(60), 3))[:, None]
    phase = rng.uniform(0, 2 * np.pi, 3)[:, None]
    share = rng.dirichlet((1, 1, 1))
    waves = share @ np.sin(2 * np.pi * time / period + phase)
    return 0.5 + rng.uniform(0.05, 0.49) * waves


def _injected(
    rng: np.random.Generator, vehicle: VehicleModel, own: _Frames, attack: AttackSpec
) -> _Frames:
    """The attacker's frames of all bursts."""
    fast = [m for m in vehicle.messages if not m.event and m.period_s <= 0.02]
    target = fast[int(rng.integers(len(fast)))]
    some_ids = rng.permutation([m.arbitration_id for m in vehicle.messages if not m.event])
    replayed = some_ids[: len(some_ids) // 2].astype(np.uint32)
    odd_payload = rng.integers(0, 256, 8, dtype=np.uint8)
    parts = [_frames_of(own.release_us[:0], own.arbitration_id[:0], own.payload[:0])]
    for start_s, end_s in attack.bursts:
        start, end = round(start_s * 1e6), round(end_s * 1e6)
        if attack.kind == "DoS":
            release = _steady(rng, start, end, _DOS_HZ)
            payload = np.zeros((len(release), 8), np.uint8)
            parts.append(_frames_of(release, np.zeros(len(release), np.uint32), payload))
        elif attack.kind == "fuzzing":
            release = _steady(rng, start, end, _FUZZING_HZ)
            ids = rng.integers(0, 0x800, len(release), dtype=np.uint32)
            payload = rng.integers(0, 256, (len(release), 8), dtype=np.uint8)
            parts.append(_frames_of(release, ids, payload))
        elif attack.kind == "malfunction":
            release = _steady(rng, start, end, _MALFUNCTION_HZ)
            ids = np.full(len(release), target.arbitration_id, np.uint32)
            payload = np.broadcast_to(odd_payload, (len(release), 8))
            parts.append(_frames_of(release, ids, payload))
        elif attack.kind == "spoofing":
            parts.append(_spoofed(rng, target, own, start, end))
        else:
            parts.append(_replayed(own, replayed, start, end, round(attack.bursts[0][0] * 1e6)))
    return _join(parts)


def _frames_of(
    release: npt.NDArray[np.int64],
    ids: npt.NDArray[np.uint32],
    payload: npt.NDArray[np.uint8],
) -> _Frames:
    return _Frames(release, ids, np.full(len(release), 8, np.uint8), payload)


def _steady(
    rng: np.random.Generator, start: int, end: int, frames_per_s: int
) -> npt.NDArray[np.int64]:
    """Release times from ``start`` to before ``end`` (microseconds) with 5 % jitter."""
    gap = 1e6 / frames_per_s
    time = np.arange(start + 0.1 * gap, end - 0.1 * gap, gap)
    return np.round(time + rng.uniform(-0.05, 0.05, len(time)) * gap).astype(np.int64)


def _spoofed(
    rng: np.random.Generator, target: Message, own: _Frames, start: int, end: int
) -> _Frames:
    """Two altered copies between each two frames of the target; its checksum does not betray it."""
    shift = round(target.period_s * 1e6 / 3)
    inside = (own.release_us >= start) & (own.release_us < end - 2 * shift)
    index = np.flatnonzero(inside & (own.arbitration_id == target.arbitration_id))
    index = np.repeat(index, 2)
    payload = own.payload[index]
    changeable = [i for i, kind in enumerate(target.kinds) if kind not in (COUNTER, CHECKSUM)] or [
        0
    ]
    byte = changeable[int(rng.integers(len(changeable)))]
    payload[:, byte] ^= np.uint8(rng.integers(0x80, 0x100))
    if CHECKSUM in target.kinds:
        at = target.kinds.index(CHECKSUM)
        payload[:, at] = 0
        payload[:, at] = checksum(payload[:, : len(target.kinds)], target.arbitration_id)
    release = own.release_us[index] + shift * (1 + np.arange(len(index)) % 2)
    return _Frames(release, own.arbitration_id[index], own.length[index], payload)


def _replayed(
    own: _Frames, ids: npt.NDArray[np.uint32], start: int, end: int, before: int
) -> _Frames:
    """What half the messages said in a stretch that ended when the first attack began."""
    record = max(0, before - (end - start))
    stretch = (own.release_us >= record) & (own.release_us < record + end - start)
    index = np.flatnonzero(stretch & np.isin(own.arbitration_id, ids))
    release = own.release_us[index] + start - record
    return _Frames(release, own.arbitration_id[index], own.length[index], own.payload[index])
