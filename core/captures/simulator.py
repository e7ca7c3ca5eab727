"""Made-up vehicles on a made-up bus, for the demo data set, tests and benchmarks.

A vehicle is a set of messages with periods, jitter and payload layouts. It is driven through phases
(standstill, city, highway) that move its signals and how often something happens. A recording is
all its frames, with the attacker's, put through the arbitration of one 500 kbit/s bus. Everything
follows from seeds, and there is no loop over frames.

How frames are labelled: a frame is attacked if the attacker sent or altered it. Suppression leaves
no such frame, so there the next frame on the bus after each missing one is labelled. A window then
counts as attacked exactly where a frame is missing from it or from the gap before it, which is all
that a detector can be held to: labelling the whole bus would also blame windows in which the
silenced message had no turn.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import FrameTable

BIT_US = 2
"""Duration of a bit at 500 kbit/s."""
RECORDING_START_S = 1_700_000_000
"""Date of the first recording, so that timestamps look like a logger's."""

ATTACKS = (
    "DoS",
    "fuzzing",
    "payload_fuzzing",
    "spoofing",
    "slow_spoofing",
    "replay",
    "suppression",
    "masquerade",
    "malfunction",
)
_FRAMES_PER_S = {"DoS": 1600.0, "fuzzing": 900.0, "payload_fuzzing": 250.0, "malfunction": 250.0}
"""How many frames a second an attacker adds where the vehicle's own frames do not set the pace."""
_COPIES = {"spoofing": 2.0, "slow_spoofing": 0.2}
"""Forged frames per frame of the target."""

PHASES = ("standstill", "city", "highway")
_ACTIVITY = np.array([0.4, 1.6, 0.8])
"""How often drivers and surroundings change something in each phase, against the average."""
_PHASE_S = 10.0, 40.0
"""Shortest and longest phase of a drive that is drawn."""
SPEED, ENGINE, THROTTLE, BRAKE, STEERING, TEMPERATURE, BODY = range(7)
"""What a signal follows. ``BODY`` stands for all that does not depend on driving."""
_STATE_HZ = 20

CONSTANT, COUNTER, CHECKSUM, SIGNAL, SIGNAL_LOW, NOISE, STATUS, PAGE = range(8)
"""What a payload byte holds. A ``SIGNAL_LOW`` byte is the lower half of the signal before it, a
``PAGE`` byte says which of several layouts the rest of the frame has."""
_BOOKKEEPING = COUNTER, CHECKSUM, PAGE

PERIODS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Byte:
    """One payload byte of a message."""

    kind: int
    base: int
    """Value of a constant, upper half of a counter, ground of the others."""
    source: int = BODY
    """What a signal follows."""
    gain: float = 1.0
    """How much of the byte's range a signal spans."""


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
    pages: tuple[tuple[Byte, ...], ...]
    """Payload layouts, sent in turn; only a multiplexed message has more than one."""

    @property
    def length(self) -> int:
        """Payload bytes."""
        return len(self.pages[0])


@dataclass(frozen=True)
class VehicleModel:
    """A vehicle: its messages by identifier, and the seed they came from."""

    seed: int
    messages: tuple[Message, ...]

    @property
    def frames_per_s(self) -> float:
        """Frames a second without attack, on average."""
        return sum(1 / message.period_s for message in self.messages)

    @property
    def bus_load(self) -> float:
        """Share of the time that the bus is busy without attack, on average."""
        lengths = np.array([message.length for message in self.messages], np.uint8)
        periods = np.array([message.period_s for message in self.messages])
        return float((frame_duration_us(lengths) / periods).sum() / 1e6)

    @property
    def ids(self) -> tuple[int, ...]:
        """All identifiers, ascending."""
        return tuple(message.arbitration_id for message in self.messages)


@dataclass(frozen=True)
class AttackSpec:
    """What an attacker does, and when.

    Raises:
        ValueError: on an unknown kind, no target or a rate that is not positive.
    """

    kind: str
    """One of :data:`ATTACKS`."""
    bursts: tuple[tuple[float, float], ...] = ()
    """(start, end) in seconds from the recording's start."""
    rate: float | None = None
    """Frames added a second; of spoofing, forged frames per frame of the target. ``None``: as usual
    for the kind; without meaning for replay, suppression and masquerade."""
    targets: int = 1
    """Messages that suppression silences and masquerade forges (all there are at most): whoever
    holds a sender has several."""

    def __post_init__(self) -> None:
        if self.kind not in ATTACKS:
            raise ValueError(f"attack is one of {', '.join(ATTACKS)}, got {self.kind!r}")
        if self.targets < 1 or (self.rate is not None and self.rate <= 0):
            raise ValueError(
                f"an attack has targets and a positive rate, got {self.targets} and {self.rate}"
            )


class _Frames(NamedTuple):
    """Frames that ask for the bus: columns ``[F]``, payload ``[F, 8]``."""

    release_us: npt.NDArray[np.int64]
    arbitration_id: npt.NDArray[np.uint32]
    length: npt.NDArray[np.uint8]
    payload: npt.NDArray[np.uint8]
    attack: npt.NDArray[np.int16]
    """Number of the attack that sent or altered the frame, else -1."""


class _Drive(NamedTuple):
    """What the vehicle does during a recording, ``_STATE_HZ`` times a second, ``T`` times."""

    state: npt.NDArray[np.float64]
    """``[7, T]``, between 0 and 1; row ``BODY`` is unused."""
    activity: npt.NDArray[np.float64]
    """``[T]``, around 1."""

    def at(self, time: npt.NDArray[np.float64], source: int) -> npt.NDArray[np.float64]:
        """State ``[F]`` at ``time`` ``[F]``."""
        grid = np.arange(self.state.shape[1]) / _STATE_HZ
        return np.interp(time, grid, self.state[source])

    def activity_at(self, time: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Activity ``[F]`` at ``time`` ``[F]``."""
        place = (time * _STATE_HZ).astype(np.int64)
        return self.activity[np.clip(place, 0, len(self.activity) - 1)]


def simulate_vehicle(
    seed: int, *, ids: int | None = None, bus_load: float | None = None
) -> VehicleModel:
    """A vehicle of its own: identifiers, periods, senders' clocks and payload layouts.

    Args:
        ids: number of messages; 20 to 120 if not given.
        bus_load: share of the time that the bus is busy; 0.2 to 0.6 if not given, of which few
            messages can fill only so much.
    """
    rng = np.random.default_rng([seed, 1])
    drawn_ids, drawn_load = round(20 * 6 ** rng.random()), rng.uniform(0.22, 0.58)
    count = drawn_ids if ids is None else ids
    load = drawn_load if bus_load is None else bus_load
    checksums, counters = rng.uniform(0.1, 0.5), rng.uniform(0.2, 0.6)
    short, multiplexed = rng.uniform(0.0, 0.2), rng.uniform(0.0, 0.15)
    is_event = np.arange(count) >= count - max(1, round(count * rng.uniform(0.02, 0.08)))
    lengths = np.where(rng.random(count) < short, rng.integers(2, 8, count), 8).astype(np.uint8)
    periods = np.where(
        is_event, rng.uniform(0.4, 2.0, count), _periods(frame_duration_us(lengths), load)
    )
    restless = 0.004 * rng.lognormal(0, 0.6)
    # Messages belong to senders whose clocks are a little fast or slow.
    clocks = 1 + rng.normal(0, 2e-4, rng.integers(4, 13))
    periods = periods * clocks[rng.integers(0, len(clocks), count)]

    # Urgent messages have low identifiers, but not strictly so.
    numbers = np.sort(rng.choice(np.arange(0x20, 0x7F0), count, replace=False))
    rank = np.argsort(np.argsort(periods * rng.lognormal(0, 0.7, count)))
    messages = []
    for i in np.argsort(rank).tolist():
        period, length, event = float(periods[i]), int(lengths[i]), bool(is_event[i])
        page_count = int(rng.integers(2, 5)) if not event and rng.random() < multiplexed else 1
        ends = rng.random(2) < (counters, checksums)
        jitter = min(0.09, restless * rng.lognormal(0, 1.8))
        messages.append(
            Message(
                arbitration_id=int(numbers[rank[i]]),
                period_s=period,
                jitter_s=period * float(jitter),
                phase_s=float(rng.uniform(0, period)),
                event=event,
                pages=tuple(
                    _layout(
                        rng, length, event, tuple(ends.tolist()), page if page_count > 1 else None
                    )
                    for page in range(page_count)
                ),
            )
        )
    return VehicleModel(seed, tuple(messages))


def _periods(duration_us: npt.NDArray[np.int64], load: float) -> npt.NDArray[np.float64]:
    """Periods ``[M]`` of messages so that together they come close to a bus load.

    How common each of :data:`PERIODS_S` is falls geometrically; the factor is found by bisection.
    """
    place = (np.arange(len(duration_us)) + 0.5) / len(duration_us)
    low, high = -6.0, 6.0
    for _ in range(40):
        tilt = (low + high) / 2
        share = np.cumsum(np.exp(-tilt * np.arange(len(PERIODS_S))))
        periods = np.array(PERIODS_S)[np.searchsorted(share / share[-1], place)]
        if (duration_us / periods).sum() / 1e6 > load:
            high = tilt
        else:
            low = tilt
    return periods


def _layout(
    rng: np.random.Generator, length: int, event: bool, ends: tuple[bool, ...], page: int | None
) -> tuple[Byte, ...]:
    """What each byte of a message holds; ``ends`` says whether it has a counter and a checksum."""
    base = _base_bytes(rng, length)
    if event:
        kinds = rng.choice([STATUS, CONSTANT], length, p=[0.4, 0.6])
    else:
        # Much of what is sent hardly ever moves, and some messages not at all.
        moving = rng.choice([0.0, 0.2, 0.5], p=[0.4, 0.4, 0.2])
        weights = np.array([1 - moving, 0.6 * moving, 0.05 * moving, 0.35 * moving])
        kinds = rng.choice([CONSTANT, SIGNAL, NOISE, STATUS], length, p=weights)
        wide = rng.random(length) < 0.5
        for i in range(1, length):
            if kinds[i - 1] == SIGNAL and wide[i]:
                kinds[i] = SIGNAL_LOW
        if ends[1]:
            kinds[-1] = CHECKSUM
        if length > 1 and ends[0]:
            kinds[-2] = COUNTER
        if page is not None:
            kinds[0], base[0] = PAGE, page
        # A signal's upper half that lost its lower one stays a signal; the reverse cannot be.
        lost = (kinds[1:] == SIGNAL_LOW) & (kinds[:-1] != SIGNAL)
        kinds[1:][lost] = CONSTANT
    source = rng.integers(SPEED, BODY + 1, length)
    gain = rng.uniform(0.2, 1.0, length)
    return tuple(
        Byte(*columns)
        for columns in zip(
            kinds.tolist(), base.tolist(), source.tolist(), gain.tolist(), strict=True
        )
    )


def _base_bytes(rng: np.random.Generator, length: int) -> npt.NDArray[np.int64]:
    """Many constant bytes of real messages are 0, some 0xFF."""
    values = rng.integers(0, 256, length)
    return np.where(rng.random(length) < 0.5, 0, np.where(rng.random(length) < 0.2, 255, values))


def simulate_recording(
    vehicle: VehicleModel,
    duration_s: float,
    attack: AttackSpec | Sequence[AttackSpec] | None = None,
    seed: int = 0,
    phases: Sequence[tuple[str, float]] | None = None,
) -> FrameTable:
    """Record a vehicle for a while, with one attack, several or none.

    Args:
        phases: (one of :data:`PHASES`, start in seconds), in order; drawn from the seed if not
            given.

    Returns:
        Frames in the order in which they left the bus, with the time of their end.

    Raises:
        ValueError: on an unknown phase, or phases out of order.
    """
    attacks = (attack,) if isinstance(attack, AttackSpec) else tuple(attack or ())
    rng = np.random.default_rng([seed, vehicle.seed, 4])
    drive = _drive(rng, drawn_phases(rng, duration_s) if phases is None else phases, duration_s)
    rng = np.random.default_rng([seed, vehicle.seed, 2])
    frames = _join(
        [_message_frames(rng, message, drive, duration_s) for message in vehicle.messages]
    )
    missing = []
    for number, spec in enumerate(attacks):
        # An own generator: an attack does not change what the vehicle itself sends.
        rng = np.random.default_rng([seed, vehicle.seed, 3, number])
        frames, silenced = _attacked(rng, vehicle, frames, spec, number)
        missing.append((number, silenced))
    order, end_us = arbitrate(
        frames.release_us, frames.arbitration_id, frame_duration_us(frames.length)
    )
    frames = _taken(frames, order)
    for number, silenced in missing:
        after = np.searchsorted(end_us - frame_duration_us(frames.length), silenced)
        after = after[after < len(end_us)]
        frames.attack[after] = np.where(frames.attack[after] < 0, number, frames.attack[after])
    start_us = round(recording_start_s(seed) * 1e6)
    names = tuple(dict.fromkeys(spec.kind for spec in attacks))
    kinds = np.array([names.index(spec.kind) for spec in attacks] + [-1], np.int16)
    return FrameTable(
        timestamp=(start_us + end_us) / 1e6,
        arbitration_id=frames.arbitration_id,
        flags=np.zeros(len(order), np.uint8),
        length=frames.length,
        payload=frames.payload,
        label=(frames.attack >= 0).astype(np.uint8),
        attack=kinds[frames.attack],
        attack_names=names if (frames.attack >= 0).any() else (),
        labelled=True,
        format="simulated",
    )


def recording_start_s(seed: int) -> float:
    """When the recording with this seed starts: one every ten minutes."""
    return RECORDING_START_S + 600.0 * seed


def drawn_phases(rng: np.random.Generator, duration_s: float) -> tuple[tuple[str, float], ...]:
    """Driving phases of 10 to 40 s, no two alike in a row, that fill a recording."""
    count = int(duration_s / _PHASE_S[0]) + 1
    starts = np.concatenate(([0.0], np.cumsum(rng.uniform(*_PHASE_S, count))))[:count]
    steps = rng.integers(1, len(PHASES), count)
    which = (rng.integers(len(PHASES)) + np.cumsum(steps)) % len(PHASES)
    return tuple(
        (PHASES[k], start)
        for k, start in zip(which.tolist(), starts.tolist(), strict=True)
        if start < duration_s
    )


def _drive(
    rng: np.random.Generator, phases: Sequence[tuple[str, float]], duration_s: float
) -> _Drive:
    """What the vehicle does when it goes through ``phases``."""
    names, starts = [name for name, _ in phases], np.array([start for _, start in phases])
    unknown = set(names) - set(PHASES)
    if unknown or not len(starts) or starts[0] != 0 or (np.diff(starts) <= 0).any():
        raise ValueError(
            f"phases are ({', '.join(PHASES)}; start) from 0 s on in rising order, got {phases!r}"
        )
    time = np.arange(int(duration_s * _STATE_HZ) + 2) / _STATE_HZ
    phase = np.array([PHASES.index(name) for name in names])[
        np.searchsorted(starts, time, side="right") - 1
    ]
    wanted = np.choose(
        phase,
        [
            np.zeros(len(time)),
            np.clip(0.9 * _slow(rng, time, 8, 40) - 0.25, 0, 0.4),
            0.65 + 0.2 * _slow(rng, time, 15, 90),
        ],
    )
    speed = _smooth(wanted, 2.5)
    change = np.gradient(speed) * _STATE_HZ
    throttle = np.clip(0.15 * (speed > 0.01) + 0.3 * speed + 6 * change, 0, 1)
    gears = np.array([0.0, 0.1, 0.2, 0.32, 0.46, 0.6, 1.0])
    gear = np.clip(np.searchsorted(gears, speed, side="right"), 1, len(gears) - 1)
    engine = 0.12 + 0.5 * speed / gears[gear] + 0.2 * throttle
    turning = np.choose(phase, [0.0, 0.8, 0.1])
    state = np.stack(
        [
            speed,
            _smooth(engine, 0.3) + rng.normal(0, 0.002, len(time)),
            throttle,
            np.clip(-8 * change, 0, 1),
            0.5 + _smooth(turning, 2.0) * (_slow(rng, time, 3, 15) - 0.5),
            0.3 + 0.4 * (1 - np.exp(-(time + rng.uniform(0, 600)) / 300)),
            np.zeros(len(time)),
        ]
    )
    return _Drive(np.clip(state, 0, 1), _ACTIVITY[phase])


def _smooth(values: npt.NDArray[np.float64], seconds: float) -> npt.NDArray[np.float64]:
    """Values ``[T]`` behind a first-order lag; what came before the first value is like it."""
    weights = np.exp(-np.arange(int(5 * seconds * _STATE_HZ)) / (seconds * _STATE_HZ))
    before = np.full(len(weights) - 1, values[0])
    return np.convolve(np.concatenate((before, values)), weights / weights.sum(), "valid")


def _slow(
    rng: np.random.Generator, time: npt.NDArray[np.float64], shortest_s: float, longest_s: float
) -> npt.NDArray[np.float64]:
    """Something physical between 0 and 1 ``[F]``: three sinusoids."""
    period = np.exp(rng.uniform(np.log(shortest_s), np.log(longest_s), 3))[:, None]
    phase = rng.uniform(0, 2 * np.pi, 3)[:, None]
    share = rng.dirichlet((1, 1, 1))
    return 0.5 + rng.uniform(0.3, 0.49) * (share @ np.sin(2 * np.pi * time / period + phase))


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


def _taken(frames: _Frames, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> _Frames:
    return _Frames(
        frames.release_us[index],
        frames.arbitration_id[index],
        frames.length[index],
        frames.payload[index],
        frames.attack[index],
    )


def _message_frames(
    rng: np.random.Generator, message: Message, drive: _Drive, duration_s: float
) -> _Frames:
    """All frames of one message in a recording."""
    if message.event:
        # As often as in the busiest phase, then thinned out.
        most = _ACTIVITY.max()
        mean = message.period_s / most
        gaps = 0.02 + rng.exponential(mean - 0.02, int(duration_s / mean * 1.5) + 30)
        time = message.phase_s + np.cumsum(gaps)
        time = time[rng.random(len(time)) < drive.activity_at(time) / most]
    else:
        time = message.phase_s + np.arange(0, duration_s + message.period_s, message.period_s)
        time += rng.uniform(-message.jitter_s, message.jitter_s, len(time))
    time = np.sort(time[(time >= 0) & (time < duration_s)])
    return _Frames(
        np.round(time * 1e6).astype(np.int64),
        np.full(len(time), message.arbitration_id, np.uint32),
        np.full(len(time), message.length, np.uint8),
        _payload(rng, message, drive, time),
        np.full(len(time), -1, np.int16),
    )


def _payload(
    rng: np.random.Generator, message: Message, drive: _Drive, time: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Payloads ``[F, 8]`` of one message sent at ``time`` ``[F]``."""
    payload = np.zeros((len(time), 8), np.uint8)
    count = np.arange(len(time)) + rng.integers(16)
    for number, page in enumerate(message.pages):
        rows = slice(number, None, len(message.pages))
        share = message.period_s * len(message.pages)
        fraction = np.zeros(len(time[rows]))
        for i, byte in enumerate(page):
            if byte.kind in (CONSTANT, PAGE):
                payload[rows, i] = byte.base
            elif byte.kind == COUNTER:
                payload[rows, i] = (byte.base & 0xF0) | count[rows] & 15
            elif byte.kind == SIGNAL:
                value = 256 * _signal(rng, byte, drive, time[rows])
                payload[rows, i] = value.astype(np.uint8)
                fraction = value % 1
            elif byte.kind == SIGNAL_LOW:
                payload[rows, i] = (256 * fraction).astype(np.uint8)
            elif byte.kind == NOISE:
                payload[rows, i] = (byte.base & 0xFC) | rng.integers(0, 4, len(fraction))
            elif byte.kind == STATUS:
                # An event message speaks when something changes; others report it now and then.
                chance = 0.7 if message.event else share / 8 * drive.activity_at(time[rows])
                changes = rng.random(len(fraction)) < chance
                payload[rows, i] = byte.base ^ (1 << rng.integers(0, 8)) * (np.cumsum(changes) % 2)
    _seal(payload, message)
    return payload


def _signal(
    rng: np.random.Generator, byte: Byte, drive: _Drive, time: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """A signal ``[F]`` from 0 to below 1."""
    value = _slow(rng, time, 4, 60) if byte.source == BODY else drive.at(time, byte.source)
    ground = byte.base / 255 * (1 - byte.gain)
    return np.minimum(ground + byte.gain * value, 0.9999)


def _seal(payload: npt.NDArray[np.uint8], message: Message) -> None:
    """Put the checksum, if it has one, into a message's payloads ``[F, 8]``."""
    at = next((i for i, byte in enumerate(message.pages[0]) if byte.kind == CHECKSUM), None)
    if at is not None:
        payload[:, at] = 0
        payload[:, at] = checksum(payload[:, : message.length], message.arbitration_id)


def _attacked(
    rng: np.random.Generator, vehicle: VehicleModel, frames: _Frames, spec: AttackSpec, number: int
) -> tuple[_Frames, npt.NDArray[np.int64]]:
    """Frames with what an attacker adds, alters and removes, and when the removed ones were due."""
    cyclic = [message for message in vehicle.messages if not message.event]
    fastest = min(message.period_s for message in cyclic)
    fast = [message for message in cyclic if message.period_s < 2.5 * fastest]
    target = fast[int(rng.integers(len(fast)))]
    others = [message for message in cyclic if message is not target]
    targets = [target, *(others[i] for i in rng.permutation(len(others))[: spec.targets - 1])]
    silenced = [message.arbitration_id for message in targets]
    shuffled = rng.permutation(len(cyclic))[: len(cyclic) // 2]
    replayed = np.array([cyclic[i].arbitration_id for i in shuffled], np.uint32)
    odd_payload = rng.integers(0, 256, 8, dtype=np.uint8)
    forged_byte = int(rng.choice(_forgeable(target)))
    is_target = (frames.arbitration_id == target.arbitration_id) & (frames.attack < 0)
    removed = np.zeros(len(is_target), bool)
    added = []
    for start_s, end_s in spec.bursts:
        start, end = round(start_s * 1e6), round(end_s * 1e6)
        during = (frames.release_us >= start) & (frames.release_us < end)
        inside = is_target & during
        if spec.kind == "suppression":
            removed |= during & np.isin(frames.arbitration_id, silenced) & (frames.attack < 0)
        elif spec.kind == "masquerade":
            for message in targets:
                forged = during & (frames.arbitration_id == message.arbitration_id)
                frames = _masqueraded(rng, message, frames, forged, number)
        elif spec.kind in _COPIES:
            copies = _COPIES[spec.kind] if spec.rate is None else spec.rate
            added.append(_spoofed(rng, target, frames, inside, end, copies, forged_byte))
        elif spec.kind == "replay":
            first = round(spec.bursts[0][0] * 1e6)
            added.append(_replayed(frames, replayed, start, end, first))
        else:
            rate = _FRAMES_PER_S[spec.kind] if spec.rate is None else spec.rate
            release = _steady(rng, start, end, rate)
            length = np.full(len(release), 8, np.uint8)
            payload = rng.integers(0, 256, (len(release), 8), dtype=np.uint8)
            if spec.kind == "DoS":
                ids = np.zeros(len(release), np.uint32)
                payload[:] = 0
            elif spec.kind == "fuzzing":
                ids = rng.integers(0, 0x800, len(release), dtype=np.uint32)
            elif spec.kind == "payload_fuzzing":
                which = rng.integers(0, len(vehicle.messages), len(release))
                ids = np.array(vehicle.ids, np.uint32)[which]
                length = np.array([m.length for m in vehicle.messages], np.uint8)[which]
                payload[np.arange(8) >= length[:, None]] = 0
            else:
                ids = np.full(len(release), target.arbitration_id, np.uint32)
                length[:] = target.length
                payload[:] = np.where(np.arange(8) < target.length, odd_payload, 0)
            added.append(_Frames(release, ids, length, payload, np.empty(len(release), np.int16)))
    missing = frames.release_us[removed]
    frames = _taken(frames, ~removed)
    for part in added:
        part.attack[:] = number
    return _join([frames, *added]), missing


def _steady(
    rng: np.random.Generator, start: int, end: int, frames_per_s: float
) -> npt.NDArray[np.int64]:
    """Release times from ``start`` to before ``end`` (microseconds) with 5 % jitter."""
    gap = 1e6 / frames_per_s
    time = np.arange(start + 0.1 * gap, end - 0.1 * gap, gap)
    return np.round(time + rng.uniform(-0.05, 0.05, len(time)) * gap).astype(np.int64)


def _forgeable(target: Message) -> list[int]:
    """Bytes whose forging needs no bookkeeping of counters and pages."""
    kinds = [byte.kind for byte in target.pages[0]]
    return [i for i, kind in enumerate(kinds) if kind not in _BOOKKEEPING] or [0]


def _spoofed(
    rng: np.random.Generator,
    target: Message,
    frames: _Frames,
    inside: npt.NDArray[np.bool_],
    end: int,
    copies: float,
    byte: int,
) -> _Frames:
    """Altered copies of the target's frames, evenly between them; checksums do not betray them.

    Args:
        inside: ``[F]``, the target's frames during the attack.
        copies: per frame of the target; 0.2 is one copy behind every fifth frame.
    """
    each = max(1, round(copies))
    shift = round(target.period_s * 1e6 / (each + 1))
    index = np.flatnonzero(inside & (frames.release_us < end - each * shift))
    index = np.repeat(index[:: max(1, round(1 / copies))], each)
    payload = frames.payload[index]
    payload[:, byte] ^= np.uint8(rng.integers(0x80, 0x100))
    _seal(payload, target)
    release = frames.release_us[index] + shift * (1 + np.arange(len(index)) % each)
    copied = frames.arbitration_id[index], frames.length[index]
    return _Frames(release, *copied, payload, frames.attack[index])


def _masqueraded(
    rng: np.random.Generator,
    target: Message,
    frames: _Frames,
    inside: npt.NDArray[np.bool_],
    number: int,
) -> _Frames:
    """The target's frames ``inside`` with forged values that move, at the right times."""
    payload, attack = frames.payload.copy(), frames.attack.copy()
    forged, forgeable = payload[inside], _forgeable(target)
    steps = np.cumsum(rng.normal(0, 16, (len(forged), len(forgeable))), axis=0)
    steps += rng.integers(0, 256, len(forgeable))
    forged[:, forgeable] = np.abs((steps + 255) % 510 - 255).astype(np.uint8)
    _seal(forged, target)
    payload[inside], attack[inside] = forged, number
    return frames._replace(payload=payload, attack=attack)


def _replayed(
    frames: _Frames, ids: npt.NDArray[np.uint32], start: int, end: int, before: int
) -> _Frames:
    """What half the messages said in a stretch that ended when the first attack began."""
    record = max(0, before - (end - start))
    stretch = (frames.release_us >= record) & (frames.release_us < record + end - start)
    index = np.flatnonzero(stretch & np.isin(frames.arbitration_id, ids) & (frames.attack < 0))
    copied = _taken(frames, index)
    return copied._replace(release_us=copied.release_us + start - record)
