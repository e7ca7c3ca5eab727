from dataclasses import replace

import numpy as np

from core.config import WindowConfig
from core.graphs.profiles import KnownVehicle
from core.graphs.reference import COMPARED, VehicleProfile
from core.graphs.store import WINDOW_FEATURES
from dashboard.formatting import DASH
from dashboard.profiles_view import id_rows, profile_rows, window_settings


def vehicle():
    mean = np.zeros((2, len(COMPARED)))
    mean[:, list(COMPARED).index("interval_log")] = [-2.0, 0.0]
    mean[:, list(COMPARED).index("frame_share")] = [0.25, 0.01]
    profile = VehicleProfile(
        ids=np.array([0x1F0, (1 << 31) | 0x18FEF100]),
        count=np.array([50.0, 100.0]),
        mean=mean,
        std=np.zeros_like(mean),
        transitions=np.arange(3),
        transition_count=np.ones(3),
        window_center=np.zeros(len(WINDOW_FEATURES)),
        window_spread=np.zeros(len(WINDOW_FEATURES)),
        windows=100,
    )
    return KnownVehicle("mine-vehicle-0", {"train_01/a.csv": "ab"}, "WindowConfig()", profile)


def test_ids_are_told_with_rate_and_interval():
    rows = id_rows(vehicle())
    assert rows["ID"].tolist() == ["0x1F0", "0x18FEF100"]
    assert rows["In windows"].tolist() == [0.5, 1.0]
    assert rows["Interval (ms)"].tolist() == [10.0, 1000.0]
    assert rows["Share of frames"].tolist() == [0.25, 0.01]


def test_a_vehicle_is_one_row():
    (row,) = profile_rows([vehicle()]).to_dict("records")
    assert (row["IDs"], row["Transitions"], row["Windows"], row["Captures"]) == (2, 3, 100, 1)
    assert row["Made"] == DASH
    (row,) = profile_rows([replace(vehicle(), made="2026-11-26T12:02:41+00:00")]).to_dict("records")
    assert row["Made"].startswith("26 Nov ")


def test_only_what_was_changed_of_how_windows_are_cut_is_told():
    assert window_settings(repr(WindowConfig())) == "as by default (100 frames)"
    changed = repr(WindowConfig(size=50, stride=25, last="keep"))
    assert window_settings(changed) == "size=50, stride=25, last='keep'"
