"""Every method beside every other, on validation, on each test folder and on each capture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.config import FusionConfig
from core.evaluation.baselines import (
    Stacking,
    best_fixed_alpha,
    fit_stacking,
    fused_score,
    oracle_score,
)
from core.evaluation.metrics import require_finite
from core.evaluation.scenario import measure_scenario
from core.evaluation.scores import EXTRA, AlphaPolicy, Scores, WindowScores

VALIDATION = "validation"
"""Scenario name of the held-out training windows in :attr:`Comparison.predictions`."""


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found."""

    results: dict[str, Any]
    """``validation`` (a scenario), ``scenarios`` (test folder -> scenario), ``fixed_alpha``,
    ``stacking`` (weights and bias) and ``warnings``; fit for JSON.

    A scenario is what :func:`core.evaluation.scenario.measure_scenario` finds; that of the
    held-out stretches of training captures has no ``detection``."""
    predictions: pa.Table
    """One row per scored window: ``split`` (scenario), ``capture`` (``split/file``), ``window``,
    ``start_time``, ``end_time`` (s), ``first_frame``, ``label``, ``attack``, ``anomaly_score``,
    ``gat_prob``, ``alpha`` and the scores ``fused``, ``fixed_alpha``, ``stacking``, ``oracle``;
    ``score:`` and its name: the score of a further detector."""


def compare(
    cache_train: Scores,
    cache_validation: WindowScores,
    cache_tests: Mapping[str, WindowScores],
    agent: AlphaPolicy,
    config: FusionConfig,
    commissioning: Mapping[str, int] | None = None,
) -> Comparison:
    """Compare the agent with each model alone, two baselines and the oracle.

    Args:
        cache_train: windows that the agent was trained on; the baselines are fitted on them.
        cache_validation: windows of the training captures that nothing was fitted on.
        cache_tests: test folder -> its windows.
        agent: the policy behind ``fusion``.
        config: the threshold of all verdicts and the costs that the baselines pursue.
        commissioning: capture (``split/file``) -> windows that commissioned its profile and are
            not scored. By default those before the first scored window of each test capture.

    Raises:
        ScoresError: if there are no training windows or a score is not finite.
    """
    threshold, window = config.evaluation.threshold, config.data.detector.window
    alpha = best_fixed_alpha(cache_train, agent=config.agent, threshold=threshold)
    stacking = fit_stacking(cache_train, config.agent)
    tables = {
        split: _score(split, cache, agent, alpha, stacking)
        for split, cache in ((VALIDATION, cache_validation), *cache_tests.items())
    }
    scenarios: dict[str, Any] = {}
    warnings = [stacking.note] if stacking.note else []
    for split, cache in cache_tests.items():
        spent = _commissioning(split, cache) if commissioning is None else commissioning
        scenarios[split] = measure_scenario(
            tables[split],
            threshold,
            commissioning={c: n for c, n in spent.items() if c.startswith(f"{split}/")},
            split=split,
            frames=None if window.duration_s else window.size,
        )
        if not scenarios[split]["attack_windows"]:
            warnings.append(f"{split}: no attacked window, so detection cannot be measured there")
    return Comparison(
        results={
            "validation": measure_scenario(tables[VALIDATION], threshold, contiguous=False),
            "scenarios": scenarios,
            "fixed_alpha": alpha,
            "stacking": {"weights": list(stacking.weights), "bias": stacking.bias},
            "warnings": warnings,
        },
        predictions=pa.concat_tables(tables.values()).unify_dictionaries(),
    )


def _score(
    split: str, cache: WindowScores, agent: AlphaPolicy, fixed_alpha: float, stacking: Stacking
) -> pa.Table:
    """Every method's score of every window, in the columns of :attr:`Comparison.predictions`."""
    anomaly, gat_prob = cache.anomaly_score, cache.gat_prob
    require_finite(f"anomaly scores in {split}", anomaly)
    require_finite(f"GAT probabilities in {split}", gat_prob)
    alpha = agent.alpha_of(cache) if len(cache) else np.empty(0)
    return pa.table(
        {
            "split": _dictionary(np.zeros(len(cache), np.int32), [split]),
            "capture": _dictionary(cache.capture, cache.capture_names),
            "window": pa.array(cache.window, pa.int32()),
            "start_time": pa.array(cache.start_time, pa.float64()),
            "end_time": pa.array(cache.end_time, pa.float64()),
            "first_frame": pa.array(cache.first_frame, pa.int64()),
            "label": pa.array(cache.label, pa.uint8()),
            "attack": _dictionary(cache.attack, cache.attack_names),
            "anomaly_score": pa.array(anomaly, pa.float32()),
            "gat_prob": pa.array(gat_prob, pa.float32()),
            "alpha": pa.array(np.asarray(alpha, np.float32)),
            # In double precision: what a page compares with the threshold is what was counted.
            "fused": pa.array(fused_score(anomaly, gat_prob, alpha)),
            "fixed_alpha": pa.array(fused_score(anomaly, gat_prob, fixed_alpha)),
            "stacking": pa.array(stacking.predict_proba(anomaly, gat_prob)),
            "oracle": pa.array(oracle_score(cache)),
            **{
                f"{EXTRA}{name}": pa.array(np.asarray(score, np.float32))
                for name, score in cache.extra_scores.items()
            },
        }
    )


def _captures(cache: WindowScores) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """Name and rows of each capture that has any."""
    order = np.argsort(cache.capture, kind="stable")
    codes, starts = np.unique(cache.capture[order], return_index=True)
    for code, rows in zip(codes, np.split(order, starts[1:]), strict=False):
        yield cache.capture_names[code], rows


def _commissioning(split: str, cache: WindowScores) -> dict[str, int]:
    return {name: int(cache.window[rows].min()) for name, rows in _captures(cache)}


def _dictionary(codes: npt.ArrayLike, names: Any) -> pa.DictionaryArray:
    """Strings by code; codes below zero become the empty string."""
    index = np.asarray(codes)
    values = [str(name) for name in names]
    if len(index) and index.min() < 0:
        index = np.where(index < 0, len(values), index)
        values.append("")
    return pa.DictionaryArray.from_arrays(
        pa.array(index, pa.int32()), pa.array(values, pa.string())
    )
