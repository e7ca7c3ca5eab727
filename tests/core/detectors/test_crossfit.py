import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logit

from core.captures.rehearsal import KINDS, WITHHELD
from core.config import DetectorConfig, WindowConfig
from core.detectors.calibration import clean_thresholds, fit_logistic
from core.detectors.capture_scores import Scores, score_capture
from core.detectors.checkpoint import save_detector, weights_hash
from core.detectors.crossfit import train_stack
from core.detectors.folds import assign_folds, folds_of
from core.detectors.prepare import PreparedCapture, prepare_capture
from core.detectors.stack import FINAL, Detectors, DetectorStack
from core.errors import CheckpointError, DatasetError
from core.graphs.build import build_graphs
from core.graphs.rehearsed import Rehearsal
from tests.core.detectors.toy import (
    CPU,
    Recorder,
    attacked_capture,
    config,
    prepared,
    untrained_gat,
    untrained_vgae,
)


def captures(settings: DetectorConfig | None = None) -> list[PreparedCapture]:
    return [
        prepared("train_01/clean-a", seed=1, settings=settings),
        prepared("train_01/clean-b", seed=2, settings=settings),
        prepared("train_02/attack-a", attacked=slice(30, 45), seed=3, settings=settings),
        prepared("train_02/attack-b", attacked=slice(40, 55), seed=4, settings=settings),
    ]


@pytest.fixture(scope="module")
def stack() -> DetectorStack:
    return train_stack(captures(), config(), CPU, Recorder())


@pytest.fixture(scope="module")
def stack_without_profiles() -> DetectorStack:
    settings = config(protocol="zero-shot")
    return train_stack(captures(settings), settings, CPU, Recorder())


def test_final_detectors_and_one_pair_per_fold(stack: DetectorStack) -> None:
    assert len(stack.folds) == 2
    everyone = [stack.final, *stack.folds]
    assert len({weights_hash(d.vgae) for d in everyone}) == 3
    assert len({weights_hash(d.gat) for d in everyone if d.gat}) == 3
    assert stack.of(FINAL) is stack.final
    assert stack.of(1) is stack.folds[1]


COMMON = ("thresholds", "component_usual", "odds_usual", "slope", "border")
"""What the captures say that folds left out."""


def test_a_fold_is_blind_to_its_captures() -> None:
    """What is in the captures of a fold changes all detectors but that fold's.

    But for the number of epochs, which all folds choose together: here it is one.
    """
    settings = config(**{"vgae.epochs": 1, "gat.epochs": 1})
    stack = train_stack(captures(), settings, CPU, Recorder())
    assigned = [int(a[0]) for a in assign_folds([c.store.y for c in captures()], 3)]
    changed = captures()
    changed[2] = prepared("train_02/attack-a", attacked=slice(20, 50), seed=77)
    other = train_stack(changed, settings, CPU, Recorder())
    for number in range(2):
        same = []
        for one, two in zip(
            (stack.folds[number].vgae, stack.folds[number].gat),
            (other.folds[number].vgae, other.folds[number].gat),
            strict=True,
        ):
            assert one is not None
            assert two is not None
            # All but what the captures that every fold left out say; buffers to the last digits, as
            # windows are scored in batches with others.
            ours, theirs = one.state_dict(), two.state_dict()
            learnt = all((ours[n] == theirs[n]).all() for n, _ in one.named_parameters())
            names = [n for n, _ in one.named_buffers() if n not in COMMON]
            told = all(torch.allclose(ours[n].double(), theirs[n].double(), 1e-5) for n in names)
            same.append(learnt and told)
        assert same == [number == assigned[2]] * 2


def unseen_by(
    stack: DetectorStack, some: list[PreparedCapture], without: int | None = None
) -> list[tuple[Scores, PreparedCapture]]:
    """Scores of training captures by the fold that left each out; those of one fold left aside."""
    assigned = [int(a[0]) for a in assign_folds([c.store.y for c in some], 3)]
    return [
        (score_capture(stack.folds[fold], capture, CPU), capture)
        for capture, fold in zip(some, assigned, strict=True)
        if fold != without
    ]


def with_spread(stack: DetectorStack, of: Detectors) -> DetectorStack:
    """The folds' detectors with the usual spreads of one pair."""
    folds = copy.deepcopy(stack.folds)
    for pair in folds:
        pair.vgae.component_usual.copy_(of.vgae.component_usual)
        assert pair.gat is not None
        assert of.gat is not None
        pair.gat.odds_usual.copy_(of.gat.odds_usual)
        # So that the probability gives the departure away.
        pair.gat.slope.fill_(0.1)
        pair.gat.border.fill_(0.0)
    return DetectorStack(stack.final, folds)


@pytest.mark.parametrize("number", [FINAL, 0, 1])
def test_with_profiles_scores_mean_what_all_windows_not_trained_on_say(
    stack: DetectorStack, number: int
) -> None:
    calibrated = stack.of(number)
    seen = unseen_by(with_spread(stack, calibrated), captures())
    check_calibration(calibrated, seen, profiled=True)


@pytest.mark.parametrize("number", [FINAL, 0, 1])
def test_without_profiles_no_capture_decides_about_its_own_scores(
    stack_without_profiles: DetectorStack, number: int
) -> None:
    """The mapping of the final detectors comes from all windows not trained on, that of a fold from
    those that the other folds left out."""
    calibrated = stack_without_profiles.of(number)
    some = captures(config(protocol="zero-shot"))
    seen = unseen_by(with_spread(stack_without_profiles, calibrated), some, without=number)
    check_calibration(calibrated, seen, profiled=False)


def check_calibration(
    calibrated: Detectors, seen: list[tuple[Scores, PreparedCapture]], profiled: bool
) -> None:
    clean = [capture.store.y[scores.windows] == 0 for scores, capture in seen]
    attacked = [s.deviation[~c] for (s, _), c in zip(seen, clean, strict=True)]
    expected = clean_thresholds(
        np.concatenate([s.deviation[c] for (s, _), c in zip(seen, clean, strict=True)]),
        np.concatenate([k.experience[c] for (_, k), c in zip(seen, clean, strict=True)]),
        np.concatenate(attacked),
        profiled,
    )
    np.testing.assert_allclose(calibrated.vgae.thresholds, expected, rtol=1e-4)
    departure = np.concatenate([10 * logit(scores.gat_prob) for scores, _ in seen])
    label = np.concatenate([capture.store.y[scores.windows] for scores, capture in seen])
    slope, border = fit_logistic(departure, label, profiled)
    assert calibrated.gat is not None
    assert float(calibrated.gat.slope) == pytest.approx(slope, rel=0.05)
    assert float(calibrated.gat.border) == pytest.approx(border, rel=0.02)


def test_commissioning_windows_are_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import core.detectors.crossfit as module

    seen: list[np.ndarray] = []

    def spy(graphs: object, train: np.ndarray, held: np.ndarray, *rest: object) -> object:
        seen.append(np.concatenate([train, held]))
        return fit(graphs, train, held, *rest)  # type: ignore[arg-type]

    fit = module.fit_vgae
    monkeypatch.setattr(module, "fit_vgae", spy)
    some = captures()
    train_stack(some, config(**{"gat.epochs": 1, "vgae.epochs": 1}), CPU, Recorder())
    attacked = np.concatenate([c.store.y for c in some]) == 1
    commissioning = np.tile(np.arange(60) < 10, 4)
    for windows in seen:
        assert not commissioning[windows].any()
        assert not attacked[windows].any()
    # What a fold is trained on and what it left out is all there is; the final ones come last.
    assert [len(windows) for windows in seen] == [(~attacked & ~commissioning).sum()] * 3


@pytest.mark.parametrize(("stride", "apart"), [(20, 2), (10, 2), (4, 5)])
def test_halves_of_a_capture_share_no_frame(
    monkeypatch: pytest.MonkeyPatch, stride: int, apart: int
) -> None:
    import core.detectors.crossfit as module

    seen: dict[str, list[np.ndarray]] = {"fit_vgae": [], "fit_gat": []}
    settings = config(
        **{"window.stride": stride, "gat.epochs": 1, "vgae.epochs": 1, "protocol": "zero-shot"}
    )

    def spied(name: str, fit: Callable[..., object]) -> Callable[..., object]:
        def spy(graphs: object, train: np.ndarray, held: np.ndarray, *rest: object) -> object:
            seen[name].append(train)
            # The windows that epochs are judged by are the other half, or none.
            assert not len(held) or (np.abs(train[:, None] - held[None, :]) >= apart).all()
            return fit(graphs, train, held, *rest)

        return spy

    for name in seen:
        monkeypatch.setattr(module, name, spied(name, getattr(module, name)))
    capture = prepared("train_02/attack", attacked=slice(30, 50), settings=settings)
    train_stack([capture], settings, CPU, Recorder())
    (fold,) = assign_folds([capture.store.y], 3)
    label = capture.store.y
    for number in (0, 1):
        scored = np.flatnonzero(fold == number)
        for name, wanted in (("fit_vgae", label == 0), ("fit_gat", label >= 0)):
            usable = (fold != number) & wanted & far(scored, label, apart)
            assert seen[name][number].tolist() == np.flatnonzero(usable).tolist()


def far(scored: np.ndarray, label: np.ndarray, apart: int) -> np.ndarray:
    """Windows at least so many away from all that are scored."""
    return np.abs(np.arange(len(label))[:, None] - scored[None, :]).min(axis=1) >= apart


def test_a_guard_that_would_cost_the_attacks_is_left_out() -> None:
    some = [prepared("train_01/clean"), prepared("train_02/attack", attacked=slice(40, 42))]
    stack = train_stack(some, config(), CPU, Recorder())
    assert all(detectors.gat for detectors in stack.folds)


def test_without_attacks_there_is_no_gat() -> None:
    recorder = Recorder()
    stack = train_stack(captures()[:2], config(), CPU, recorder)
    assert stack.final.gat is None
    assert [d.gat for d in stack.folds] == [None, None]
    assert not any(step.startswith("gat") for step, _ in recorder.points)
    told = [message.split(":")[0] for message in recorder.messages]
    assert told == ["GAT fold 1", "GAT fold 2", "GAT"]
    assert all("no attacked window to learn from" in message for message in recorder.messages)
    scores = score_capture(stack.final, captures()[2], CPU)
    assert (scores.gat_prob == 0.5).all()


def test_a_single_attacked_window_leaves_one_fold_undecided() -> None:
    some = [prepared("train_01/clean"), prepared("train_02/attack", attacked=slice(40, 41))]
    stack = train_stack(some, config(), CPU, Recorder())
    assert stack.final.gat is not None
    assert [d.gat is None for d in stack.folds] == [False, True]


@pytest.mark.parametrize("attacked", [slice(30, 50), slice(30, 60), slice(0, 30)])
def test_a_single_capture_is_enough(attacked: slice) -> None:
    stack = train_stack([prepared("train_02/attack", attacked=attacked)], config(), CPU, Recorder())
    assert len(stack.folds) == 2
    assert all(d.gat for d in stack.folds)


def test_without_clean_windows_nothing_is_learnt() -> None:
    attacked = [prepared(f"train_02/{n}", attacked=slice(0, 60), seed=n) for n in range(2)]
    with pytest.raises(DatasetError, match="no attack-free window"):
        train_stack(attacked, config(), CPU, Recorder())
    mixed = [prepared("train_01/clean", 30), *attacked]
    with pytest.raises(DatasetError, match="cross-fitting needs attack-free windows"):
        train_stack(mixed, config(), CPU, Recorder())


def test_a_saved_stack_comes_back_whole(stack: DetectorStack, tmp_path: Path) -> None:
    stack.save(tmp_path / "detectors", {"made": "of this"})
    loaded = DetectorStack.load(tmp_path / "detectors")
    pairs = zip((stack.final, *stack.folds), (loaded.final, *loaded.folds), strict=True)
    for one, two in pairs:
        assert weights_hash(one.vgae) == weights_hash(two.vgae)
        assert one.gat is not None
        assert two.gat is not None
        assert weights_hash(one.gat) == weights_hash(two.gat)
    about = json.loads((tmp_path / "detectors" / "detectors.json").read_text())
    assert about["fingerprint"] == {"made": "of this"}


def test_a_stack_without_gat_comes_back_without(tmp_path: Path) -> None:
    stack = DetectorStack(
        Detectors(untrained_vgae(), untrained_gat()), (Detectors(untrained_vgae(), None),)
    )
    stack.save(tmp_path / "detectors", {})
    loaded = DetectorStack.load(tmp_path / "detectors")
    assert loaded.final.gat is not None
    assert loaded.folds[0].gat is None
    # Saving again leaves nothing of the old stack.
    DetectorStack(Detectors(untrained_vgae(), None)).save(tmp_path / "detectors", {})
    assert sorted(p.name for p in (tmp_path / "detectors").rglob("*")) == [
        "detectors.json",
        "final",
        "vgae.safetensors",
    ]


@pytest.mark.parametrize("damage", ["nothing", "json", "vgae", "gat", "kind"])
def test_a_damaged_stack_is_refused(stack: DetectorStack, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "detectors"
    if damage != "nothing":
        stack.save(folder, {})
    if damage == "json":
        (folder / "detectors.json").write_text("[]")
    elif damage == "vgae":
        (folder / "fold_1" / "vgae.safetensors").write_bytes(b"junk")
    elif damage == "gat":
        (folder / "fold_1" / "gat.safetensors").unlink()
    elif damage == "kind":
        save_detector(untrained_vgae(), folder / "final" / "gat.safetensors")
    with pytest.raises(CheckpointError, match="detectors"):
        DetectorStack.load(folder)


def rehearsed(kind: str, of: str, half: int = 0, seed: int = 0) -> PreparedCapture:
    capture = prepared(f"train_rehearsed/{kind} on {of}", attacked=slice(30, 50), seed=seed)
    taught = kind not in WITHHELD
    return replace(capture, rehearsal=Rehearsal(of, kind, half, 0, taught))


def test_a_fold_leaves_out_kinds_of_attack_and_no_vgae_learns_from_rehearsals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import core.detectors.crossfit as module

    some = [
        prepared("train_01/a", seed=1),
        prepared("train_01/b", seed=2),
        *(
            rehearsed(k, of, seed=9)
            for k in ("DoS", "fuzzing")
            for of in ("train_01/a", "train_01/b")
        ),
    ]
    some.append(rehearsed("masquerade", "train_01/a", seed=9))  # Nobody learns from it.
    seen: dict[str, list[set[int]]] = {"fit_vgae": [], "fit_gat": []}
    start = np.cumsum([0] + [len(c.store) for c in some])

    def spied(name: str, fit: Callable[..., object]) -> Callable[..., object]:
        def spy(graphs: object, train: np.ndarray, held: np.ndarray, *rest: object) -> object:
            owner = np.searchsorted(start, train, side="right") - 1
            seen[name].append(set(owner.tolist()))
            return fit(graphs, train, held, *rest)

        return spy

    for name in seen:
        monkeypatch.setattr(module, name, spied(name, getattr(module, name)))
    settings = config(**{"gat.epochs": 1, "vgae.epochs": 1})
    stack = train_stack(some, settings, CPU, Recorder())
    folds = [int(fold[0]) for fold in folds_of(some, settings)]
    assert sorted(folds[:2]) == [0, 1]
    assert seen["fit_vgae"][-1] == {0, 1}
    assert seen["fit_gat"][-1] == {0, 1, 2, 3, 4, 5}
    for number in (0, 1):
        kept = {n for n, fold in enumerate(folds[:6]) if fold != number}
        assert seen["fit_vgae"][number] == kept & {0, 1}
        unheard = {2, 3} if number == KINDS.index("DoS") % 2 else {4, 5}
        assert seen["fit_gat"][number] == kept - unheard
    assert all(detectors.gat is not None for detectors in (stack.final, *stack.folds))


def test_what_is_taught_of_a_rehearsal() -> None:
    table = attacked_capture(60, slice(30, 50), 0)
    table.label[100] = 1
    store = build_graphs(table, WindowConfig(100, 100))
    assert store.attacked_share[:2].tolist() == [0, np.float32(0.01)]
    settings = config(protocol="zero-shot")

    def taught(for_gat: bool | None) -> list[int]:
        rehearsal = None if for_gat is None else Rehearsal("train_01/a", "DoS", 0, 0, for_gat)
        return prepare_capture("train/x", store, settings, rehearsal).taught.tolist()

    everything = list(range(len(store)))
    assert taught(True) == [n for n in everything if n != 1]
    assert taught(False) == []
    assert taught(None) == everything
