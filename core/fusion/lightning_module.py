"""The DQN agent as a Lightning module, its data and its inner loop on the device.

Lightning spends up to milliseconds on a training step; a gradient step of so small a network takes
a fraction of one. One Lightning step is therefore a *chunk* of many gradient steps, whose batches
are drawn, encoded and paid in one go. Epochs, validation, checkpoints, early stopping and logs are
Lightning's.
"""

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig, FusionEvaluationConfig, FusionTrainingConfig
from core.errors import CheckpointError
from core.fusion.dqn import Batch, Learner, act, update, update_target
from core.fusion.q_network import QNetwork, features, flatten_parameters
from core.fusion.replay import ReplayBuffer
from core.fusion.reward import alpha_values, fuse, reward_bounds, reward_matrix, reward_scale

CHUNK_TRANSITIONS = 65_536
"""Transitions prepared at once: some tens of megabytes, some tens of milliseconds on one core."""
EVALUATION_ROWS = 65_536
"""Windows evaluated at once, and at most this many training windows for the training reward."""


def next_rows(
    capture: npt.NDArray[np.integer], window: npt.NDArray[np.integer]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The row after each row, and where there is none (the end of a capture, or a gap in it).

    Shapes: all ``[W]``. At an end the row itself stands for the next one.
    """
    rows = np.arange(len(capture))
    follows = (np.diff(capture.astype(np.int64)) == 0) & (np.diff(window.astype(np.int64)) == 1)
    terminal = np.append(~follows, True)
    return np.where(terminal, rows, rows + 1), terminal


def greedy_metrics(
    q_network: QNetwork,
    states: torch.Tensor,
    labels: torch.Tensor,
    agent_cfg: FusionAgentConfig,
    threshold: float,
) -> dict[str, float]:
    """What the greedy policy does with ``states`` ``[W, 2]`` and ``labels`` ``[W]``.

    Returns:
        ``reward`` (mean per window), ``accuracy``, ``f1`` (absent where undefined), ``alpha_mean``,
        ``alpha_std`` and ``q_spread``, the mean distance of the best from the worst alpha's value.
    """
    alphas = alpha_values(q_network.actions).to(states.device)
    chosen, spread = [], []
    with torch.no_grad():
        for part in states.split(EVALUATION_ROWS):
            values = q_network(part)
            chosen.append(alphas[values.argmax(dim=1)])
            spread.append(values.amax(dim=1) - values.amin(dim=1))
    alpha, attacked = torch.cat(chosen), labels.bool()
    # In double precision, like every comparison with the threshold outside of training.
    fused = fuse(states[:, 0].double(), states[:, 1].double(), alpha.double())
    verdict = fused >= threshold
    misses = int((attacked & ~verdict).sum())
    false_alarms = int((~attacked & verdict).sum())
    hits = int((attacked & verdict).sum())
    windows = len(states)
    right = windows - misses - false_alarms
    lost = misses * agent_cfg.miss_cost + false_alarms * agent_cfg.false_alarm_cost
    metrics = {
        "reward": (right - lost) / windows,
        "accuracy": right / windows,
        "alpha_mean": float(alpha.double().mean()),
        "alpha_std": float(alpha.double().std(correction=0)),
        "q_spread": float(torch.cat(spread).double().mean()) * reward_scale(agent_cfg),
    }
    if hits + misses + false_alarms:
        metrics["f1"] = 2 * hits / (2 * hits + misses + false_alarms)
    return metrics


class FusionLightningModule(pl.LightningModule):
    """Learns alpha on ``train`` and logs, after each epoch, how the greedy policy does.

    Logged: ``updates, train_loss, train_reward, val_reward, val_accuracy, val_f1, epsilon,
    alpha_mean, alpha_std, q_spread, gap_closed`` (those that are undefined are left out).
    """

    alphas: torch.Tensor
    """``[A]``"""
    train_states: torch.Tensor
    """``[W, 2]``, with ``train_labels, next_row, live`` of ``[W]``."""
    train_labels: torch.Tensor
    next_row: torch.Tensor
    live: torch.Tensor
    """0 where a recording ends, else 1."""
    val_states: torch.Tensor
    val_labels: torch.Tensor

    def __init__(
        self,
        agent_cfg: FusionAgentConfig,
        training_cfg: FusionTrainingConfig,
        evaluation_cfg: FusionEvaluationConfig,
        train: FusionPredictionCache,
        validation: FusionPredictionCache,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.agent_cfg = agent_cfg
        self.training_cfg = training_cfg
        self.evaluation_cfg = evaluation_cfg
        generator = torch.Generator().manual_seed(training_cfg.seed)
        shape = (2, agent_cfg.alpha_steps, agent_cfg.hidden_dims)
        self.q_network = QNetwork(*shape, generator=generator)
        self.target_network = QNetwork(*shape)
        self.target_network.load_state_dict(self.q_network.state_dict())
        self._buffer("alphas", alpha_values(agent_cfg.alpha_steps))
        self._buffer("train_states", train.states)
        self._buffer("train_labels", torch.tensor(train.label))
        following, terminal = next_rows(train.capture, train.window)
        self._buffer("next_row", torch.from_numpy(following))
        self._buffer("live", torch.from_numpy(~terminal).float())
        self._buffer("val_states", validation.states)
        self._buffer("val_labels", torch.tensor(validation.label))
        self.best_single, self.oracle = reward_bounds(
            validation, agent_cfg, evaluation_cfg.threshold
        )
        self.epsilon = max(agent_cfg.epsilon, agent_cfg.epsilon_min)
        self.updates = 0
        self.best_reward = -float("inf")
        self.best_epoch = -1
        self.best_weights: dict[str, torch.Tensor] = {}
        self.epoch_metrics: dict[str, float] = {}
        """What was logged last."""
        self.replay: ReplayBuffer | None = None
        self._losses: list[torch.Tensor] = []
        self._random_state: torch.Tensor | None = generator.get_state()
        self._replay_state: dict[str, Any] | None = None

    def _buffer(self, name: str, value: torch.Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def train_dataloader(self) -> range:
        """One item per chunk of gradient steps."""
        return range(-(-self.training_cfg.updates_per_epoch // self._chunk()))

    def val_dataloader(self) -> range:
        """One item: all held-out windows at once."""
        return range(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        # Lightning calls this once the module is on its device, where the weights then stay.
        weights = flatten_parameters(self.q_network)
        self.learner = Learner(
            q_network=self.q_network,
            target_network=self.target_network,
            weights=weights,
            target_weights=flatten_parameters(self.target_network),
            optimizer=torch.optim.Adam([weights], lr=self.agent_cfg.fusion_lr, fused=True),
            agent_cfg=self.agent_cfg,
            huber_delta=2.0,
        )
        return self.learner.optimizer

    def on_train_start(self) -> None:
        self.generator = torch.Generator(self.device)
        if self._random_state is not None and self.device.type == "cpu":
            self.generator.set_state(self._random_state)
        elif self._random_state is not None:
            # The state of a generator belongs to one kind of device; elsewhere seed anew from it.
            self.generator.manual_seed(self.training_cfg.seed + self.updates)
        if self.agent_cfg.update_mode == "sampled":
            self.replay = ReplayBuffer(self.agent_cfg.buffer_size, self.device)
            if self._replay_state is not None:
                self.replay.load_state_dict(self._replay_state)

    def training_step(self, chunk: int, batch_idx: int) -> None:
        first = chunk * self._chunk()
        updates = min(self._chunk(), self.training_cfg.updates_per_epoch - first)
        rows = torch.randint(
            len(self.train_states),
            (updates, self.agent_cfg.batch_size),
            generator=self.generator,
            device=self.device,
        )
        if self.replay is None:
            batches = self._all_actions_batches(rows)
        else:
            batches = self._sampled_batches(rows, self.replay)
        for batch in batches:
            self._losses.append(update(self.learner, batch))
            self.updates += 1
            if self.updates % self.agent_cfg.target_update == 0:
                update_target(self.learner)
        # Lightning counts the steps of its own wrapper, and checkpoints only when they move.
        steps = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        steps.increment_ready()
        steps.increment_completed()

    def _all_actions_batches(self, rows: torch.Tensor) -> Iterator[Batch]:
        """``[U, B]`` rows to ``U`` batches that carry the reward of every action."""
        batch = self._transitions(rows.flatten())
        size = rows.shape[1]
        for start in range(0, rows.numel(), size):
            yield batch.part(slice(start, start + size))

    def _sampled_batches(self, rows: torch.Tensor, replay: ReplayBuffer) -> Iterator[Batch]:
        """Visit ``[U, B]`` rows; after each ``B`` of them, give a batch from the memory."""
        for visited in rows:
            actions = act(self.q_network, self.train_states[visited], self.epsilon, self.generator)
            replay.push(visited, actions)
            window, action = replay.sample(len(visited), self.generator)
            batch = self._transitions(window)
            rewards = batch.rewards.gather(1, action[:, None]).squeeze(1)
            yield batch._replace(rewards=rewards, actions=action)

    def _transitions(self, rows: torch.Tensor) -> Batch:
        """The transitions that start in ``rows`` ``[B]``, with the reward of every action."""
        states = self.train_states[rows]
        rewards = reward_matrix(
            states[:, 0],
            states[:, 1],
            self.train_labels[rows],
            self.alphas,
            self.agent_cfg,
            self.evaluation_cfg.threshold,
        )
        # Scaled to [-1, 1], so that costs do not act as a larger learning rate.
        batch = Batch(features(states), rewards / reward_scale(self.agent_cfg))
        if self.agent_cfg.gamma == 0:
            return batch
        following = self.train_states[self.next_row[rows]]
        return batch._replace(next_features=features(following), live=self.live[rows])

    def validation_step(self, batch: int, batch_idx: int) -> None:
        threshold = self.evaluation_cfg.threshold
        some = -(-len(self.train_states) // EVALUATION_ROWS)
        train = greedy_metrics(
            self.q_network,
            self.train_states[::some],
            self.train_labels[::some],
            self.agent_cfg,
            threshold,
        )
        val = greedy_metrics(
            self.q_network, self.val_states, self.val_labels, self.agent_cfg, threshold
        )
        metrics = {"updates": float(self.updates), "epsilon": self.epsilon}
        if self._losses:
            metrics["train_loss"] = float(torch.stack(self._losses).double().mean())
        metrics |= {"train_reward": train["reward"]}
        metrics |= {
            f"val_{name}": val[name] for name in ("reward", "accuracy", "f1") if name in val
        }
        metrics |= {name: val[name] for name in ("alpha_mean", "alpha_std", "q_spread")}
        closed = gap_closed(val["reward"], self.best_single, self.oracle)
        if closed is not None:
            metrics["gap_closed"] = closed
        self.epoch_metrics = metrics
        # Lightning keeps single precision, enough for curves; decisions use epoch_metrics.
        self.log_dict(metrics, batch_size=1)

    def on_train_epoch_end(self) -> None:
        self._losses.clear()
        self.epsilon = max(self.agent_cfg.epsilon_min, self.epsilon * self.agent_cfg.epsilon_decay)
        # Of equally good epochs the later one: it has seen more.
        if self.epoch_metrics["val_reward"] >= self.best_reward:
            self.best_reward = self.epoch_metrics["val_reward"]
            self.best_epoch = self.current_epoch
            self.best_weights = {
                name: value.detach().cpu().clone()
                for name, value in self.q_network.state_dict().items()
            }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["fusion"] = {
            "shape": _shape(self.q_network),
            "update_mode": self.agent_cfg.update_mode,
            "epsilon": self.epsilon,
            "updates": self.updates,
            "best_reward": self.best_reward,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "random_state": self.generator.get_state() if self.device.type == "cpu" else None,
            "replay": None if self.replay is None else self.replay.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["fusion"]
        self.epsilon = state["epsilon"]
        self.updates = state["updates"]
        self.best_reward = state["best_reward"]
        self.best_epoch = state["best_epoch"]
        self.best_weights = state["best_weights"]
        self._random_state = state["random_state"]
        if self._random_state is None:
            generator = torch.Generator().manual_seed(self.training_cfg.seed + self.updates)
            self._random_state = generator.get_state()
        self._replay_state = state["replay"]

    def _chunk(self) -> int:
        """Gradient steps per Lightning step."""
        largest = max(1, CHUNK_TRANSITIONS // self.agent_cfg.batch_size)
        return min(largest, self.training_cfg.updates_per_epoch)


def gap_closed(reward: float, best_single: float, oracle: float) -> float | None:
    """The agent's share of what fusion can win over the better single model; None if nothing."""
    gap = oracle - best_single
    return (reward - best_single) / gap if gap > 1e-12 else None


def check_resumable(checkpoint: dict[str, Any], module: FusionLightningModule, where: str) -> None:
    """Refuse a checkpoint that is not one of this module's.

    Raises:
        CheckpointError: if it is of something else, or of an agent of another shape.
    """
    state = checkpoint.get("fusion")
    if not isinstance(state, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{where} is no checkpoint of a fusion training")
    expected = {
        "shape": _shape(module.q_network),
        "update_mode": module.agent_cfg.update_mode,
    }
    got = {name: state.get(name) for name in expected}
    if got != expected:
        raise CheckpointError(f"{where} is of another agent: expected {expected}, got {got}")


def _shape(q_network: QNetwork) -> dict[str, Any]:
    return {
        "state_dim": q_network.state_dim,
        "alpha_steps": q_network.actions,
        "hidden_dims": list(q_network.hidden_dims),
    }
