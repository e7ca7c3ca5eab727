"""Planted anomalies must be found and named; shares must add up; nothing may hang on id numbers."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch
from torch_geometric.utils import scatter

from core.captures.frame_table import FrameTable
from core.captures.readers import read_capture
from core.captures.simulator import AttackSpec, simulate_recording, simulate_vehicle
from core.config import DetectorConfig, VGAEConfig
from core.detectors.capture_scores import score_capture
from core.detectors.crossfit import train_stack
from core.detectors.explanation import (
    DEVIATIONS,
    FEATURES,
    PRIOR,
    REASONS,
    REFERENCE_WINDOWS,
    STEPS,
    Explanation,
    explain,
)
from core.detectors.graph_model import CLIP, GraphModel
from core.detectors.prepare import PreparedCapture, prepare_capture
from core.detectors.stack import Detectors, DetectorStack
from core.errors import ConfigError
from core.graphs.build import build_graphs
from core.graphs.reference import COMPARED
from core.graphs.tensors import GraphTensors
from core.progress import SilentReporter
from tests.core.detectors.toy import CPU, config, prepared, untrained_gat, untrained_vgae
from tests.core.graphs.captures import random_capture
from tests.core.small_dataset import SmallRun

IDS = 0x100 + 8 * np.arange(6)
WINDOWS, FRAMES, ATTACKED = 80, 20, 60
TARGET = int(IDS[2])


@functools.cache
def trained() -> Detectors:
    """Tiny detectors, trained on frames of ids never seen before among regular ones."""
    captures = [
        prepared("train_01/clean"),
        prepared("train_02/attacked", attacked=slice(30, 45), seed=1),
        prepared("train_02/other", attacked=slice(30, 45), seed=2),
    ]
    return train_stack(captures, config(), CPU, SilentReporter()).final


def untrained() -> Detectors:
    return Detectors(untrained_vgae(), untrained_gat())


def traffic(kind: str) -> FrameTable:
    """Six ids, each once a round, one of which does something else in window ``ATTACKED``."""
    frames, rng = WINDOWS * FRAMES, np.random.default_rng(5)
    rounds = rng.permuted(np.tile(IDS, (frames // len(IDS) + 1, 1)), axis=1)
    ids = rounds.ravel()[:frames]
    payload = rng.integers(0, 4, (frames, 8)).astype(np.uint8)
    window = np.arange(frames) // FRAMES == ATTACKED
    at = np.flatnonzero(window & (ids == TARGET))
    if kind == "payload":
        payload[at] = rng.integers(0x80, 0x100, (len(at), 8))
    elif kind == "often":
        ids[np.flatnonzero(window)[1::2]] = TARGET
    elif kind == "unseen":
        ids[at] = 0x700
    time = np.arange(frames) * 1e-3 + rng.uniform(0, 1e-4, frames)
    if kind == "missing":
        # As many of the others' frames as fill the window.
        late = (np.arange(frames) >= ATTACKED * FRAMES) & (
            np.arange(frames) < ATTACKED * FRAMES + 24
        )
        kept = ~(late & (ids == TARGET))
        ids, payload, time, frames = ids[kept], payload[kept], time[kept], int(kept.sum())
    return FrameTable(
        timestamp=time,
        arbitration_id=ids.astype(np.uint32),
        flags=np.zeros(frames, np.uint8),
        length=np.full(frames, 8, np.uint8),
        payload=payload,
        label=np.zeros(frames, np.uint8),
        attack=np.full(frames, -1, np.int16),
    )


def capture_of(table: FrameTable, protocol: str = "commissioned") -> PreparedCapture:
    settings = config(protocol=protocol, profile_windows=25)
    return prepare_capture("test_01/x", build_graphs(table, settings.window), settings)


@pytest.mark.parametrize("protocol", ["commissioned", "zero-shot"])
@pytest.mark.parametrize(
    ("kind", "culprit", "present", "reasons"),
    [
        ("payload", TARGET, True, ("payload bytes never seen", "payload changes more")),
        ("often", TARGET, True, ("sends more often", "shorter time", "closer succession")),
        ("unseen", 0x700, True, ("id never seen on this vehicle",)),
        ("missing", TARGET, False, ("expected, but missing",)),
    ],
)
def test_a_planted_anomaly_is_found_and_named(
    protocol: str, kind: str, culprit: int, present: bool, reasons: tuple[str, ...]
) -> None:
    found = explain(trained(), capture_of(traffic(kind), protocol), [ATTACKED]).table()
    first = found.iloc[0]
    assert (first["window"], first["rank"]) == (ATTACKED, 1)
    assert first["arbitration_id"] == culprit
    assert first["present"] == present
    assert any(reason in first["reasons"] for reason in reasons), first["reasons"]
    if kind == "unseen":
        assert first["reasons"] == reasons[0]
        # The id whose frames it took is missed as well.
        missed = found[~found["present"]]
        assert missed["arbitration_id"].tolist() == [TARGET]
    assert found["contribution"].sum() == pytest.approx(1)
    # By itself, too, the culprit is anomalous; what the others do is usual.
    # Of a missing id, no more than four frames fail to come in so short a window.
    assert first["anomaly_score"] > (0.5 if present else 0.2)
    others = found[~found["arbitration_id"].isin([culprit, TARGET])]
    assert (others["anomaly_score"] < 0.5).mean() >= 0.8


def test_an_id_that_woke_up_late_is_missed_all_the_same() -> None:
    table = traffic("missing")
    ids = table.arbitration_id.copy()
    asleep = (np.arange(len(ids)) < 5 * FRAMES) & (ids == TARGET)
    ids[asleep] = IDS[0]
    capture = capture_of(dataclasses.replace(table, arbitration_id=ids))
    found = explain(Detectors(trained().vgae, None), capture, [2, ATTACKED]).table()
    missing = found[~found["present"]]
    assert missing[["window", "arbitration_id"]].to_numpy().tolist() == [
        [2, TARGET], [ATTACKED, TARGET],
    ]  # fmt: skip


def test_an_id_that_is_often_away_is_not_missed() -> None:
    table = traffic("")
    ids = table.arbitration_id.copy()
    away = (np.arange(len(ids)) // FRAMES % 5 == 0) & (ids == TARGET)
    ids[away] = IDS[0]
    capture = capture_of(dataclasses.replace(table, arbitration_id=ids))
    assert explain(untrained(), capture, [60, 65]).present.all()


def test_an_id_that_is_always_badly_reconstructed_does_not_rank_first() -> None:
    """Also where nothing but the VGAE speaks: its errors, and no habit to depart from."""
    table = traffic("payload")
    restless = int(IDS[0])
    at = table.arbitration_id == restless
    payload = table.payload.copy()
    payload[at] = np.random.default_rng(1).integers(0, 256, (at.sum(), 8))
    capture = capture_of(dataclasses.replace(table, payload=payload))
    detectors = Detectors(trained().vgae, None)
    graphs = GraphTensors.join([(capture.store, capture.relative)])
    with torch.inference_mode():
        calm = graphs.gather(torch.arange(30, 50))
        error = detectors.vgae(calm).node.numpy()
    ids = capture.store.node_id[capture.store.node_ptr[30] : capture.store.node_ptr[50]]
    usual = pd.Series(error).groupby(ids).mean()
    assert usual.idxmax() == restless
    found = explain(detectors, capture, [ATTACKED])
    assert found.arbitration_id[0] == TARGET
    vgae = found.evidence[:, 1].sum(1)
    assert found.arbitration_id[vgae.argmax()] == TARGET
    assert vgae[found.arbitration_id == restless] < 0.2 * vgae.max()


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    ids=st.integers(1, 12),
    protocol=st.sampled_from(["commissioned", "zero-shot"]),
)
def test_contributions_add_up(seed: int, ids: int, protocol: str) -> None:
    table = random_capture(600, ids, seed, extended=bool(seed % 2))
    settings = config(protocol=protocol)
    capture = prepare_capture("test_01/x", build_graphs(table, settings.window), settings)
    windows = np.random.default_rng(seed).permutation(len(capture.store))[:9]
    found = explain(untrained(), capture, windows)
    assert np.isfinite(found.evidence).all()
    assert (found.evidence >= 0).all()
    assert np.unique(found.window).tolist() == sorted(windows.tolist())
    frame = found.table()
    assert (frame["contribution"] >= 0).all()
    for window, rows in frame.groupby("window"):
        assert rows["contribution"].sum() == pytest.approx(1)
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        assert rows["contribution"].is_monotonic_decreasing
        nodes = slice(*capture.store.node_ptr[[window, window + 1]])
        present = rows.loc[rows["present"], "arbitration_id"]
        assert sorted(present) == capture.store.node_id[nodes].tolist()
        assert not set(rows.loc[~rows["present"], "arbitration_id"]) & set(present)
    parts = frame[["profile", "vgae", "gat"]].sum(axis=1).to_numpy()
    some = found.evidence.sum((1, 2)) > 0
    np.testing.assert_allclose(parts[some], frame["contribution"][some], rtol=1e-9)
    np.testing.assert_allclose(found.reasons().sum(1)[some], 1)


@pytest.mark.parametrize("protocol", ["commissioned", "zero-shot"])
def test_the_number_of_an_id_does_not_matter(protocol: str) -> None:
    table = random_capture(1200, 9, 3)
    pool = np.unique(table.arbitration_id)
    other = np.random.default_rng(0).permutation(pool)
    renamed = dataclasses.replace(
        table, arbitration_id=other[np.searchsorted(pool, table.arbitration_id)]
    )
    windows = np.arange(20, 50)
    one, two = (explain(untrained(), capture_of(t, protocol), windows) for t in (table, renamed))

    def sortable(found: Explanation, ids: np.ndarray) -> pd.DataFrame:
        frame = found.table().assign(arbitration_id=ids)
        return frame.sort_values(["window", "arbitration_id"]).reset_index(drop=True)

    mapped = other[np.searchsorted(pool, one.arbitration_id)].astype(np.int64)
    first, second = sortable(one, mapped), sortable(two, two.arbitration_id)
    values = ["window", "arbitration_id", "present", "contribution", "profile", "vgae", "gat"]
    pd.testing.assert_frame_equal(first[values], second[values], rtol=1e-3, atol=1e-5)


def test_a_window_is_explained_alike_whatever_is_asked_besides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capture = capture_of(random_capture(1600, 9, 4), "zero-shot")
    whole = explain(untrained(), capture, np.arange(80)).table()
    alone = explain(untrained(), capture, [70]).table()
    monkeypatch.setattr("core.detectors.explanation.BLOCK", 7)
    monkeypatch.setattr("core.detectors.prepare.PART_WINDOWS", 13)
    pieces = explain(untrained(), capture, np.arange(80)).table()
    pd.testing.assert_frame_equal(pieces, whole, rtol=1e-4, atol=1e-6)
    expected = whole[whole["window"] == 70].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected, rtol=1e-4, atol=1e-6)


def plain_evidence(
    detectors: Detectors, capture: PreparedCapture, window: int, reference: list[int]
) -> dict[int, np.ndarray]:
    """Id -> ``[3, len(FEATURES)]``, window by window and id by id, from the formulas."""
    store, relative = capture.store, capture.relative
    graphs = GraphTensors.join([(store, relative)])

    def observed(g: int) -> tuple[Batch, list[int], np.ndarray, np.ndarray]:
        batch = graphs.gather(torch.tensor([g]))
        nodes = slice(store.node_ptr[g], store.node_ptr[g + 1])
        ids = store.node_id[nodes].tolist()
        with torch.inference_mode():
            x, edge_attr, _ = detectors.vgae.standardise(batch)
            out = detectors.vgae(batch)
            error = (detectors.vgae.node_decoder(out.latent) - x) ** 2
        profile, vgae = np.zeros((len(ids), len(FEATURES))), np.zeros((len(ids), len(FEATURES)))
        features = batch.x.double().numpy()
        for node in range(len(ids)):
            for name in COMPARED:
                column = FEATURES.index(f"{name}_shift")
                profile[node, column] = features[node, column] ** 2 / 2
            vgae[node, :-2] = error[node] / x.shape[1]
            ends = [
                float(out.edge[e])
                for e in range(len(edge_attr))
                for end in batch.edge_index[:, e].tolist()
                if end == node
            ]
            weight = detectors.vgae.config.edge_weight
            vgae[node, -2] = weight * np.mean(ends) if ends else 0.0
        return batch, ids, np.stack([profile, vgae], axis=1), features

    seen: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    where: dict[int, list[int]] = {}
    for g in reference:
        _, ids, evidence, features = observed(g)
        for i, identifier in enumerate(ids):
            seen.setdefault(identifier, []).append((evidence[i], features[i]))
            where.setdefault(identifier, []).append(g)
    average = [row for rows in seen.values() for row in rows]

    def moments(rows: list[tuple[np.ndarray, np.ndarray]], part: int) -> tuple[np.ndarray, ...]:
        own = np.array([row[part] for row in rows])
        pool = np.array([row[part] for row in average])
        first = (own.sum(0) if len(own) else 0) + PRIOR * pool.mean(0)
        second = ((own**2).sum(0) if len(own) else 0) + PRIOR * (pool**2).mean(0)
        mean, square = first / (len(own) + PRIOR), second / (len(own) + PRIOR)
        return mean, np.sqrt(np.maximum(square - mean**2, 0))

    batch, ids, evidence, features = observed(window)
    usual = np.stack([moments(seen.get(i, []), 1)[0] for i in ids])
    frames = config().window.size
    result = {}
    for node, identifier in enumerate(ids):
        mean, spread = moments(seen.get(identifier, []), 0)
        charged = np.zeros((3, len(FEATURES)))
        charged[:2] = np.maximum(evidence[node] - mean - DEVIATIONS * spread, 0)
        if features[node, FEATURES.index("unseen")]:
            share = features[node, FEATURES.index("frame_share")]
            charged[0, FEATURES.index("unseen")] = np.log(len(reference) * frames + 2)
            charged[0, FEATURES.index("frame_share_shift")] = np.arcsinh(share / 0.01) ** 2 / 2
        result[identifier] = charged
    gat = detectors.gat
    assert gat is not None

    def bounded(x: Tensor) -> Tensor:
        return gat.x_mean + ((x - gat.x_mean) / gat.x_std).clamp(-CLIP, CLIP) * gat.x_std * 0.99999

    low, high = bounded(torch.from_numpy(usual).float()), bounded(batch.x)
    total = torch.zeros_like(high)
    for step in range(STEPS):
        x = (low + (step + 0.5) / STEPS * (high - low)).requires_grad_()
        batch.x = x
        gat(batch).sum().backward()
        assert x.grad is not None
        total += x.grad / STEPS * (high - low).detach()
    for node, identifier in enumerate(ids):
        added = total[node].double().numpy()
        raising = np.maximum(added, 0)
        result[identifier][2, :-2] = raising / max(raising.sum(), 1e-300) * max(added.sum(), 0)
    for identifier in seen.keys() - set(ids):
        since = [g for g in reference if g >= min(where[identifier])]
        share = 1 - (len(seen[identifier]) + 1) / (len(since) + 2)
        left = 1 - share - DEVIATIONS * np.sqrt(share * (1 - share))
        if left > 0:
            usual_share = moments(seen[identifier], 1)[0][FEATURES.index("frame_share")]
            charged = np.zeros((3, len(FEATURES)))
            charged[0, -1] = left * (usual_share * frames - np.log(share))
            result[identifier] = charged
    return result


@pytest.mark.parametrize("protocol", ["commissioned", "zero-shot"])
def test_against_a_plain_loop(protocol: str) -> None:
    table = traffic("missing")
    ids = table.arbitration_id.copy()
    ids[1230:1236] = 0x5A5  # unseen, in the window after
    rng = np.random.default_rng(0)
    capture = capture_of(dataclasses.replace(table, arbitration_id=ids), protocol)
    detectors = trained()
    windows = [40, ATTACKED, ATTACKED + 1]
    scores = score_capture(detectors, capture, CPU)
    anomaly_score, gat_prob = rng.uniform(0, 0.7, (2, len(scores.windows)))
    scores = dataclasses.replace(scores, anomaly_score=anomaly_score, gat_prob=gat_prob)
    calm = scores.windows[(anomaly_score < 0.5) & (gat_prob <= 0.5)]
    found = explain(detectors, capture, windows, scores=scores)
    for window in windows:
        reference = capture.commissioning.tolist()
        if protocol == "zero-shot":
            reference = calm[calm < window][-REFERENCE_WINDOWS:].tolist()
        expected = plain_evidence(detectors, capture, window, reference)
        rows = found.window == window
        assert sorted(found.arbitration_id[rows]) == sorted(expected)
        total = sum(value.sum() for value in expected.values())
        for row in np.flatnonzero(rows):
            value = expected[int(found.arbitration_id[row])]
            np.testing.assert_allclose(found.evidence[row], value, rtol=2e-3, atol=2e-4)
            assert found.contribution[row] == pytest.approx(value.sum() / total, abs=1e-3)
            against = value[:2].sum()
            assert found.anomaly_score[row] == pytest.approx(
                against / (against + np.log(1000)), abs=1e-3
            )


class LinearGAT(GraphModel):
    """Log-odds are a weight times the sum of a feature over the ids."""

    def forward(self, batch: Batch) -> Tensor:
        x, _, _ = self.standardise(batch)
        return 10.0 * scatter(
            x[:, FEATURES.index("frame_share")], batch.batch, dim_size=len(batch.y), reduce="sum"
        )


def test_what_the_gat_adds_by_hand() -> None:
    capture = capture_of(traffic("often"))
    detectors = Detectors(untrained_vgae(), LinearGAT())  # type: ignore[arg-type]
    found = explain(detectors, capture, [ATTACKED])
    odds = dict(zip(found.arbitration_id.tolist(), found.evidence[:, 2], strict=True))
    ids, share = capture.store.node_id, capture.store.x[:, 0]
    profile = slice(0, capture.store.node_ptr[25])
    mean = pd.Series(share[profile]).groupby(ids[profile]).mean()
    usual = (25 * mean + PRIOR * share[profile].mean()) / (25 + PRIOR)
    for node in range(*capture.store.node_ptr[[ATTACKED, ATTACKED + 1]]):
        more = share[node] - usual[ids[node]]
        assert odds[ids[node]].sum() == pytest.approx(max(10 * more, 0), rel=1e-3, abs=1e-6)
        assert odds[ids[node]].sum() == odds[ids[node]][FEATURES.index("frame_share")]
    assert odds[TARGET].sum() > 3


def test_without_a_gat_nothing_comes_from_it() -> None:
    found = explain(Detectors(untrained_vgae(), None), capture_of(traffic("often")), [ATTACKED])
    assert not found.evidence[:, 2].any()
    assert found.arbitration_id[0] == TARGET


def test_the_first_window_has_nothing_to_be_compared_with() -> None:
    found = explain(untrained(), capture_of(traffic(""), "zero-shot"), [0])
    assert found.contribution.sum() == pytest.approx(1)
    assert set(found.arbitration_id.tolist()) == set(IDS.tolist())
    assert found.present.all()


def test_where_every_window_is_objected_to_those_before_still_count() -> None:
    capture = capture_of(traffic("missing"), "zero-shot")
    scores = score_capture(trained(), capture, CPU)
    alarm = dataclasses.replace(scores, anomaly_score=np.ones(len(scores.windows)))
    found = explain(trained(), capture, [ATTACKED], scores=alarm)
    assert found.arbitration_id[0] == TARGET
    assert not found.present[0]


def test_windows_that_are_not_there() -> None:
    capture = capture_of(traffic(""))
    nothing = explain(untrained(), capture, [])
    assert len(nothing.window) == 0
    assert nothing.table().empty
    assert nothing.evidence.shape == (0, 3, len(FEATURES))
    with pytest.raises(ConfigError, match=r"test_01/x: expected windows from 0 to 79, got 80"):
        explain(untrained(), capture, [80])
    with pytest.raises(ConfigError, match="got -1"):
        explain(untrained(), capture, [-1, 5])


def test_only_the_first_ids_of_every_window() -> None:
    found = explain(untrained(), capture_of(traffic("")), [30, 50])
    assert found.table(2)[["window", "rank"]].to_numpy().tolist() == [
        [30, 1], [30, 2], [50, 1], [50, 2],
    ]  # fmt: skip


def test_directions_are_put_in_words() -> None:
    evidence = np.zeros((3, 3, len(FEATURES)))
    evidence[:, 0, FEATURES.index("frame_share_shift")] = 5.0
    evidence[:, 1, FEATURES.index("changed_bits")] = 3.0
    evidence[:, 2, FEATURES.index("length")] = 0.5  # too little to be named
    higher = np.ones((3, len(FEATURES)), bool)
    higher[:, FEATURES.index("unseen")] = [False, False, True]
    higher[1] = False
    found = Explanation(
        window=np.arange(3),
        arbitration_id=np.arange(3),
        rank=np.ones(3, np.int64),
        present=np.ones(3, bool),
        contribution=np.ones(3),
        anomaly_score=np.ones(3),
        evidence=evidence,
        higher=higher,
    )
    assert found.words().tolist() == [
        "sends more often than usual; payload changes more than usual",
        "sends less often than usual; payload changes less than usual",
        "id never seen on this vehicle",
    ]
    assert found.words(1)[0] == "sends more often than usual"
    assert len(found.reasons()[0]) == len(REASONS)


def share_named_first(
    detectors: Detectors, table: FrameTable, settings: DetectorConfig, detected: bool
) -> tuple[float, int]:
    """Share of attacked windows (detected ones, or all) in which the id with most attacked frames
    is ranked first, and their number."""
    store = build_graphs(table, settings.window)
    capture = prepare_capture("test_01/x", store, settings)
    scores = score_capture(detectors, capture, CPU)
    wanted = store.y[scores.windows] > 0
    if detected:
        wanted &= (scores.anomaly_score >= 0.5) | (scores.gat_prob >= 0.5)
    windows = scores.windows[wanted]
    window = np.arange(len(table)) // settings.window.size
    attacked = pd.DataFrame({"window": window, "id": table.arbitration_id})[table.label > 0]
    culprit = attacked.groupby("window")["id"].agg(lambda ids: ids.mode()[0])
    found = explain(detectors, capture, windows, scores=scores)
    first = found.arbitration_id[found.rank == 1]
    return float((first == culprit.loc[windows].to_numpy()).mean()), len(windows)


@pytest.mark.parametrize("kind", ["spoofing", "malfunction", "masquerade"])
def test_the_injected_id_is_named_on_a_vehicle_never_seen(kind: str, shared_run: SmallRun) -> None:
    folder = shared_run.workspace.detectors(shared_run.dataset.name, "commissioned")
    detectors = DetectorStack.load(folder).final
    vehicle = simulate_vehicle(41)
    duration_s = 40_000 / vehicle.frames_per_s
    attack = AttackSpec(kind, ((0.6 * duration_s, 0.9 * duration_s),))
    table = simulate_recording(vehicle, duration_s, attack, 1)
    share, windows = share_named_first(detectors, table, DetectorConfig(), detected=False)
    assert windows > 50
    assert share >= 0.9


@pytest.mark.real_data
def test_the_injected_id_is_named_on_a_real_vehicle(real_data: Path) -> None:
    """A VGAE trained for a moment; every attacked window counts, detected or not."""
    settings = DetectorConfig(
        vgae=VGAEConfig(hidden_channels=8, latent_channels=4, epochs=2), folds=2, device="cpu"
    )
    folder = real_data / "hcrl_sa"
    clean = read_capture(folder / "train_01_attack_free" / "attack-free-kia.parquet")
    store = build_graphs(clean, settings.window)
    captures = [
        prepare_capture(f"train_01/{i}", store.windows(first, first + 600), settings)
        for i, first in enumerate((0, 900))
    ]
    detectors = train_stack(captures, settings, CPU, SilentReporter()).final
    (path,) = folder.glob("test_*/malfunction-kia.parquet")
    share, windows = share_named_first(detectors, read_capture(path), settings, detected=False)
    assert windows > 500
    assert share >= 0.9
