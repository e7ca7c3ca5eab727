"""What fusion has to beat: one fixed weight, a learned combination, and the best any weight can do.

What is fitted here is fitted on training windows with cross-fitted scores, never on a test folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from core.config import FusionAgentConfig
from core.errors import ScoresError
from core.evaluation.scores import Scores
from core.fusion.reward import fuse, reward_matrix

FINE_GRID = tuple(float(alpha) for alpha in np.linspace(0.0, 1.0, 1001))
"""Weights tried for the best fixed one: much finer than the agent's, so that it has no handicap."""


def fused_score(
    anomaly: npt.ArrayLike, gat_prob: npt.ArrayLike, alpha: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """:func:`core.fusion.reward.fuse` in double precision; shapes ``[W]``, ``alpha`` may be one.

    Scores come in single precision; rounding must not carry a fused score past a threshold that
    neither score passes.
    """
    parts = (np.asarray(values, np.float64) for values in (anomaly, gat_prob, alpha))
    return np.asarray(fuse(*parts), np.float64)


def fixed_alpha_rewards(
    scores: Scores, alphas: Sequence[float], agent: FusionAgentConfig, threshold: float
) -> npt.NDArray[np.float64]:
    """Mean reward over the windows of each weight, used for all of them; ``[A]``.

    Raises:
        ScoresError: if there are no windows.
    """
    if not len(scores):
        raise ScoresError("expected windows to reward a fixed alpha on, got none")
    anomaly = torch.from_numpy(np.asarray(scores.anomaly_score, np.float64))
    gat_prob = torch.from_numpy(np.asarray(scores.gat_prob, np.float64))
    label = torch.from_numpy(np.array(scores.label))  # a copy: memory maps are read-only
    # A few weights at a time: all of them at once would need gigabytes.
    parts = torch.tensor(alphas, dtype=torch.float64).split(8)
    rewards = [
        reward_matrix(anomaly, gat_prob, label, part, agent, threshold).mean(dim=0)
        for part in parts
    ]
    return np.asarray(torch.cat(rewards).numpy(), np.float64)


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
    rewards = fixed_alpha_rewards(train, alphas, agent or FusionAgentConfig(), threshold)
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
