from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.detectors.folds import assign_folds, folds_of, why_not
from core.detectors.prepare import PreparedCapture
from core.graphs.rehearsed import Rehearsal
from tests.core.detectors.toy import config, prepared


def label(windows: int, *attacked: int) -> np.ndarray:
    y = np.zeros(windows, np.uint8)
    y[list(attacked)] = 1
    return y


def attacks_outside(folds: list[np.ndarray], labels: list[np.ndarray]) -> list[int]:
    """Attacked windows that each fold leaves for training."""
    fold, y = np.concatenate(folds), np.concatenate(labels)
    return [int(y[fold != n].sum()) for n in range(int(fold.max()) + 1)]


@given(
    attacked=st.lists(st.booleans(), min_size=1, max_size=12).filter(lambda a: sum(a) >= 2),
    folds=st.integers(2, 6),
)
def test_every_fold_leaves_attacks_to_learn_from(attacked: list[bool], folds: int) -> None:
    labels = [label(7, 3) if has_attack else label(5) for has_attack in attacked]
    assigned = assign_folds(labels, folds)
    assert [len(a) for a in assigned] == [len(y) for y in labels]
    assert all(len(np.unique(a)) == 1 for a in assigned)  # whole captures
    assert set(np.concatenate(assigned)) == set(range(min(folds, sum(attacked))))
    assert min(attacks_outside(assigned, labels)) > 0
    for kind in (True, False):
        # Dealt out in turn: no fold has two more captures of a kind than another.
        numbers = [int(a[0]) for a, has in zip(assigned, attacked, strict=True) if has is kind]
        counts = [numbers.count(n) for n in range(min(folds, sum(attacked)))]
        assert max(counts) - min(counts) <= 1


def test_a_single_attacked_capture_is_cut_in_its_attacks() -> None:
    labels = [label(10), label(20, 12, 13, 14, 15), label(7)]
    first, second, third = assign_folds(labels, 4)
    assert first.tolist() == [0] * 5 + [1] * 5
    assert second.tolist() == [0] * 14 + [1] * 6
    assert third.tolist() == [0] * 3 + [1] * 4
    assert attacks_outside([first, second, third], labels) == [2, 2]


@given(windows=st.integers(4, 60), data=st.data())
def test_both_halves_of_the_only_capture_hold_both_classes(
    windows: int, data: st.DataObject
) -> None:
    rows = data.draw(st.sets(st.integers(0, windows - 1), min_size=2, max_size=windows - 2))
    y = label(windows, *rows)
    (fold,) = assign_folds([y], 4)
    for value in (0, 1):
        part = fold[y == value]
        assert set(part) == {0, 1}
        assert (np.diff(part) >= 0).all()  # whole stretches of time


def test_an_attack_to_the_end_of_the_only_capture() -> None:
    (fold,) = assign_folds([label(10, 6, 7, 8, 9)], 4)
    assert fold.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]


def test_without_attacks_captures_are_dealt_out() -> None:
    labels = [label(4)] * 5
    numbers = [int(a[0]) for a in assign_folds(labels, 3)]
    assert sorted(numbers.count(n) for n in range(3)) == [1, 2, 2]
    assert [int(a[0]) for a in assign_folds(labels[:2], 4)] == [1, 0]
    assert assign_folds(labels[:1], 4)[0].tolist() == [0, 0, 1, 1]


def rehearsed(
    kind: str, of: str, half: int = 0, seed: int = 0, taught: bool = True
) -> PreparedCapture:
    capture = prepared(f"train_rehearsed/{kind} on {of}", attacked=slice(30, 50), seed=seed)
    return replace(capture, rehearsal=Rehearsal(of, kind, half, 0, taught))


def test_a_rehearsal_goes_with_the_traffic_it_was_acted_out_on() -> None:
    some = [
        prepared("train_01/a", seed=1),
        prepared("train_01/b", seed=2),
        prepared("train_02/c", attacked=slice(30, 45), seed=3),
        rehearsed("DoS", "train_01/a"),
        rehearsed("replay", "train_01/b", half=1),
    ]
    assigned = [set(fold.tolist()) for fold in folds_of(some, config(folds=4))]
    assert assigned[3] == assigned[0]
    assert assigned[4] == assigned[1]
    # One capture holds attacks, but none is cut: attacks are rehearsed.
    assert [len(fold) for fold in assigned] == [1] * 5
    assert assigned[0] != assigned[1]
    # It is cut where the GAT learns from nothing else.
    some[3:] = [rehearsed("DoS", "train_01/a", taught=False)]
    assert set(folds_of(some, config(folds=4))[2].tolist()) == {0, 1}


def test_rehearsals_on_an_only_capture_go_with_its_halves() -> None:
    some = [prepared("train_01/a"), *(rehearsed("DoS", "train_01/a", half) for half in (0, 1))]
    base, first, second = folds_of(some, config(folds=4))
    assert base[0] == 0
    assert base[-1] == 1
    assert set(first) == {0}
    assert set(second) == {1}


def named(key: str, attack: str, seed: int) -> PreparedCapture:
    capture = prepared(key, attacked=slice(30, 45), seed=seed)
    return replace(capture, store=replace(capture.store, attack_names=(attack,)))


def of_vehicle(key: str, first_id: int, seed: int, attacked: bool = False) -> PreparedCapture:
    rows = slice(30, 45) if attacked else None
    return prepared(key, attacked=rows, seed=seed, first_id=first_id)


def test_all_captures_of_an_attack_are_left_out_together() -> None:
    some = [
        prepared("train_01/clean-a", seed=1),
        named("train_02/spoofing-1", "spoofing", 2),
        named("train_02/dos", "DoS", 3),
        named("train_02/spoofing-2", "spoofing", 4),
        prepared("train_01/clean-b", seed=5),
    ]
    numbers = [set(f.tolist()) for f in folds_of(some, config(cross_fit="attack"))]
    assert numbers == [{1}, {1}, {0}, {1}, {0}]
    assert why_not(some, config(cross_fit="attack")) == ""


def test_all_captures_of_a_vehicle_are_left_out_together() -> None:
    some = [
        of_vehicle("train_01/one", 0x100, 1),
        of_vehicle("train_01/other", 0x300, 2),
        of_vehicle("train_02/one", 0x100, 3, attacked=True),
        of_vehicle("train_02/other", 0x300, 4, attacked=True),
    ]
    numbers = [set(f.tolist()) for f in folds_of(some, config(cross_fit="vehicle"))]
    assert numbers == [{0}, {1}, {0}, {1}]


@pytest.mark.parametrize("by", ["attack", "vehicle"])
def test_with_one_attack_or_vehicle_folds_are_made_by_capture(by: str) -> None:
    some = [
        prepared("train_01/clean", seed=1),
        prepared("train_02/attack-a", attacked=slice(30, 45), seed=3),
        prepared("train_02/attack-b", attacked=slice(40, 55), seed=4),
    ]
    found = folds_of(some, config(cross_fit=by))
    for one, other in zip(found, assign_folds([c.store.y for c in some], 3), strict=True):
        np.testing.assert_array_equal(one, other)
    assert f"by {by} needs at least two of them" in why_not(some, config(cross_fit=by))
    assert why_not(some, config()) == ""
