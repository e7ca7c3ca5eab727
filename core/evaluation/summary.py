"""The handful of figures that say whether fusion training worked."""

from typing import TYPE_CHECKING, Any

from core.config import FusionConfig
from core.evaluation.baselines import best_fixed_alpha, fixed_alpha_rewards
from core.evaluation.scores import Scores

if TYPE_CHECKING:
    from core.fusion.training import TrainedAgent


def training_summary(
    trained: "TrainedAgent", train: Scores, validation: Scores, config: FusionConfig
) -> dict[str, Any]:
    """What ``summary.json`` holds.

    ``transitions`` counts the transitions learnt from (updates times batch size), rewards are means
    per held-out window, the best fixed alpha is the one that is best in training, and
    ``gap_closed`` is None where the better single detector is as good as any alpha could be.
    """
    threshold = config.evaluation.threshold
    fixed = best_fixed_alpha(train, agent=config.agent, threshold=threshold)
    (reward_fixed,) = fixed_alpha_rewards(validation, [fixed], config.agent, threshold)
    return {
        "transitions": trained.transitions,
        "updates": trained.updates,
        "train_seconds": trained.train_seconds,
        "reward": trained.reward,
        "reward_oracle": trained.reward_oracle,
        "reward_best_single": trained.reward_best_single,
        "reward_best_fixed_alpha": float(reward_fixed),
        "gap_closed": trained.gap_closed,
        "alpha_mean": trained.alpha_mean,
        "alpha_std": trained.alpha_std,
    }
