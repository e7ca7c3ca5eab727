"""Frames to graphs the plain way: one window, one frame, one feature at a time.

The definition of every feature in the words of its formula. The tests hold the fast builder against
it, the benchmark measures how much faster the fast one is.
"""

import itertools
import math
from collections import Counter, defaultdict
from typing import Any, NamedTuple

from core.captures.frame_table import EXTENDED, FrameTable
from core.config import WindowConfig
from core.graphs.build import TIME_FLOOR


class PlainGraph(NamedTuple):
    """One window. Nodes are in ascending order of their identifier, edges of (source, target)."""

    node_id: list[int]
    x: list[list[float]]
    edge_index: list[tuple[int, int]]
    edge_attr: list[list[float]]
    window_attr: list[float]
    y: int
    attacked_share: float
    attack: str


class _Frame(NamedTuple):
    identifier: int
    time: float
    payload: bytes
    length: int
    interval: float | None
    gap: int | None
    changed: float | None
    novel: float
    label: int
    attack: str


def build_graphs_plainly(table: FrameTable, config: WindowConfig) -> list[PlainGraph]:
    """Every window of a capture as a graph; those of fewer than two frames are left out."""
    frames = _frames(table)
    cut = _windows_by_time if config.duration_s else _windows_by_count
    windows = [window for window in cut(frames, config) if len(window) >= 2]
    return [_graph(window, table.attack_names, config.attacked_share) for window in windows]


def _windows_by_count(frames: list[_Frame], config: WindowConfig) -> list[list[_Frame]]:
    windows = []
    for start in range(0, len(frames), config.stride):
        window = frames[start : start + config.size]
        if len(window) == config.size:
            windows.append(window)
            continue
        before = start - config.stride + config.size if start else 0
        if config.last == "keep" and before < len(frames):
            windows.append(window)
        break
    return windows


def _windows_by_time(frames: list[_Frame], config: WindowConfig) -> list[list[_Frame]]:
    clock = _clock(frames, config.duration_s)
    stride = config.stride_s or config.duration_s
    windows = []
    for number in itertools.count():
        start = number * stride
        end = start + config.duration_s
        whole = end <= clock[-1]
        if whole or config.last == "keep":
            pairs = zip(frames, clock, strict=True)
            windows.append([frame for frame, now in pairs if start <= now < end])
        if not whole:
            break
    return windows


def _clock(frames: list[_Frame], duration: float) -> list[float]:
    """Seconds since the first frame, which stand still where time stamps fall back."""
    clock, shift = [0.0], 0.0
    for before, frame in itertools.pairwise(frames):
        if before.time - frame.time >= duration:
            shift += before.time - frame.time  # Set anew: time goes on from here.
        clock.append(max(clock[-1], frame.time - frames[0].time + shift))
    return clock


def _frames(table: FrameTable) -> list[_Frame]:
    last: dict[int, tuple[int, float, bytes]] = {}
    seen: dict[tuple[int, int], set[int]] = defaultdict(set)
    frames = []
    for index in range(len(table)):
        identifier = int(table.arbitration_id[index])
        if table.flags[index] & EXTENDED:
            identifier += 2**31
        time = float(table.timestamp[index])
        payload = bytes(table.payload[index])
        interval = gap = changed = None
        if identifier in last:
            index_before, time_before, payload_before = last[identifier]
            interval = max(time - time_before, 0.0)
            gap = index - index_before
            changed = (
                sum((a ^ b).bit_count() for a, b in zip(payload, payload_before, strict=True)) / 64
            )
        novel = 0
        for position, value in enumerate(payload):
            if value not in seen[identifier, position]:
                seen[identifier, position].add(value)
                novel += 1
        last[identifier] = (index, time, payload)
        attack = int(table.attack[index])
        frames.append(
            _Frame(
                identifier,
                time,
                payload,
                int(table.length[index]),
                interval,
                gap,
                changed,
                novel / len(payload),
                int(table.label[index]),
                table.attack_names[attack] if attack >= 0 else "",
            )
        )
    return frames


def _graph(
    window: list[_Frame], attack_names: tuple[str, ...], attacked_share: float
) -> PlainGraph:
    size = len(window)
    by_id: dict[int, list[_Frame]] = defaultdict(list)
    for frame in window:
        by_id[frame.identifier].append(frame)
    node_id = sorted(by_id)
    place = {identifier: number for number, identifier in enumerate(node_id)}
    delays: dict[tuple[int, int], list[float]] = defaultdict(list)
    for frame, following in itertools.pairwise(window):
        pair = (place[frame.identifier], place[following.identifier])
        delays[pair].append(max(following.time - frame.time, 0.0))
    edge_index = sorted(delays)
    x = []
    for number, identifier in enumerate(node_id):
        frames = by_id[identifier]
        successors = sum(source == number for source, _ in edge_index)
        predecessors = sum(target == number for _, target in edge_index)
        x.append(_node(frames, size, successors, predecessors))
    shares = [len(frames) / size for frames in by_id.values()]
    counts = [len(values) for values in delays.values()]
    attacks = Counter(frame.attack for frame in window if frame.attack)
    attacked = sum(frame.label != 0 for frame in window)
    y = attacked > 0 and attacked / size >= attacked_share
    return PlainGraph(
        node_id=node_id,
        x=x,
        edge_index=edge_index,
        edge_attr=[
            [len(delays[pair]) / (size - 1), math.log10(_mean(delays[pair]) + TIME_FLOOR)]
            for pair in edge_index
        ],
        window_attr=[
            len(node_id) / size,
            -sum(share * math.log(share) for share in shares),
            math.log10(max(window[-1].time - window[0].time, 0.0) + TIME_FLOOR),
            len(edge_index) / (size - 1),
            max(counts) / (size - 1),
            _mean([_byte_mean(frame) for frame in window]),
            _mean([frame.length / 8 for frame in window]),
            _mean([frame.novel for frame in window]),
        ],
        y=int(y),
        attacked_share=sum(frame.label for frame in window) / size,
        attack=max(attack_names, key=lambda name: attacks[name]) if y and attacks else "",
    )


def _node(frames: list[_Frame], size: int, successors: int, predecessors: int) -> list[float]:
    intervals = [frame.interval for frame in frames if frame.interval is not None]
    gaps = [float(frame.gap) for frame in frames if frame.gap is not None]
    changed = [frame.changed for frame in frames if frame.changed is not None]
    return [
        len(frames) / size,
        math.log10(_mean(intervals) + TIME_FLOOR) if intervals else 0.0,
        _spread(intervals) / (_mean(intervals) + TIME_FLOOR),
        math.log10(min(intervals) + TIME_FLOOR) if intervals else 0.0,
        _spread(gaps) / (_mean(gaps) + 1e-9),
        _mean(changed),
        _spread(changed),
        _mean([float(not any(frame.payload)) for frame in frames]),
        _mean([_byte_mean(frame) for frame in frames]),
        _mean([frame.length / 8 for frame in frames]),
        _mean([frame.novel for frame in frames]),
        float(len(frames) == 1),
        float(any(frame.interval is None for frame in frames)),
        successors / size,
        predecessors / size,
    ]


def _byte_mean(frame: _Frame) -> float:
    return sum(frame.payload) / (255 * max(frame.length, 1))


def _mean(values: list[Any]) -> float:
    return sum(values) / len(values) if values else 0.0


def _spread(values: list[Any]) -> float:
    center = _mean(values)
    return math.sqrt(_mean([(value - center) ** 2 for value in values]))
