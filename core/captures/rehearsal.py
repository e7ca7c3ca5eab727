"""Attacks rehearsed on clean traffic: a classifier that has met two kinds of attack learns those
two, so others are acted out for it on frames that the vehicle really sent.

Nothing is assumed of the vehicle but what its frames show. How many frames an attacker adds, for
how long and where is drawn anew for every burst.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable

TAUGHT = ("DoS", "fuzzing", "payload_fuzzing", "spoofing", "replay", "malfunction")
"""Attacks that add enough frames to be seen in a window."""
WITHHELD = ("suppression", "masquerade")
"""Attacks that no classifier is taught: most of their windows look clean, and learning from those
cost false alarms on real captures. The agent meets them, to learn what to make of a classifier
that knows nothing of an attack."""
KINDS = TAUGHT + WITHHELD
CLEAN_SHARE = 0.45
"""Of a stretch, at its start, that stays clean: a vehicle's profile is learnt there."""
BURST_SHARE = (0.01, 0.08)
"""Of a stretch, that one attack or the pause after it lasts."""
FRAMES_PER_S = {
    "DoS": (400.0, 4000.0),
    "fuzzing": (100.0, 2000.0),
    "payload_fuzzing": (50.0, 1000.0),
    "malfunction": (50.0, 1000.0),
}
COPIES = (1, 5)
"""Forged frames behind each frame of the one that is spoofed."""
FREQUENT = 20
"""Frames that an id sends in a stretch before an attacker is interested in it."""
SLOW_S = 0.05
"""Usual time between the frames of an id that may also send one when something has happened."""
EVENT_IDS, EVENTS_PER_S = (2, 5), 0.5
"""How many ids begin to do so, and how often each does."""
EVENT_FRAMES, EVENT_GAP_S = (1, 3), (0.01, 0.05)
"""Frames that tell of one event, and the time between them."""


class _Added(NamedTuple):
    """``A`` frames that are not in the recording."""

    time: npt.NDArray[np.float64]
    like: npt.NDArray[np.intp]
    """Recorded frame whose id, flags and length each has."""
    payload: npt.NDArray[np.uint8]
    arbitration_id: npt.NDArray[np.uint32] | None = None
    """Where given, ids that are not those of ``like``."""
    label: int = 1


def clean_run(table: FrameTable) -> slice:
    """The longest run of frames that are not attacked."""
    edges = np.flatnonzero(np.diff(np.concatenate(([1], table.label, [1]))))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return slice(0, 0)
    longest = int(np.argmax(ends - starts))
    return slice(int(starts[longest]), int(ends[longest]))


def rehearse(table: FrameTable, kind: str, seed: int) -> FrameTable:
    """A clean stretch of traffic with bursts of one kind of attack acted out on it.

    Besides, a few of the slower ids send frames between their usual ones now and then, as ids do
    that tell of events: no attack, and to be told from one.

    Args:
        table: frames without attack.
        kind: one of :data:`KINDS`.

    Returns:
        The frames in the order of time; those that the attacker added or altered are labelled,
        and the one behind each that is missing.

    Raises:
        ValueError: on an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"a rehearsed attack is one of {', '.join(KINDS)}, got {kind!r}")
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    time = table.timestamp
    plain = np.flatnonzero(table.flags & (REMOTE | ERROR | FD) == 0)
    if not len(plain) or time[-1] <= time[0]:
        return table
    sender = table.arbitration_id[plain].astype(np.int64) << 1 | table.flags[plain] & EXTENDED
    ids, counts = np.unique(sender, return_counts=True)
    targets = ids[counts >= min(FREQUENT, counts.max())]
    payload, label = table.payload.copy(), np.zeros(len(table), np.uint8)
    kept = np.ones(len(table), bool)
    added = []
    for start, end in _bursts(rng, time[0], time[-1]):
        of_target = plain[sender == rng.choice(targets)]
        if kind == "spoofing":
            added.append(_copies(rng, table, of_target, start, end))
        elif kind == "replay":
            back = rng.uniform(0.5, 1.0) * (start - time[0])
            some = ids[rng.random(len(ids)) < rng.uniform(0.2, 1.0)]
            recorded = (time[plain] >= start - back) & (time[plain] < end - back)
            like = plain[recorded & np.isin(sender, some)]
            added.append(_Added(time[like] + back, like, table.payload[like]))
        elif kind in WITHHELD:
            some = rng.choice(targets, min(len(targets), int(rng.integers(1, 4))), replace=False)
            during = plain[(time[plain] >= start) & (time[plain] < end)]
            during = during[np.isin(sender[np.searchsorted(plain, during)], some)]
            if kind == "suppression":
                kept[during] = False
            else:
                payload[during] = _forged(rng, table, during, moving=True)
                label[during] = 1
        else:
            added.append(_flood(rng, table, kind, start, end, of_target, plain))
    slow = ids[(time[-1] - time[0]) / counts >= SLOW_S]
    for one in rng.choice(slow, min(len(slow), int(rng.integers(*EVENT_IDS))), replace=False):
        added.append(_events(rng, table, plain[sender == one]))
    # Those missing are noticed at the next frame, if at all.
    missing = np.searchsorted(np.flatnonzero(kept), np.flatnonzero(~kept))
    recorded = replace(table, payload=payload, label=label)
    return _merged(recorded, kind, added, np.flatnonzero(kept), missing)


def _bursts(rng: np.random.Generator, start: float, end: float) -> list[tuple[float, float]]:
    """Times of attack, with pauses between them, behind the clean start of a stretch."""
    low, high = np.log(BURST_SHARE)
    bursts, at = [], CLEAN_SHARE
    while at < 1.0:
        lasts, pause = np.exp(rng.uniform(low, high, 2))
        bursts.append((start + at * (end - start), start + min(at + lasts, 1.0) * (end - start)))
        at += lasts + pause
    return bursts


def _copies(
    rng: np.random.Generator,
    table: FrameTable,
    of_target: npt.NDArray[np.intp],
    start: float,
    end: float,
) -> _Added:
    """Forged frames behind each of the target's own, evenly up to the next one."""
    time = table.timestamp[of_target]
    each = int(rng.integers(*COPIES, endpoint=True))
    like = np.repeat(of_target[(time >= start) & (time < end)], each)
    gap = np.median(np.diff(time)) if len(time) > 1 else end - start
    late = gap * (1 + np.arange(len(like)) % each) / (each + 1)
    forged = _forged(rng, table, like, moving=bool(rng.integers(2)))
    return _Added(table.timestamp[like] + late, like, forged)


def _forged(
    rng: np.random.Generator, table: FrameTable, like: npt.NDArray[np.intp], moving: bool
) -> npt.NDArray[np.uint8]:
    """Payloads of ``like`` with one to three bytes of their own: constant, or moving slowly."""
    payload = table.payload[like]
    shortest = int(table.length[like].min(initial=8))
    if not shortest:
        return payload
    places = rng.choice(shortest, min(shortest, int(rng.integers(1, 4))), replace=False)
    forged = rng.integers(0, 256, (1, len(places)))
    if moving:
        steps = np.cumsum(rng.normal(0, 8, (len(like), len(places))), axis=0)
        forged = np.abs((forged + steps + 255) % 510 - 255)
    payload[:, places] = forged.astype(np.uint8)
    return payload


def _flood(
    rng: np.random.Generator,
    table: FrameTable,
    kind: str,
    start: float,
    end: float,
    of_target: npt.NDArray[np.intp],
    plain: npt.NDArray[np.intp],
) -> _Added:
    """Frames at a steady pace with 5 % jitter, whatever the vehicle sends meanwhile."""
    gap = 1 / np.exp(rng.uniform(*np.log(FRAMES_PER_S[kind])))
    time = np.arange(start, end, gap)
    time += rng.uniform(-0.05, 0.05, len(time)) * gap
    width = table.payload.shape[1]
    like = rng.choice(plain, len(time))
    payload = rng.integers(0, 256, (len(time), width), dtype=np.uint8)
    arbitration_id = None
    if kind == "DoS":
        payload[:] = rng.integers(256) * rng.integers(2)
        arbitration_id = np.full(len(time), rng.integers(1, 5) * rng.integers(2), np.uint32)
    elif kind == "fuzzing":
        beyond = np.where(table.flags[like] & EXTENDED > 0, 1 << 29, 1 << 11)
        arbitration_id = (rng.random(len(time)) * beyond).astype(np.uint32)
    elif kind == "malfunction":
        like = np.full(len(time), of_target[0])
        if rng.integers(2):
            payload[:] = payload[:1]
    payload[np.arange(width) >= table.length[like][:, None]] = 0
    return _Added(time, like, payload, arbitration_id)


def _events(rng: np.random.Generator, table: FrameTable, of_id: npt.NDArray[np.intp]) -> _Added:
    """Frames that one id sends between its usual ones, from some time on, as things happen.

    Half of them differ from the last usual one, in a single bit.
    """
    time = table.timestamp[of_id]
    first, end = table.timestamp[[0, -1]]
    since = rng.uniform(first, end)
    happened = rng.uniform(since, end, rng.poisson(EVENTS_PER_S * (end - since)))
    last = np.searchsorted(time, happened) - 1
    happened, last = happened[last >= 0], last[last >= 0]
    each = rng.integers(*EVENT_FRAMES, len(last), endpoint=True)
    number = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    gap = np.repeat(rng.uniform(*EVENT_GAP_S, len(last)), each)
    like = of_id[np.repeat(last, each)]
    payload, length = table.payload[like], table.length[like]
    place = (rng.random(len(like)) * length).astype(np.intp)
    told = (length > 0) & (rng.random(len(like)) < 0.5)
    bit = np.uint8(1) << rng.integers(0, 8, len(like), dtype=np.uint8)
    payload[np.arange(len(like)), place] ^= np.where(told, bit, np.uint8(0))
    return _Added(np.repeat(happened, each) + number * gap, like, payload, label=0)


def _merged(
    table: FrameTable,
    kind: str,
    added: list[_Added],
    kept: npt.NDArray[np.intp],
    missing: npt.NDArray[np.intp],
) -> FrameTable:
    """The recorded frames ``kept`` and the added ones, in the order of time.

    ``missing`` are places among those kept in front of which a frame was taken out.
    """
    label = table.label[kept]
    label[missing[missing < len(kept)]] = 1
    like = np.concatenate([kept, *(part.like for part in added)])
    time = np.concatenate([table.timestamp[kept], *(part.time for part in added)])
    payload = np.concatenate([table.payload[kept], *(part.payload for part in added)])
    label = np.concatenate([label, *(np.full(len(p.like), p.label, np.uint8) for p in added)])
    arbitration_id = table.arbitration_id[like]
    at = len(kept)
    for part in added:
        if part.arbitration_id is not None:
            arbitration_id[at : at + len(part.like)] = part.arbitration_id
        at += len(part.like)
    order = np.argsort(time, kind="stable")
    return FrameTable(
        timestamp=time[order],
        arbitration_id=arbitration_id[order],
        flags=table.flags[like][order],
        length=table.length[like][order],
        payload=payload[order],
        label=label[order],
        attack=np.where(label[order] > 0, np.int16(0), np.int16(-1)),
        attack_names=(kind,) if label.any() else (),
        labelled=True,
        format="rehearsed",
        time=table.time,
    )
