import dataclasses

import numpy as np
import pytest

from core.config import DetectorConfig, WindowConfig
from core.detectors.capture_scores import score_capture
from core.detectors.prepare import PreparedCapture, prepare_capture
from core.detectors.stack import Detectors
from core.graphs.profiles import KnownVehicle, learn_vehicles
from core.graphs.reference import commission
from core.graphs.store import GraphStore
from tests.core.detectors.toy import CPU, untrained_gat, untrained_vgae
from tests.core.graphs.test_contamination import graphs

SETTINGS = DetectorConfig(device="cpu", profile_windows=60)
KEY = "test_01/x"


def known() -> list[KnownVehicle]:
    return learn_vehicles({"train_01/a": ("", graphs(0, seed=7))}, WindowConfig())[0]


def prepared(store: GraphStore, vehicles: list[KnownVehicle] | None = None) -> PreparedCapture:
    return prepare_capture(KEY, store, SETTINGS, known=vehicles or [])


def same(one: PreparedCapture, store: GraphStore, windows: np.ndarray) -> bool:
    expected = dataclasses.asdict(commission(store, windows))
    found = dataclasses.asdict(one.profile)  # type: ignore[call-overload]
    return all(np.array_equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("with_known", [True, False])
def test_a_clean_start_is_learnt_from_as_it_is(with_known: bool) -> None:
    capture = prepared(graphs(0), known() if with_known else None)
    assert same(capture, graphs(0), np.arange(59))
    assert capture.reference.tolist() == capture.commissioning.tolist() == list(range(59))
    assert capture.notes == ()
    assert capture.vehicle == ("vehicle-1" if with_known else "")


def test_a_start_attacked_in_part_is_learnt_from_where_it_looks_clean() -> None:
    store = graphs(0, "DoS", 0.05)
    capture = prepared(store)
    calm = np.flatnonzero(store.y[:60] == 0)
    assert 30 < len(calm) < 54
    assert same(capture, store, capture.reference)
    assert not store.y[capture.reference].any()
    assert np.isin(calm, capture.reference).all()
    assert capture.commissioning.tolist() == list(range(60))
    assert capture.scored.tolist() == list(range(60, len(store)))
    (note,) = capture.notes
    assert KEY in note
    assert "look attacked" in note
    # A known vehicle's habits are known better than from a few windows.
    (vehicle,) = known()
    other = prepared(store, [vehicle])
    assert other.profile is not None
    np.testing.assert_array_equal(other.profile.mean, vehicle.profile.mean)
    assert other.reference.tolist() == capture.reference.tolist()


def test_a_start_wholly_under_attack_takes_the_profile_of_the_known_vehicle() -> None:
    store = graphs(0, "malfunction", 0.5)
    (vehicle,) = known()
    capture = prepared(store, [vehicle])
    assert capture.profile is not None
    assert capture.profile.windows == SETTINGS.profile_windows
    np.testing.assert_allclose(capture.profile.mean, vehicle.profile.mean)
    assert capture.reference.tolist() == []
    assert (capture.experience == SETTINGS.profile_windows).all()
    assert vehicle.name in capture.notes[0]
    # What is left out of the score does not depend on it.
    assert len(capture.commissioning) == min(60, len(store) // 3)
    assert len(capture.scored) == len(store) - len(capture.commissioning)


def test_of_an_unknown_vehicle_nothing_is_learnt_from_it() -> None:
    capture = prepared(graphs(1, "malfunction", 0.5), known())
    assert capture.profile is None
    assert capture.vehicle == ""
    assert "no known vehicle" in capture.notes[0]
    scores = score_capture(Detectors(untrained_vgae(), untrained_gat()), capture, CPU)
    assert np.isfinite(scores.anomaly_score).all()
    assert len(scores.windows) == len(capture.scored)


def test_labels_of_a_test_capture_do_not_matter() -> None:
    store = graphs(0, "DoS", 0.05)
    other = dataclasses.replace(store, y=1 - store.y)
    one, two = prepared(store, known()), prepared(other, known())
    assert one.reference.tolist() == two.reference.tolist()
    for name, value in dataclasses.asdict(one.profile).items():  # type: ignore[call-overload]
        np.testing.assert_array_equal(value, getattr(two.profile, name), err_msg=name)


def test_the_clean_windows_after_an_attack_are_scored_by_the_clean_ones_of_the_start() -> None:
    """What an attack at the start costs: far less than with a profile learnt from it."""
    store = graphs(0, "DoS", 0.05)
    capture = prepared(store)
    unwary = dataclasses.replace(
        capture, profile=commission(store, capture.commissioning), reference=capture.commissioning
    )
    attacked = np.flatnonzero(store.y)
    unseen = capture.relative.window_attr[attacked, -3].mean()
    assert unseen > 0.3
    assert unwary.relative.window_attr[attacked, -3].mean() == 0


def test_a_capture_shorter_than_a_profile_should_be_is_told() -> None:
    capture = prepared(graphs(0).windows(0, 30))
    assert len(capture.commissioning) == 10
    (note,) = capture.notes
    for part in (KEY, "60 windows", "only 30", "10 of them"):
        assert part in note


def test_constant_payloads_are_no_trouble() -> None:
    store = graphs(0)
    x = store.x.copy()
    x[:, [5, 6, 8, 10]] = 0.0
    capture = prepared(dataclasses.replace(store, x=x))
    for values in (capture.relative.x, capture.relative.window_attr, capture.relative.edge_attr):
        assert np.isfinite(values).all()
