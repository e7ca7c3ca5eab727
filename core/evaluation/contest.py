"""All methods beside one another on the same windows, with what can be said of their differences.

Wider than :mod:`core.evaluation.comparison`, which every run makes: fixed weights at every quarter,
other learners of weights and further detectors are here too, and each method is tested against the
agent.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from core.config import FusionConfig
from core.evaluation.baselines import (
    best_fixed_alpha,
    fit_stacking,
    fused_score,
    oracle_score,
)
from core.evaluation.metrics import window_metrics
from core.evaluation.scores import EXTRA, AlphaPolicy, Scores, WindowScores
from core.evaluation.significance import compare_verdicts

FIXED = (0.0, 0.25, 0.5, 0.75, 1.0)
AGENT = "dqn"
FITTED = ("bandit", "multi_head", AGENT)
"""Learners of a weight per window that are compared."""
METHODS = (
    *("vgae", "gat"),
    *(f"alpha_{alpha:.2f}" for alpha in FIXED),
    *("best_fixed", "stacking", *FITTED, "oracle"),
)
"""Where there are scores of further detectors, these (``score:NAME``) come before the oracle, and
``ensemble``."""
COLUMNS = ("accuracy", "precision", "recall", "f1", "mcc", "auroc", "fpr")
FURTHER = ("attack_recall", "reward")
"""What is measured of a method beside :func:`core.evaluation.metrics.window_metrics`."""


class Fused(Protocol):
    """Fusion of more than two detectors."""

    def fused(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """``[W, K]`` to ``[W]``."""


def all_scores(cache: WindowScores) -> npt.NDArray[np.float32]:
    """Both detectors' scores and those of further ones, ``[W, K]``."""
    columns = (cache.anomaly_score, cache.gat_prob, *cache.extra_scores.values())
    return np.stack([np.asarray(column, np.float32) for column in columns], axis=1)


def contest(
    train: Scores,
    scored: Mapping[str, WindowScores],
    fitted: Mapping[str, AlphaPolicy],
    config: FusionConfig,
    ensemble: Fused | None = None,
) -> dict[str, Any]:
    """Judge every window of ``scored`` (name -> windows) by every method.

    What is fitted here is fitted on ``train`` alone.

    Args:
        fitted: the learners of :data:`FITTED`.
        ensemble: fuses :func:`all_scores`; None: there are but two detectors.

    Returns:
        ``threshold, best_fixed_alpha, scenarios``: name -> ``windows, attack_windows``, ``methods``
        (method -> metrics, ``attack_recall``, the mean over kinds of attack, and ``reward``, the
        mean per window) and ``against_dqn`` (method -> how the agent differs from it); fit for
        JSON.

    Raises:
        ScoresError: if there are no training windows.
    """
    threshold = config.evaluation.threshold
    best = best_fixed_alpha(train, agent=config.agent, threshold=threshold)
    stacking = fit_stacking(train, config.agent)
    scenarios: dict[str, Any] = {}
    for name, cache in scored.items():
        if not len(cache):
            continue
        anomaly, gat_prob = cache.anomaly_score, cache.gat_prob
        scores: dict[str, npt.NDArray[np.float64]] = {
            "vgae": np.asarray(anomaly, np.float64),
            "gat": np.asarray(gat_prob, np.float64),
            **{f"alpha_{a:.2f}": fused_score(anomaly, gat_prob, a) for a in FIXED},
            "best_fixed": fused_score(anomaly, gat_prob, best),
            "stacking": stacking.predict_proba(anomaly, gat_prob),
            **{n: fused_score(anomaly, gat_prob, fitted[n].alpha_of(cache)) for n in FITTED},
        }
        if ensemble is not None:
            for detector, values in cache.extra_scores.items():
                scores[f"{EXTRA}{detector}"] = np.asarray(values, np.float64)
            scores["ensemble"] = ensemble.fused(all_scores(cache))
        scores["oracle"] = oracle_score(cache)
        label = np.asarray(cache.label) == 1
        verdicts = {method: score >= threshold for method, score in scores.items()}
        scenarios[name] = {
            "windows": len(label),
            "attack_windows": int(label.sum()),
            "methods": {
                method: window_metrics(label, score, threshold)
                | {
                    "attack_recall": attack_recall(cache, verdicts[method]),
                    "reward": mean_reward(label, verdicts[method], config),
                }
                for method, score in scores.items()
            },
            "against_dqn": {
                method: compare_verdicts(
                    label, verdicts[AGENT], verdict, cache.capture, cache.window
                ).to_dict()
                for method, verdict in verdicts.items()
                if method != AGENT
            },
        }
    return {"threshold": threshold, "best_fixed_alpha": best, "scenarios": scenarios}


def mean_reward(
    label: npt.NDArray[np.bool_], verdict: npt.NDArray[np.bool_], config: FusionConfig
) -> float:
    """+1 for a right verdict, minus its cost for a wrong one; mean per window."""
    cost = np.where(label, config.agent.miss_cost, config.agent.false_alarm_cost)
    return float(np.where(verdict == label, 1.0, -cost).mean())


def attack_recall(cache: WindowScores, verdict: npt.NDArray[np.bool_]) -> float | None:
    """Mean over kinds of attack of the share of its windows that are found; None without any."""
    label = np.asarray(cache.label) == 1
    if not label.any():
        return None
    kind, found = np.asarray(cache.attack)[label], verdict[label]
    return float(np.mean([found[kind == one].mean() for one in np.unique(kind)]))


def contest_table(found: Mapping[str, Any]) -> pd.DataFrame:
    """One row per scenario and method: metrics, reward, and the tests against the agent."""
    rows = []
    for scenario, about in found["scenarios"].items():
        for method, measured in about["methods"].items():
            versus = about["against_dqn"].get(method, {})
            rows.append(
                {"scenario": scenario, "method": method}
                | {name: measured[name] for name in (*COLUMNS, *FURTHER)}
                | {
                    "dqn_minus_this_f1": versus.get("difference"),
                    "mcnemar_p": versus.get("mcnemar_p"),
                    "bootstrap_p": versus.get("bootstrap_p"),
                }
            )
    return pd.DataFrame(rows)
