"""Windows, from the configuration through to the results, counted by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures.frame_table import FrameTable
from core.config import WindowConfig
from core.errors import CaptureError, ConfigError
from core.graphs.build import build_graphs
from core.graphs.windows import widened, windows_of
from core.pipeline import train_fusion
from core.workspace import Workspace
from tests.core.small_dataset import small_config, write

TRAIN, ATTACKED, TEST = "train_01_attack_free", "train_02_with_attacks", "test_01_known"
FRAMES = 1300


def recording(frames: int, attacked: slice | None = None, seed: int = 0) -> FrameTable:
    """A frame every 64th of a second; five ids, attacked frames have another one."""
    rng = np.random.default_rng(seed)
    label = np.zeros(frames, np.uint8)
    if attacked is not None:
        label[attacked] = 1
    return FrameTable(
        timestamp=1000 + np.arange(frames) / 64,
        arbitration_id=np.where(label, 0x700, 0x100 + np.arange(frames) % 5).astype(np.uint32),
        flags=np.zeros(frames, np.uint8),
        length=np.full(frames, 8, np.uint8),
        payload=rng.integers(0, 4, (frames, 8)).astype(np.uint8),
        label=label,
        attack=np.where(label, 0, -1).astype(np.int16),
        attack_names=("flood",),
        labelled=True,
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("windows") / "hand"
    write(root, f"{TRAIN}/clean.csv", recording(1500, seed=1))
    write(root, f"{ATTACKED}/flood-a.csv", recording(1500, slice(500, 900), seed=2))
    write(root, f"{ATTACKED}/flood-b.csv", recording(1500, slice(600, 1000), seed=3))
    write(root, f"{TEST}/flood-c.csv", recording(FRAMES, slice(605, 610), seed=4))
    return root


# Each: settings, then of the test capture's windows (first frame, frame after the last, attacked).
# Frames 605 to 609 are attacked. 64 frames last a second; the last of 1,300 is at 20.296875 s.
BY_HAND = {
    "side by side, the last one dropped": (
        {"size": 100, "stride": 100},
        [(100 * k, 100 * k + 100, k == 6) for k in range(13)],
    ),
    "overlapping, the last one kept": (
        {"size": 100, "stride": 30, "last": "keep"},
        # 1200 + 100 is the end; 1230 would hold no frame that no other window holds.
        [(30 * k, 30 * k + 100, 510 <= 30 * k <= 600) for k in range(41)],
    ),
    "a last one of few frames, kept": (
        {"size": 90, "stride": 70, "last": "keep"},
        [(70 * k, 70 * k + 90, k == 8) for k in range(18)] + [(1260, 1300, False)],
    ),
    "attacked from five of a hundred frames": (
        {"size": 100, "stride": 2, "attacked_share": 0.05},
        [(2 * k, 2 * k + 100, 510 <= 2 * k <= 604) for k in range(601)],
    ),
    "by time, overlapping, the last one dropped": (
        {"duration_s": 2.0, "stride_s": 0.5},
        # Window k ends 128 frames after frame 32 k: that frame must be there.
        [(32 * k, 32 * k + 128, 478 <= 32 * k <= 609) for k in range(37)],
    ),
    "by time, the last one kept": (
        {"duration_s": 1.5, "last": "keep"},
        [(96 * k, 96 * k + 96, k == 6) for k in range(13)] + [(1248, 1300, False)],
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_results_are_of_the_windows_that_are_configured(
    dataset: Path, tmp_path: Path, name: str
) -> None:
    settings, expected = BY_HAND[name]
    config = small_config(
        dataset,
        data__detector__window=WindowConfig(**settings),
        data__detector__protocol="zero-shot",
    )
    results = train_fusion(config, Workspace(tmp_path / "workspace"), tmp_path / "run")
    scenario = results["scenarios"][TEST]
    assert scenario["windows"] == len(expected)
    assert scenario["attack_windows"] == sum(attacked for *_, attacked in expected)
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    assert written["scenarios"][TEST]["captures"]["flood-c.csv"]["windows"] == len(expected)
    rows = pd.read_feather(tmp_path / "run" / "predictions.arrow")
    rows = rows[rows["split"] == TEST]
    first, after, attacked = zip(*expected, strict=True)
    assert (rows["start_time"] * 64 - 64000).tolist() == list(first)
    assert (rows["end_time"] * 64 - 64000 + 1).tolist() == list(after)
    assert rows["label"].tolist() == list(map(int, attacked))
    assert set(rows["attack"][rows["label"] == 1]) == {"flood"}
    assert set(rows["attack"][rows["label"] == 0]) == {""}


@pytest.mark.parametrize("last", ["drop", "keep"])
def test_without_times_there_are_no_windows_by_time(last: str) -> None:
    untimed = replace(recording(300), timestamp=np.zeros(300), time="missing")
    with pytest.raises(CaptureError, match=r"windows by time need times.* got 1\.5 s"):
        build_graphs(untimed, WindowConfig(duration_s=1.5, last=last))
    assert len(build_graphs(untimed, WindowConfig(last=last))) == 3


@given(
    size=st.integers(2, 40),
    stride=st.integers(1, 60),
    by_time=st.booleans(),
    frames=st.integers(2, 300),
    seed=st.integers(0, 99),
)
def test_no_window_shares_frames_with_one_beyond_its_overlap(
    size: int, stride: int, by_time: bool, frames: int, seed: int
) -> None:
    if by_time:
        config = WindowConfig(duration_s=size / 8, stride_s=stride / 8)
    else:
        config = WindowConfig(size=size, stride=stride)
    windows = windows_of(config)
    steps = np.random.default_rng(seed).choice([0.0, 0.01, 0.125, 2.0, -1.0], frames)
    first, after = windows.extend(np.cumsum(steps))
    for k in range(len(first)):
        beyond = first[k + config.overlap + 1 :]
        assert (beyond >= after[k]).all()
    if not by_time and len(first) > config.overlap:
        assert config.overlap == 0 or first[config.overlap] < after[0]


@pytest.mark.parametrize(
    ("settings", "overlap"),
    [
        ({"size": 100, "stride": 100}, 0),
        ({"size": 100, "stride": 250}, 0),
        ({"size": 100, "stride": 99}, 1),
        ({"size": 100, "stride": 50}, 1),
        ({"size": 101, "stride": 50}, 2),
        ({"size": 100, "stride": 10}, 9),
        ({"duration_s": 1.0}, 0),
        ({"duration_s": 1.0, "stride_s": 0.3}, 3),
        ({"duration_s": 1.0, "stride_s": 5.0}, 0),
    ],
)
def test_overlap_by_hand(settings: dict[str, float], overlap: int) -> None:
    assert WindowConfig(**settings).overlap == overlap  # type: ignore[arg-type]


@pytest.mark.parametrize("reach", [0, 1, 2, 3, 5, 8, 40])
def test_a_mask_is_widened_as_looking_at_every_window_says(reach: int) -> None:
    rng = np.random.default_rng(reach)
    for share in (0.02, 0.1, 0.5):
        mask = rng.random(60) < share
        capture = np.repeat([3, 1, 2, 0], [1, 20, 30, 9])
        near = abs(np.arange(60)[:, None] - np.arange(60)) <= reach
        expected = (near & (capture[:, None] == capture) & mask).any(axis=1)
        np.testing.assert_array_equal(widened(mask, capture, reach), expected)


def test_a_mask_is_widened_within_its_capture_only() -> None:
    capture = np.array([5] * 6 + [3] * 5)
    mask = np.array([0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1], bool)
    assert np.flatnonzero(widened(mask, capture, 2)).tolist() == [0, 1, 2, 3, 4, 8, 9, 10]
    assert widened(mask, capture, 0).tolist() == mask.tolist()
    assert widened(mask, capture, 99).all()
    assert not widened(np.zeros(11, bool), capture, 99).any()


@pytest.mark.parametrize(
    "settings",
    [{"size": 1}, {"stride": 0}, {"last": "pad"}, {"attacked_share": 1.5}, {"duration_s": -1.0}],
)
def test_windows_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        WindowConfig(**settings)  # type: ignore[arg-type]
