"""Trains an agent: Lightning's trainer around :class:`FusionLightningModule`."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.profilers import SimpleProfiler

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig, FusionConfig
from core.device import resolve_device
from core.errors import ScoresError, StorageError
from core.files import atomic_path, write_json
from core.fusion.agent import FusionAgent, load_torch
from core.fusion.lightning_module import (
    FusionLightningModule,
    check_resumable,
    gap_closed,
    greedy_metrics,
    new_network,
)
from core.fusion.policy import PolicyHistory, policy_history
from core.fusion.reward import reward_scale
from core.progress import Reporter, SilentReporter
from core.undisturbed import undisturbed

STUCK = 1e-3
"""Spread of alpha, or of values as share of the largest reward, below which a policy is stuck."""
WORTH_CLOSING = 1e-3
"""Reward per window between best single detector and oracle that is worth a warning."""


@dataclass(frozen=True)
class TrainedAgent:
    """The agent of the best epoch, and how it came about."""

    agent: FusionAgent
    best_epoch: int
    """Counted from 0."""
    epochs: int
    """Epochs trained, those before a resume included."""
    updates: int
    """Gradient steps, those before a resume included."""
    transitions: int
    """Transitions learnt from: updates times batch size."""
    train_seconds: float
    reward: float
    """Mean reward per held-out window: of the agent, ..."""
    reward_oracle: float
    """... of the best alpha in each window, ..."""
    reward_best_single: float
    """... and of the better one of the two detectors."""
    gap_closed: float | None
    """Share of the gap between best single and oracle; None where there is no gap."""
    alpha_mean: float
    alpha_std: float
    q_spread: float
    """Mean distance of the best from the worst alpha's value, as reward."""
    warnings: list[str] = field(default_factory=list)
    """What looks wrong with the policy, and what went otherwise than asked for."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One entry per epoch trained now, as reported."""
    log_dir: Path | None = None


def train_agent(
    train: FusionPredictionCache,
    validation: FusionPredictionCache,
    config: FusionConfig,
    *,
    checkpoints: Path | None = None,
    log_root: Path | None = None,
    log_name: str = "fusion",
    policy_epochs: Path | None = None,
    reporter: Reporter | None = None,
) -> TrainedAgent:
    """Train on ``train``, pick the epoch of the largest reward on ``validation``.

    Args:
        checkpoints: folder for the best ``save_top_k`` epochs and ``last.ckpt``; None: none kept.
        log_root: ``<log_root>/<log_name>/version_N`` takes ``metrics.csv``, ``hparams.yaml`` and
            TensorBoard events; None: no logs.
        policy_epochs: file for the policy map of every epoch
            (:class:`core.fusion.policy.PolicyHistory`); None: not kept.

    Raises:
        ScoresError: if there are no windows to learn from or to validate on.
        ConfigError: if CUDA is asked for and absent, the scores lack what the agent is to see, or
            the user's own reward cannot be had.
        CheckpointError: if ``config.training.resume_from`` cannot be resumed.
        StorageError: if checkpoints or logs cannot be written.
        JobStopped: if ``reporter.check`` says so; what was saved up to then stays.
    """
    reporter = reporter or SilentReporter()
    for part, name in ((train, "training"), (validation, "validation")):
        if not len(part):
            raise ScoresError(f"expected windows for {name}, got none")
    device = resolve_device(config.training.device)
    module = FusionLightningModule(
        config.agent, config.training, config.evaluation, train, validation
    )
    resume_from = config.training.resume_from
    if resume_from:
        check_resumable(load_torch(Path(resume_from)), module, resume_from)
    grid = config.evaluation.policy_grid
    started = time.perf_counter()
    with undisturbed(), policy_history(policy_epochs, grid, module.encoder) as history:
        progress = ReportProgress(reporter, config.training.max_epochs, history)
        loggers, log_dir = _loggers(log_root, log_name, config)
        profiler = SimpleProfiler() if config.training.profile else None
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            max_epochs=config.training.max_epochs,
            logger=loggers,
            callbacks=[progress, *_callbacks(config, checkpoints)],
            enable_checkpointing=checkpoints is not None,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            precision=_precision(config.training.precision),
            profiler=profiler,
            plugins=[LightningEnvironment()],
        )
        try:
            trainer.fit(module, ckpt_path=resume_from or None, weights_only=True)
        except OSError as error:
            raise StorageError(
                f"cannot write checkpoints or logs: {error.strerror or error}"
            ) from error
        except SystemExit as error:
            # Lightning's answer to Ctrl-C; the command line has its own exit code for it.
            raise KeyboardInterrupt from error
    seconds = time.perf_counter() - started
    if profiler is not None and log_dir is not None:
        write_profile(profiler, log_dir)
    trained = _trained(module, trainer, progress, seconds, train, log_dir)
    for warning in trained.warnings[len(module.notices) :]:
        reporter.log(f"warning: {warning}")
    return trained


def _trained(
    module: FusionLightningModule,
    trainer: pl.Trainer,
    progress: "ReportProgress",
    seconds: float,
    train: FusionPredictionCache,
    log_dir: Path | None,
) -> TrainedAgent:
    """The agent of the best epoch with its numbers on the held-out windows."""
    cfg = module.agent_cfg
    network = new_network(module.encoder, cfg)
    network.load_state_dict(module.best_weights)
    threshold = module.evaluation_cfg.threshold
    windows = module.val_windows.to(torch.device("cpu"))
    best = greedy_metrics(network, windows, cfg, threshold)
    closed = gap_closed(best["reward"], module.best_single, module.oracle)
    metadata: dict[str, Any] = {
        "best_epoch": module.best_epoch,
        "updates": module.updates,
        "val_reward": best["reward"],
        "val_accuracy": best["accuracy"],
        "gap_closed": closed,
        "dataset": train.metadata.get("dataset", ""),
        "fingerprint": train.fingerprint,
    }
    return TrainedAgent(
        agent=FusionAgent(network.eval(), cfg, module.evaluation_cfg, metadata, module.encoder),
        best_epoch=module.best_epoch,
        epochs=trainer.current_epoch,
        updates=module.updates,
        transitions=module.transitions,
        train_seconds=seconds,
        reward=best["reward"],
        reward_oracle=module.oracle,
        reward_best_single=module.best_single,
        gap_closed=closed,
        alpha_mean=best["alpha_mean"],
        alpha_std=best["alpha_std"],
        q_spread=best["q_spread"],
        warnings=[*module.notices, *stuck_policy(best, module.best_single, module.oracle, cfg)],
        history=progress.history,
        log_dir=log_dir,
    )


def stuck_policy(
    measured: Mapping[str, float], best_single: float, oracle: float, cfg: FusionAgentConfig
) -> list[str]:
    """Whether a policy does not tell windows apart although that would pay, in words.

    One alpha for all windows is no fault where it wins what there is to win: only with most of a
    gap left open it is.

    Args:
        measured: what :func:`core.fusion.lightning_module.greedy_metrics` found.
    """
    closed = gap_closed(measured["reward"], best_single, oracle)
    if closed is None or oracle - best_single < WORTH_CLOSING or closed > 0.5:
        return []
    left = f"{closed:.0%} of the gap between the better single detector and the oracle is closed"
    warnings = []
    if measured["q_spread"] < STUCK * reward_scale(cfg):
        warnings.append(
            f"the policy is stuck: every alpha seems worth the same (q_spread "
            f"{measured['q_spread']:.2g}), and {left}; more epochs or a larger agent.fusion_lr help"
        )
    if measured["alpha_std"] < STUCK:
        warnings.append(
            f"the policy is stuck: alpha is {measured['alpha_mean']:.2f} everywhere, and {left}; "
            "more epochs, more windows or another agent.state help"
        )
    return warnings


def write_profile(profiler: SimpleProfiler, folder: Path) -> None:
    """Seconds and calls of each part of the training, as ``profile.json`` and ``profile.txt``.

    Raises:
        StorageError: if a file cannot be written.
    """
    spent = {
        name: {"seconds": sum(durations), "calls": len(durations)}
        for name, durations in profiler.recorded_durations.items()
    }
    ordered = dict(sorted(spent.items(), key=lambda item: -item[1]["seconds"]))
    write_json(folder / "profile.json", ordered)
    with atomic_path(folder / "profile.txt") as temporary:
        temporary.write_text(profiler.summary(), encoding="utf-8")


def _precision(name: str) -> Any:
    """As Lightning calls it. Layers of 64 are computed faster than converted: no mixing."""
    return "32-true" if name == "auto" else name


class ReportProgress(Callback):
    """Tells the reporter how far the training is, and lets it stop the training."""

    def __init__(
        self, reporter: Reporter, max_epochs: int, policies: PolicyHistory | None = None
    ) -> None:
        self.reporter = reporter
        self.max_epochs = max_epochs
        self.policies = policies
        self.told = 0
        self.history: list[dict[str, float]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.reporter.check()
        done = trainer.current_epoch + batch_idx / max(1, trainer.num_training_batches)
        self.reporter.progress(
            "fusion",
            done / self.max_epochs,
            f"epoch {trainer.current_epoch + 1} of {self.max_epochs}",
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, FusionLightningModule)
        for notice in pl_module.notices[self.told :]:
            self.reporter.log(f"warning: {notice}")
        self.told = len(pl_module.notices)
        if self.policies is not None:
            self.policies.add(trainer.current_epoch, pl_module.q_network)
        metrics = {"epoch": float(trainer.current_epoch), **pl_module.epoch_metrics}
        self.history.append(metrics)
        self.reporter.metrics("fusion", metrics)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.reporter.progress("fusion", 1.0, f"{trainer.current_epoch} epochs")


def _callbacks(config: FusionConfig, checkpoints: Path | None) -> list[Callback]:
    callbacks: list[Callback] = [
        EarlyStopping(
            "val_reward",
            mode="max",
            patience=config.training.patience,
            check_on_train_epoch_end=True,
        )
    ]
    if checkpoints is not None:
        callbacks.append(
            ModelCheckpoint(
                dirpath=checkpoints,
                filename="fusion_epoch{epoch:02d}_val_accuracy{val_accuracy:.3f}",
                auto_insert_metric_name=False,
                monitor="val_reward",
                mode="max",
                save_top_k=config.training.save_top_k,
                save_last=True,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            )
        )
    return callbacks


def _loggers(
    log_root: Path | None, log_name: str, config: FusionConfig
) -> tuple[list[Logger], Path | None]:
    """CSV and TensorBoard logs in one folder, claimed by making it."""
    if log_root is None:
        return [], None
    parent = log_root / log_name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        taken = [-1]
        taken += [
            int(digits)
            for path in parent.glob("version_*")
            if (digits := path.name.removeprefix("version_")).isdecimal()
        ]
        version = max(taken) + 1
        while True:
            try:
                (parent / f"version_{version}").mkdir()
                break
            except FileExistsError:
                version += 1
    except OSError as error:
        raise StorageError(f"cannot write {parent}: {error.strerror or error}") from error
    csv = CSVLogger(str(log_root), log_name, version, flush_logs_every_n_steps=1)
    board = TensorBoardLogger(str(log_root), log_name, version, default_hp_metric=False)
    # By way of JSON: tuples would become tags that only Python reads.
    settings = json.loads(json.dumps(config.to_dict()))
    for logger in (csv, board):
        logger.log_hyperparams(settings)
    return [csv, board], parent / f"version_{version}"
