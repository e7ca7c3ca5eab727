"""Every setting of the project, once: dataclasses that refuse what they cannot mean.

The command lines, the hydra-zen presets and the forms of the dashboard are made from these classes;
each field carries its own help and range.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from core.errors import ConfigError

PROTOCOLS = ("commissioned", "zero-shot")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "32-true", "bf16-mixed")


def setting(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with a default, one line of help and the values it may take."""
    metadata = {"help": help, "low": low, "high": high, "choices": choices}
    if isinstance(default, (list, dict)):
        raise TypeError("defaults must be immutable")
    return field(default=default, metadata=metadata)


class Settings:
    """Base of the configuration dataclasses: checks types and ranges when made."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for f in fields(self):  # type: ignore[arg-type]
            value = _coerce(getattr(self, f.name), hints[f.name])
            object.__setattr__(self, f.name, value)
            problem = _problem(value, hints[f.name], f.metadata)
            if problem:
                raise ConfigError(
                    f"{type(self).__name__}.{f.name}: expected {problem}, got {value!r}"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionary, fit for JSON."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]


@dataclass(frozen=True)
class WindowConfig(Settings):
    """How a capture is cut into windows."""

    size: int = setting(100, "frames per window", low=2, high=4096)
    stride: int = setting(100, "frames from one window's start to the next", low=1, high=1_000_000)
    duration_s: float = setting(
        0.0, "seconds per window; 0: windows by number of frames", low=0.0, high=600.0
    )
    stride_s: float = setting(
        0.0,
        "windows by time: seconds from one start to the next; 0: one after another",
        low=0.0,
        high=3600.0,
    )
    last: str = setting(
        "drop", "what becomes of an incomplete window at the end", choices=("drop", "keep")
    )
    attacked_share: float = setting(
        0.0,
        "share of a window's frames from which it counts as attacked; 0: any frame",
        low=0.0,
        high=1.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride_s and self.duration_s > 1000 * self.stride_s:
            raise ConfigError(
                f"WindowConfig.stride_s: expected at least a thousandth of duration_s "
                f"({self.duration_s}), got {self.stride_s}"
            )

    @property
    def overlap(self) -> int:
        """How many of the windows after a window share frames with it, at most."""
        if self.duration_s:
            return max(0, math.ceil(self.duration_s / (self.stride_s or self.duration_s)) - 1)
        return max(0, math.ceil(self.size / self.stride) - 1)

    @property
    def length(self) -> str:
        """Length of a window, in words."""
        return f"{self.duration_s:g} s" if self.duration_s else f"{self.size} frames"


@dataclass(frozen=True)
class VGAEConfig(Settings):
    """The variational graph autoencoder."""

    hidden_channels: int = setting(32, "width of the encoder and the decoder", low=2, high=1024)
    latent_channels: int = setting(8, "size of a node's latent code", low=1, high=512)
    kl_weight: float = setting(0.01, "weight of the KL term", low=0.0, high=100.0)
    edge_weight: float = setting(0.5, "weight of the edge reconstruction term", low=0.0, high=100.0)
    epochs: int = setting(20, "passes over the attack-free windows", low=1, high=10_000)
    lr: float = setting(3e-3, "learning rate", low=1e-7, high=1.0)


@dataclass(frozen=True)
class GATConfig(Settings):
    """The graph attention classifier."""

    hidden_channels: int = setting(8, "width of one attention head", low=2, high=1024)
    heads: int = setting(4, "attention heads", low=1, high=64)
    layers: int = setting(3, "attention layers", low=1, high=16)
    dropout: float = setting(0.2, "dropout before the last layer", low=0.0, high=0.95)
    epochs: int = setting(4, "passes over the labelled windows", low=1, high=10_000)
    """Few by default: with more passes it tells recorded attacks ever more surely from clean
    traffic, and unlearns to tell others: on real captures the AUROC on an attack that it had not
    been taught was 1.000 after 4 epochs and .956 after 12."""
    lr: float = setting(6e-3, "learning rate", low=1e-7, high=1.0)


@dataclass(frozen=True)
class DetectorConfig(Settings):
    """Both detectors, and how they are trained."""

    window: WindowConfig = field(default_factory=WindowConfig)
    vgae: VGAEConfig = field(default_factory=VGAEConfig)
    gat: GATConfig = field(default_factory=GATConfig)
    protocol: str = setting("commissioned", "what is known of a test vehicle", choices=PROTOCOLS)
    profile_windows: int = setting(
        200, "windows at the start of a capture that commission its profile", low=10, high=100_000
    )
    folds: int = setting(
        4, "cross-fitting: detectors trained without one part of the captures", low=2, high=32
    )
    cross_fit: str = setting(
        "capture",
        "what is left out together: captures in turn, all of one attack, or all of one vehicle",
        choices=("capture", "attack", "vehicle"),
    )
    rehearsals: int = setting(
        16,
        "stretches of clean training traffic on which attacks are acted out, to learn from; "
        "0: only recorded attacks",
        low=0,
        high=1000,
    )
    rehearsed_for: str = setting(
        "auto",
        "who learns from rehearsed attacks: only the agent, or the GAT too; auto: the GAT too "
        "where the protocol is zero-shot",
        choices=("auto", "agent", "both"),
    )
    extra: str = setting(
        "", "further detectors by name, with commas between: scored and compared beside the two"
    )
    batch_size: int = setting(128, "windows per gradient step", low=1, high=65_536)
    windows_per_epoch: int = setting(
        4096, "windows drawn per epoch at most", low=2, high=100_000_000
    )
    device: str = setting("auto", "where to compute", choices=DEVICES)
    seed: int = setting(0, "seed of everything random", low=0, high=2**31 - 1)

    @property
    def extra_names(self) -> tuple[str, ...]:
        """Names of the further detectors."""
        return tuple(dict.fromkeys(filter(None, map(str.strip, self.extra.split(",")))))

    @property
    def rehearsals_for_gat(self) -> bool:
        """Whether the GAT learns from rehearsed attacks.

        Without a profile it must: on real captures its F1 on an attack it had not seen rose from
        .77 to .99. With one, the VGAE finds such attacks without, and what the agent needs is to
        meet attacks that the GAT was not taught: used to a GAT that knows most of them, it trusted
        it too much on those that leave the timing as it is.
        """
        return self.rehearsed_for == "both" or (
            self.rehearsed_for == "auto" and self.protocol == "zero-shot"
        )


@dataclass(frozen=True)
class FusionAgentConfig(Settings):
    """The DQN agent that picks alpha."""

    state: tuple[str, ...] = setting(
        ("anomaly", "gat_prob"),
        "what the agent sees of a window: anomaly, gat_prob, anomaly_confidence, gat_confidence, "
        "disagreement, anomaly_recent, gat_prob_recent, duration, or a score component of the "
        "prediction cache, such as vgae_features",
    )
    alpha_steps: int = setting(
        21, "number of weights to choose from, evenly in [0, 1]", low=2, high=1001
    )
    hidden_dims: tuple[int, ...] = setting(
        (64, 64), "widths of the Q-network's hidden layers", low=1, high=4096
    )
    dueling: bool = setting(
        False, "value of the state and advantage of each alpha in streams of their own"
    )
    fusion_lr: float = setting(1e-3, "learning rate", low=1e-7, high=1.0)
    gamma: float = setting(0.0, "discount of the next window's value", low=0.0, high=0.9999)
    """0 by default: an alpha does not move the traffic, so the future is worth the same whatever
    alpha is chosen, and the best policy is the same for every gamma. A discount only adds the
    error of that common value to the differences that matter: on scores where the detectors
    disagree in 2 % of the windows, 4,000 updates closed 100 % of the gap to the oracle with 0 and
    70 to 92 % with 0.9."""
    exploration: str = setting(
        "epsilon",
        "what sampled updates try: the best alpha or, by chance, any (epsilon), or each the more "
        "often the better it seems (boltzmann)",
        choices=("epsilon", "boltzmann"),
    )
    epsilon: float = setting(1.0, "share of random actions at the start", low=0.0, high=1.0)
    epsilon_min: float = setting(0.05, "share of random actions at the end", low=0.0, high=1.0)
    epsilon_decay: float = setting(0.9, "factor on epsilon after each epoch", low=0.01, high=1.0)
    temperature: float = setting(
        1.0,
        "Boltzmann exploration: differences in value that hardly matter at the start, as share of "
        "the largest reward",
        low=1e-4,
        high=1e4,
    )
    temperature_min: float = setting(
        0.02, "Boltzmann exploration: the same at the end", low=1e-4, high=1e4
    )
    temperature_decay: float = setting(
        0.9, "factor on the temperature after each epoch", low=0.01, high=1.0
    )
    batch_size: int = setting(512, "transitions per gradient step", low=1, high=1_048_576)
    buffer_size: int = setting(
        100_000, "transitions kept for replay (sampled updates)", low=1, high=100_000_000
    )
    replay: str = setting(
        "uniform",
        "sampled updates: replay all transitions alike, or those with large errors more often",
        choices=("uniform", "prioritised"),
    )
    priority_exponent: float = setting(
        0.6,
        "prioritised replay: 0 draws all alike, 1 in proportion to the error",
        low=0.0,
        high=1.0,
    )
    importance_exponent: float = setting(
        0.4,
        "prioritised replay: how far weights make up for uneven draws at the start (1: wholly); "
        "comes a tenth nearer to 1 with each epoch",
        low=0.0,
        high=1.0,
    )
    update_mode: str = setting(
        "all_actions",
        "learn from the reward of every alpha, or only of the one that was tried",
        choices=("all_actions", "sampled"),
    )
    double_q: bool = setting(
        True, "choose the next action online, value it with the target network"
    )
    target_update: int = setting(
        200, "gradient steps between copies to the target network", low=1, high=10_000_000
    )
    tau: float = setting(
        1.0, "share copied to the target network (1: whole; less: Polyak)", low=1e-6, high=1.0
    )
    grad_clip: float = setting(10.0, "largest gradient norm", low=1e-6, high=1e6)
    miss_cost: float = setting(1.0, "cost of an attack called benign", low=0.0, high=1e6)
    false_alarm_cost: float = setting(
        1.0, "cost of a benign window called attack", low=0.0, high=1e6
    )
    confidence_weight: float = setting(
        0.0,
        "weight of a potential-based term for sure scores, which cannot change the best policy",
        low=0.0,
        high=1e6,
    )
    assumed_grid: int = setting(
        10,
        "points per score, evenly from 0 to 1, where a logistic regression says what to expect "
        "unless training windows tell otherwise (only with state=[anomaly,gat_prob]); 0: none",
        low=0,
        high=1000,
    )
    reward_function: str = setting(
        "", "own reward instead of the costs, as module:function (see the guide); empty: none"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.state)) < len(self.state):
            raise ConfigError(f"FusionAgentConfig.state: expected each once, got {self.state!r}")
        if self.update_mode != "sampled":
            for name, usual in (("replay", "uniform"), ("exploration", "epsilon")):
                if (value := getattr(self, name)) != usual:
                    raise ConfigError(
                        f"FusionAgentConfig.{name}: {value} needs update_mode=sampled; where "
                        "the reward of every alpha is learnt from, nothing is tried or replayed"
                    )


@dataclass(frozen=True)
class FusionDataConfig(Settings):
    """What the agent learns from."""

    dataset: str = setting("demo", "data set in the workspace, or a path to its folder")
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    val_fraction: float = setting(
        0.25, "share of windows held out for validation", low=0.01, high=0.9
    )
    autoencoder: str = setting("", "VGAE checkpoint to use instead of training one")
    classifier: str = setting("", "GAT checkpoint to use instead of training one")
    jobs: int = setting(1, "captures worked on at the same time", low=1, high=1024)
    backend: str = setting(
        "loky", "joblib back end that the jobs run on (loky, threading, a registered cluster)"
    )


@dataclass(frozen=True)
class FusionTrainingConfig(Settings):
    """How long, where and with which seed the agent is trained."""

    max_epochs: int = setting(40, "epochs", low=1, high=100_000)
    updates_per_epoch: int = setting(100, "gradient steps per epoch", low=1, high=10_000_000)
    patience: int = setting(
        15, "epochs without a better validation reward before stopping", low=1, high=100_000
    )
    save_top_k: int = setting(3, "best checkpoints kept", low=0, high=1000)
    device: str = setting("auto", "where to compute", choices=DEVICES)
    precision: str = setting(
        "auto", "numbers to compute with; auto: 32-true, everywhere", choices=PRECISIONS
    )
    """bf16-mixed would only add conversions to layers of 64: it is there for large ones."""
    cuda_graphs: bool = setting(
        False, "on a GPU, record a gradient step once and replay it from then on"
    )
    profile: bool = setting(
        False, "write where the time goes into the log folder (profile.txt, profile.json)"
    )
    seed: int = setting(0, "seed of everything random", low=0, high=2**31 - 1)
    resume_from: str = setting("", "checkpoint to go on from")


@dataclass(frozen=True)
class FusionEvaluationConfig(Settings):
    """How verdicts are made and compared."""

    threshold: float = setting(
        0.5, "fused score from which a window is called an attack", low=0.0, high=1.0
    )
    policy_grid: int = setting(50, "cells per axis of the policy map", low=2, high=2000)


@dataclass(frozen=True)
class FusionConfig(Settings):
    """Everything that fusion training needs."""

    agent: FusionAgentConfig = field(default_factory=FusionAgentConfig)
    data: FusionDataConfig = field(default_factory=FusionDataConfig)
    training: FusionTrainingConfig = field(default_factory=FusionTrainingConfig)
    evaluation: FusionEvaluationConfig = field(default_factory=FusionEvaluationConfig)


S = TypeVar("S", bound=Settings)


def create_fusion_config(dataset: str = "demo", **overrides: Any) -> FusionConfig:
    """The default configuration for a data set, with changes by dotted or nested name.

    Args:
        dataset: name of a data set in the workspace, or a path to its folder.
        overrides: sections as mappings (``agent={"fusion_lr": 0.002}``).

    Raises:
        ConfigError: on an unknown name, a wrong type or a value out of range.
    """
    return override(override(FusionConfig(), {"data.dataset": dataset}), overrides)


def override(config: S, changes: Mapping[str, Any]) -> S:
    """A copy of ``config`` with ``changes``, given nested or by dotted name.

    Raises:
        ConfigError: on an unknown name (the valid ones are listed), a wrong type or range.
    """
    valid = {f.name for f in fields(config)}  # type: ignore[arg-type]
    new: dict[str, Any] = {}
    for name, value in changes.items():
        head, _, tail = name.partition(".")
        if head not in valid:
            raise ConfigError(
                f"{type(config).__name__} has no setting {head!r}; "
                f"it has {', '.join(sorted(valid))}"
            )
        current = new.get(head, getattr(config, head))
        if tail:
            value = {tail: value}
        if isinstance(current, Settings):
            if isinstance(value, Mapping):
                value = override(current, value)
        elif tail:
            raise ConfigError(
                f"{type(config).__name__}.{head} has no settings of its own, got {name!r}"
            )
        new[head] = value
    return dataclasses.replace(config, **new)  # type: ignore[type-var]


def _coerce(value: Any, hint: Any) -> Any:
    """What JSON and command lines cannot express: tuples, and whole numbers meant as float."""
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _problem(value: Any, hint: Any, metadata: types.MappingProxyType[Any, Any]) -> str:
    """What was expected instead of ``value``, or an empty string."""
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if not isinstance(value, tuple) or not value or any(type(v) is not item for v in value):
            return f"one or more values of type {item.__name__}"
        numbers = value
    elif not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        return f"a value of type {hint.__name__}"
    else:
        numbers = (value,)
    choices = metadata.get("choices")
    if choices and value not in choices:
        return f"one of {', '.join(choices)}"
    low, high = metadata.get("low"), metadata.get("high")
    for number in numbers:
        if isinstance(number, float) and not math.isfinite(number):
            return "a finite number"
        if (low is not None and number < low) or (high is not None and number > high):
            return f"a value from {low} to {high}"
    return ""
