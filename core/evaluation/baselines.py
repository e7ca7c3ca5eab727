"""What fusion has to beat: one fixed weight, a learned combination, and the best any weight can do.

What is fitted here is fitted on training windows with cross-fitted scores, never on a test folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from core.config import FusionAgentConfig
from core.errors import ScoresError
from core.evaluation.scores import Scores

FINE_GRID = tuple(float(alpha) for alpha in np.linspace(0.0, 1.0, 1001))
"""Weights tried for the best fixed one: much finer than the agent's, so that it has no handicap."""


def fuse(
    anomaly: npt.ArrayLike, gat_prob: npt.ArrayLike, alpha: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """``(1 - alpha) * anomaly + alpha * gat_prob`` in double precision.

    Scores come in single precision; rounding must not carry a fused score past a threshold that
    neither score passes.
    """
    weight = np.asarray(alpha, dtype=np.float64)
    return (1.0 - weight) * np.asarray(anomaly, np.float64) + weight * np.asarray(
        gat_prob, np.float64
    )


def mean_reward(label: npt.ArrayLike, verdict: npt.ArrayLike, agent: FusionAgentConfig) -> float:
    """The agent's objective for given verdicts: +1 where right, minus the cost where wrong.

    Shapes: ``label`` and ``verdict`` are ``[W]`` of 0 and 1, ``W`` at least 1.
    """
    attacked, called = np.asarray(label, dtype=bool), np.asarray(verdict, dtype=bool)
    misses = np.count_nonzero(attacked & ~called)
    false_alarms = np.count_nonzero(~attacked & called)
    right = len(attacked) - misses - false_alarms
    total = right - misses * agent.miss_cost - false_alarms * agent.false_alarm_cost
    return float(total / len(attacked))


def best_fixed_alpha(
    train: Scores,
    alphas: Sequence[float] = FINE_GRID,
    agent: FusionAgentConfig | None = None,
    threshold: float = 0.5,
) -> float:
    """The one weight with the largest mean reward on ``train``.

    Many weights are usually equally good; the middle one of them is taken, as far as possible from
    where verdicts begin to change.

    Raises:
        ScoresError: if there are no windows.
    """
    if not len(train):
        raise ScoresError("expected training windows to choose a fixed alpha on, got none")
    agent = agent or FusionAgentConfig()
    rewards = np.array(
        [
            mean_reward(
                train.label, fuse(train.anomaly_score, train.gat_prob, a) >= threshold, agent
            )
            for a in alphas
        ]
    )
    best = np.flatnonzero(rewards == rewards.max())
    return float(alphas[best[len(best) // 2]])


@dataclass(frozen=True)
class Stacking:
    """Logistic regression on the two scores; ``1 / (1 + exp(-(weights . scores + bias)))``."""

    weights: tuple[float, float]
    """Of the anomaly score and of the GAT's probability."""
    bias: float
    note: str = ""
    """Why it could not be learnt, if it could not."""

    def predict_proba(
        self, anomaly: npt.ArrayLike, gat_prob: npt.ArrayLike
    ) -> npt.NDArray[np.float64]:
        """Probability of an attack; all shapes ``[W]``."""
        logit = (
            self.weights[0] * np.asarray(anomaly, np.float64)
            + self.weights[1] * np.asarray(gat_prob, np.float64)
            + self.bias
        )
        # exp(-log(1 + exp(-x))): the logistic function without overflow.
        return np.exp(-np.logaddexp(0.0, -logit))


def fit_stacking(train: Scores, agent: FusionAgentConfig | None = None) -> Stacking:
    """Learn a :class:`Stacking` with scikit-learn's default regularisation.

    A miss takes ``1 + miss_cost`` from the reward of a right verdict and a false alarm
    ``1 + false_alarm_cost``; classes are weighted by that, so that stacking pursues the same
    objective as the agent. If only one class is present there is nothing to learn: the result
    answers that class for every window, and its ``note`` says so.
    """
    label = np.asarray(train.label, dtype=bool)
    if not label.any() or label.all():
        only = "attacked" if label.any() else "clean"
        return Stacking(
            weights=(0.0, 0.0),
            bias=25.0 if label.any() else -25.0,
            note=f"stacking was not learnt: all {len(label)} training windows are {only}",
        )
    agent = agent or FusionAgentConfig()
    costs = np.array([1.0 + agent.false_alarm_cost, 1.0 + agent.miss_cost])
    costs /= costs.mean()
    model = LogisticRegression(class_weight={False: costs[0], True: costs[1]})
    model.fit(np.column_stack([train.anomaly_score, train.gat_prob]).astype(np.float64), label)
    first, second = model.coef_[0]
    return Stacking((float(first), float(second)), float(model.intercept_[0]))


def oracle_score(scores: Scores) -> npt.NDArray[np.float64]:
    """The best fused score that any weight in [0, 1] reaches, knowing the label; ``[W]``.

    A weighted mean lies between its two parts, so this is the larger score of an attacked window
    and the smaller one of a clean window. Compared with a threshold it is right exactly where at
    least one of the two models is right; ranked, it bounds the AUROC of every policy.
    """
    anomaly = np.asarray(scores.anomaly_score, np.float64)
    gat_prob = np.asarray(scores.gat_prob, np.float64)
    attacked = np.asarray(scores.label, dtype=bool)
    return np.where(attacked, np.maximum(anomaly, gat_prob), np.minimum(anomaly, gat_prob))
