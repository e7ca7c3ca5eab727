"""All methods beside one another on the same windows, with what can be said of their differences.

Wider than :mod:`core.evaluation.comparison`, which every run makes: fixed weights at every quarter
and a contextual bandit are here too, and each method is tested against the agent.
"""

from collections.abc import Mapping
from typing import Any

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
from core.evaluation.scores import AlphaPolicy, Scores, WindowScores
from core.evaluation.significance import compare_verdicts

FIXED = (0.0, 0.25, 0.5, 0.75, 1.0)
AGENT = "dqn"
METHODS = (
    *("vgae", "gat"),
    *(f"alpha_{alpha:.2f}" for alpha in FIXED),
    *("best_fixed", "stacking", "bandit", AGENT, "oracle"),
)
COLUMNS = ("accuracy", "precision", "recall", "f1", "mcc", "auroc", "fpr")


def contest(
    train: Scores,
    scored: Mapping[str, WindowScores],
    agent: AlphaPolicy,
    bandit: AlphaPolicy,
    config: FusionConfig,
) -> dict[str, Any]:
    """Judge every window of ``scored`` (name -> windows) by every method.

    What is fitted is fitted on ``train`` alone.

    Returns:
        ``threshold, best_fixed_alpha, scenarios``: name -> ``windows, attack_windows``, ``methods``
        (method -> metrics and ``reward``, the mean per window) and ``against_dqn`` (method ->
        how the agent differs from it); fit for JSON.

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
            "bandit": fused_score(anomaly, gat_prob, bandit.alpha_of(cache)),
            AGENT: fused_score(anomaly, gat_prob, agent.alpha_of(cache)),
            "oracle": oracle_score(cache),
        }
        label = np.asarray(cache.label) == 1
        verdicts = {method: score >= threshold for method, score in scores.items()}
        scenarios[name] = {
            "windows": len(label),
            "attack_windows": int(label.sum()),
            "methods": {
                method: window_metrics(label, score, threshold)
                | {"reward": mean_reward(label, verdicts[method], config)}
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


def contest_table(found: Mapping[str, Any]) -> pd.DataFrame:
    """One row per scenario and method: metrics, reward, and the tests against the agent."""
    rows = []
    for scenario, about in found["scenarios"].items():
        for method, measured in about["methods"].items():
            versus = about["against_dqn"].get(method, {})
            rows.append(
                {"scenario": scenario, "method": method}
                | {name: measured[name] for name in (*COLUMNS, "reward")}
                | {
                    "dqn_minus_this_f1": versus.get("difference"),
                    "mcnemar_p": versus.get("mcnemar_p"),
                    "bootstrap_p": versus.get("bootstrap_p"),
                }
            )
    return pd.DataFrame(rows)
