"""The DQN agent as a Lightning module, its data and its inner loop on the device.

Lightning spends up to milliseconds on a training step; a gradient step of so small a network takes
a fraction of one. One Lightning step is therefore a *chunk* of many gradient steps, whose batches
are drawn, encoded and paid in one go. Epochs, validation, checkpoints, early stopping and logs are
Lightning's.
"""

from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as pl
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig, FusionEvaluationConfig, FusionTrainingConfig
from core.errors import CheckpointError, ConfigError
from core.fusion.assumed import Assumed, assumed_windows
from core.fusion.cuda_graph import GraphedLearn
from core.fusion.dqn import Batch, Learner, act, act_boltzmann, learn, update_target
from core.fusion.q_network import QNetwork, features, flatten_parameters
from core.fusion.replay import PrioritisedReplayBuffer, ReplayBuffer, Sample
from core.fusion.reward import (
    alpha_values,
    confidence,
    fuse,
    reward_bounds,
    reward_matrix,
    reward_scale,
    shaping,
)
from core.fusion.state import StateEncoder
from core.fusion.windows import Windows

CHUNK_TRANSITIONS = 65_536
"""Transitions prepared at once: some tens of megabytes, some tens of milliseconds on one core."""
EVALUATION_ROWS = 65_536
"""Windows evaluated at once."""
TRAINING_REWARD_ROWS = 2048
"""Training windows that the training reward is the mean over, at most."""


def greedy_metrics(
    q_network: QNetwork,
    windows: Windows,
    agent_cfg: FusionAgentConfig,
    threshold: float,
    step: int = 1,
) -> dict[str, float]:
    """What the greedy policy does with every ``step``-th of ``windows``.

    Returns:
        ``reward`` (mean per window), ``accuracy``, ``f1`` (absent where undefined), ``alpha_mean``,
        ``alpha_std`` and ``q_spread``, the mean distance of the best from the worst alpha's value.
    """
    alphas = alpha_values(q_network.actions).to(windows.device)
    own_reward = 0.0
    sums = torch.zeros(3, dtype=torch.float64, device=alphas.device)
    counts = torch.zeros(4, dtype=torch.int64, device=alphas.device)
    with torch.no_grad():
        for rows in windows.parts(EVALUATION_ROWS, step):
            values = q_network(windows.states(rows)).float()
            best = values.argmax(dim=1)
            alpha, attacked = alphas[best].double(), windows.labels(rows).bool()
            scores = windows.scores(rows).double()
            # In double precision, like every comparison with the threshold outside of training.
            verdict = fuse(scores[:, 0], scores[:, 1], alpha) >= threshold
            counts += torch.bincount(2 * attacked + verdict, minlength=4)
            spread = (values.amax(dim=1) - values.amin(dim=1)).double()
            sums += torch.stack([alpha.sum(), alpha.square().sum(), spread.sum()])
            if agent_cfg.reward_function:
                rewards = reward_matrix(
                    scores[:, 0], scores[:, 1], windows.labels(rows), alphas, agent_cfg, threshold
                )
                own_reward += float(rewards.gather(1, best[:, None]).sum())
    quiet, false_alarms, misses, hits = counts.tolist()
    total = quiet + false_alarms + misses + hits
    mean, square, spread_mean = (sums / total).tolist()
    lost = misses * agent_cfg.miss_cost + false_alarms * agent_cfg.false_alarm_cost
    reward = own_reward if agent_cfg.reward_function else quiet + hits - lost
    metrics = {
        "reward": reward / total,
        "accuracy": (quiet + hits) / total,
        "alpha_mean": mean,
        "alpha_std": max(0.0, square - mean * mean) ** 0.5,
        "q_spread": spread_mean * reward_scale(agent_cfg),
    }
    if hits + misses + false_alarms:
        metrics["f1"] = 2 * hits / (2 * hits + misses + false_alarms)
    return metrics


class FusionLightningModule(pl.LightningModule):
    """Learns alpha on ``train`` and logs, after each epoch, how the greedy policy does.

    Logged: ``updates, train_loss, train_reward, val_reward, val_accuracy, val_f1, epsilon,
    alpha_mean, alpha_std, q_spread, gap_closed`` (those that are undefined are left out), and
    ``temperature`` in place of ``epsilon`` with Boltzmann exploration.
    """

    alphas: torch.Tensor
    """``[A]``"""

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
        self.encoder = (
            StateEncoder.fit(agent_cfg.state, train)
            if StateEncoder().names != agent_cfg.state
            else StateEncoder()
        )
        self.q_network = new_network(self.encoder, agent_cfg, generator)
        self.target_network = new_network(self.encoder, agent_cfg)
        self.target_network.load_state_dict(self.q_network.state_dict())
        self.register_buffer("alphas", alpha_values(agent_cfg.alpha_steps), persistent=False)
        self.train_windows = Windows.of(train, self.encoder)
        self.val_windows = Windows.of(validation, self.encoder)
        threshold = evaluation_cfg.threshold
        self.assumed: Assumed | None = None
        """Drawn like training windows, their rows following those."""
        if self.encoder.plain:
            self.assumed = assumed_windows(train, self.alphas, agent_cfg, threshold)
        self.best_single, self.oracle = reward_bounds(validation, agent_cfg, threshold, self.alphas)
        self.scale = self._scale()
        self.batch_size = agent_cfg.batch_size
        """Transitions per gradient step; halved where memory does not suffice."""
        largest = max(1, CHUNK_TRANSITIONS // agent_cfg.batch_size)
        self.chunk = min(largest, training_cfg.updates_per_epoch)
        """Gradient steps per Lightning step."""
        self.epsilon = max(agent_cfg.epsilon, agent_cfg.epsilon_min)
        self.temperature = max(agent_cfg.temperature, agent_cfg.temperature_min)
        self.importance = agent_cfg.importance_exponent
        self.updates = 0
        self.transitions = 0
        self.best_reward = -float("inf")
        self.best_epoch = -1
        self.best_weights: dict[str, torch.Tensor] = {}
        self.epoch_metrics: dict[str, float] = {}
        """What was logged last."""
        self.notices: list[str] = []
        """What went otherwise than asked for, in words."""
        self.replay: ReplayBuffer | None = None
        self._losses: list[torch.Tensor] = []
        self._random_state: torch.Tensor | None = generator.get_state()
        self._replay_state: dict[str, Any] | None = None

    def train_dataloader(self) -> range:
        """One item per chunk of gradient steps."""
        return range(-(-self.training_cfg.updates_per_epoch // self.chunk))

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
            optimizer=torch.optim.Adam(
                [weights], lr=self.agent_cfg.fusion_lr, fused=True, capturable=weights.is_cuda
            ),
            agent_cfg=self.agent_cfg,
        )
        return self.learner.optimizer

    def on_train_start(self) -> None:
        self.train_windows = self.train_windows.to(self.device)
        self.val_windows = self.val_windows.to(self.device)
        if self.assumed is not None:
            self.assumed = self.assumed.to(self.device)
        self.generator = torch.Generator(self.device)
        if self._random_state is not None and self.device.type == "cpu":
            self.generator.set_state(self._random_state)
        elif self._random_state is not None:
            # The state of a generator belongs to one kind of device; elsewhere seed anew from it.
            self.generator.manual_seed(self.training_cfg.seed + self.updates)
        cfg = self.agent_cfg
        if cfg.update_mode == "sampled":
            self.replay = (
                PrioritisedReplayBuffer(cfg.buffer_size, cfg.priority_exponent, self.device)
                if cfg.replay == "prioritised"
                else ReplayBuffer(cfg.buffer_size, self.device)
            )
            if self._replay_state is not None:
                self.replay.load_state_dict(self._replay_state)
        self.learn: Callable[[Learner, Batch], tuple[torch.Tensor, torch.Tensor]] = learn
        if self.training_cfg.cuda_graphs and self.device.type == "cuda":
            self.learn = GraphedLearn()

    def training_step(self, chunk: int, batch_idx: int) -> None:
        first = chunk * self.chunk
        last = min(first + self.chunk, self.training_cfg.updates_per_epoch)
        goal = self.updates + last - first
        while self.updates < goal:
            try:
                self._train(goal - self.updates)
            except torch.OutOfMemoryError as error:
                self._halve_batch(error)
        # Lightning counts the steps of its own wrapper, and checkpoints only when they move.
        steps = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        steps.increment_ready()
        steps.increment_completed()

    def _train(self, updates: int) -> None:
        """So many gradient steps."""
        profile = self.trainer.profiler.profile  # type: ignore[attr-defined]
        with profile("fusion: draw and pay transitions"):
            rows = torch.randint(
                len(self.train_windows) + len(self.assumed or ()),
                (updates, self.batch_size),
                generator=self.generator,
                device=self.device,
            )
            batches = (
                self._all_actions_batches(rows)
                if self.replay is None
                else self._sampled_batches(rows, self.replay)
            )
        with profile("fusion: gradient steps"):
            for batch in batches:
                loss, errors = self.learn(self.learner, batch)
                if isinstance(self.replay, PrioritisedReplayBuffer):
                    assert batch.place is not None
                    self.replay.reprioritise(batch.place, errors)
                self._losses.append(loss)
                self.updates += 1
                self.transitions += len(batch.features)
                if self.updates % self.agent_cfg.target_update == 0:
                    update_target(self.learner)

    def _halve_batch(self, error: torch.OutOfMemoryError) -> None:
        """Go on with smaller batches.

        Raises:
            ConfigError: if they cannot be any smaller.
        """
        if self.batch_size == 1:
            raise ConfigError(
                f"out of memory on {self.device} even with agent.batch_size=1; expected a smaller "
                "network (agent.hidden_dims), or training.device=cpu"
            ) from error
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.batch_size //= 2
        self.notices.append(
            f"out of memory on {self.device}: going on with agent.batch_size={self.batch_size}, "
            f"half as large, from update {self.updates} on"
        )

    def _all_actions_batches(self, rows: torch.Tensor) -> Iterator[Batch]:
        """``[U, B]`` rows to ``U`` batches that carry the reward of every action."""
        batch = self._transitions(rows.flatten())
        size = rows.shape[1]
        return (batch.part(slice(at, at + size)) for at in range(0, rows.numel(), size))

    def _sampled_batches(self, rows: torch.Tensor, replay: ReplayBuffer) -> Iterator[Batch]:
        """Visit ``[U, B]`` rows; after each ``B`` of them, give a batch from the memory."""
        for visited in rows:
            replay.push(visited, self._explore(self._states(*self._parts(visited))))
            drawn = self._replayed(replay, len(visited))
            batch = self._transitions(drawn.window)
            rewards = batch.rewards.gather(1, drawn.action[:, None]).squeeze(1)
            yield batch._replace(
                rewards=rewards, actions=drawn.action, place=drawn.place, weights=drawn.weights
            )

    def _explore(self, states: torch.Tensor) -> torch.Tensor:
        if self.agent_cfg.exploration == "boltzmann":
            return act_boltzmann(self.q_network, states, self.temperature, self.generator)
        return act(self.q_network, states, self.epsilon, self.generator)

    def _replayed(self, replay: ReplayBuffer, size: int) -> Sample:
        if isinstance(replay, PrioritisedReplayBuffer):
            return replay.sample(size, self.generator, self.importance)
        return replay.sample(size, self.generator)

    def _states(self, recorded: torch.Tensor, assumed: torch.Tensor) -> torch.Tensor:
        """What the agent sees of :meth:`_parts` of rows, ``[B, D]``."""
        states = self.train_windows.states(recorded)
        if self.assumed is None:
            return states
        return torch.where((assumed < 0)[:, None], states, self.assumed.states[assumed])

    def _parts(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows ``[B]`` as rows of training windows (if need be, the last one), and as rows of what
        is assumed (if need be, a negative one)."""
        count = len(self.train_windows)
        # No choice by mask, which a GPU would have to be waited for.
        return rows.clamp(max=count - 1), (rows - count).clamp(min=-1)

    def _transitions(self, rows: torch.Tensor) -> Batch:
        """The transitions that start in ``rows`` ``[B]``, with the reward of every action.

        An assumed window ends its recording, and no term for sure scores is paid for it.
        """
        windows, cfg = self.train_windows, self.agent_cfg
        recorded, assumed = self._parts(rows)
        known = assumed < 0
        scores = windows.scores(recorded)
        rewards = reward_matrix(
            scores[:, 0],
            scores[:, 1],
            windows.labels(recorded),
            self.alphas,
            cfg,
            self.evaluation_cfg.threshold,
        )
        if cfg.gamma or cfg.confidence_weight:
            after, live = windows.following(recorded)
            live = live * known
        if cfg.confidence_weight:
            next_scores = windows.scores(after)
            term = shaping(
                confidence(scores[:, 0], scores[:, 1]),
                confidence(next_scores[:, 0], next_scores[:, 1]),
                live,
                cfg.gamma,
            )
            rewards = rewards + cfg.confidence_weight * term[:, None]
        if self.assumed is not None:
            rewards = torch.where(known[:, None], rewards, self.assumed.rewards[assumed])
        # Scaled to [-1, 1], so that costs do not act as a larger learning rate.
        batch = Batch(features(self._states(recorded, assumed)), rewards / self.scale)
        if cfg.gamma == 0:
            return batch
        return batch._replace(next_features=features(windows.states(after)), live=live)

    def _scale(self) -> float:
        """The largest reward in size; of the user's own reward, over some of the windows."""
        if not self.agent_cfg.reward_function:
            return reward_scale(self.agent_cfg) + self.agent_cfg.confidence_weight
        windows, largest = self.train_windows, 0.0
        step = -(-len(windows) // EVALUATION_ROWS)
        for rows in windows.parts(EVALUATION_ROWS, step):
            scores = windows.scores(rows)
            rewards = reward_matrix(
                scores[:, 0],
                scores[:, 1],
                windows.labels(rows),
                self.alphas,
                self.agent_cfg,
                self.evaluation_cfg.threshold,
            )
            largest = max(largest, float(rewards.abs().max()))
        return (largest or 1.0) + self.agent_cfg.confidence_weight

    def validation_step(self, batch: int, batch_idx: int) -> None:
        threshold = self.evaluation_cfg.threshold
        step = -(-len(self.train_windows) // TRAINING_REWARD_ROWS)
        train = greedy_metrics(self.q_network, self.train_windows, self.agent_cfg, threshold, step)
        val = greedy_metrics(self.q_network, self.val_windows, self.agent_cfg, threshold)
        metrics = {"updates": float(self.updates)}
        if self.agent_cfg.exploration == "boltzmann":
            metrics["temperature"] = self.temperature
        else:
            metrics["epsilon"] = self.epsilon
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
        cfg = self.agent_cfg
        self.epsilon = max(cfg.epsilon_min, self.epsilon * cfg.epsilon_decay)
        self.temperature = max(cfg.temperature_min, self.temperature * cfg.temperature_decay)
        self.importance = 1 - 0.9 * (1 - self.importance)
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
            "shape": _shape(self),
            "update_mode": self.agent_cfg.update_mode,
            "epsilon": self.epsilon,
            "temperature": self.temperature,
            "importance": self.importance,
            "updates": self.updates,
            "transitions": self.transitions,
            "batch_size": self.batch_size,
            "configured_batch_size": self.agent_cfg.batch_size,
            "best_reward": self.best_reward,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "random_state": self.generator.get_state() if self.device.type == "cpu" else None,
            "replay": None if self.replay is None else self.replay.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["fusion"]
        self.epsilon = state["epsilon"]
        self.temperature = state["temperature"]
        self.importance = state["importance"]
        self.updates = state["updates"]
        self.transitions = state["transitions"]
        if state["configured_batch_size"] == self.agent_cfg.batch_size:
            self.batch_size = state["batch_size"]
        self.best_reward = state["best_reward"]
        self.best_epoch = state["best_epoch"]
        self.best_weights = state["best_weights"]
        self._random_state = state["random_state"]
        if self._random_state is None:
            generator = torch.Generator().manual_seed(self.training_cfg.seed + self.updates)
            self._random_state = generator.get_state()
        self._replay_state = state["replay"]


def new_network(
    encoder: StateEncoder, agent_cfg: FusionAgentConfig, generator: torch.Generator | None = None
) -> QNetwork:
    """A Q-network of the configured shape."""
    return QNetwork(
        len(encoder),
        agent_cfg.alpha_steps,
        agent_cfg.hidden_dims,
        generator,
        dueling=agent_cfg.dueling,
    )


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
    expected = {"shape": _shape(module), "update_mode": module.agent_cfg.update_mode}
    got = {name: state.get(name) for name in expected}
    if got != expected:
        raise CheckpointError(f"{where} is of another agent: expected {expected}, got {got}")


def _shape(module: FusionLightningModule) -> dict[str, Any]:
    cfg = module.agent_cfg
    return {
        "state": list(module.encoder.names),
        "alpha_steps": cfg.alpha_steps,
        "hidden_dims": list(cfg.hidden_dims),
        "dueling": cfg.dueling,
        "replay": cfg.replay,
    }
