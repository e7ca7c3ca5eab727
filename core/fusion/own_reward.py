"""The user's own reward: a function of theirs, named in ``agent.reward_function``.

::

    # my_rewards.py, somewhere that Python imports from (PYTHONPATH)
    import torch

    def late_alarm(anomaly, gat_prob, label, alphas, threshold):
        fused = (1 - alphas) * anomaly[:, None] + alphas * gat_prob[:, None]
        right = (fused >= threshold) == label.bool()[:, None]
        return torch.where(right, 1.0, -5.0)

It gets tensors ``anomaly, gat_prob, label`` of ``[B]`` and ``alphas`` of ``[A]``, and the threshold
as a number, all by name, and returns what each alpha earns in each window: numbers ``[B, A]``. The
function is the user's code and runs as such; it is imported when a training starts, never when an
agent is loaded.
"""

import functools
import importlib
import inspect
from collections.abc import Callable

import torch

from core.errors import ConfigError

ARGUMENTS = ("anomaly", "gat_prob", "label", "alphas", "threshold")
FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a mistake in the user's function raises."""

RewardFunction = Callable[..., torch.Tensor]


@functools.cache
def load_reward(path: str) -> RewardFunction:
    """The function that ``module:function`` names, tried on three windows.

    Raises:
        ConfigError: if there is none, it does not take :data:`ARGUMENTS`, fails, or returns
            something else than finite numbers of the right shape.
    """
    where = f"agent.reward_function {path!r}"
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise ConfigError(f"{where}: expected module:function")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, SyntaxError, *FAILURES) as error:
        raise ConfigError(f"{where} cannot be imported: {error}") from error
    if not callable(function):
        raise ConfigError(f"{where}: expected a function, got {type(function).__name__}")
    try:
        inspect.signature(function).bind(**dict.fromkeys(ARGUMENTS))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: expected to take {', '.join(ARGUMENTS)}; {error}") from error
    scores = torch.tensor([0.1, 0.6, 0.9])
    own_reward(path, function, scores, scores.flip(0), torch.tensor([0, 1, 1]), scores[:2], 0.5)
    return function


def own_reward(
    path: str,
    function: RewardFunction,
    anomaly: torch.Tensor,
    gat_prob: torch.Tensor,
    label: torch.Tensor,
    alphas: torch.Tensor,
    threshold: float,
) -> torch.Tensor:
    """Ask the user's function and check its answer; ``[B]`` and ``[A]`` to ``[B, A]``.

    Raises:
        ConfigError: if it fails or returns something else than finite numbers ``[B, A]``.
    """
    where = f"agent.reward_function {path!r}"
    try:
        rewards = function(
            anomaly=anomaly, gat_prob=gat_prob, label=label, alphas=alphas, threshold=threshold
        )
    except FAILURES as error:
        raise ConfigError(f"{where} failed: {type(error).__name__}: {error}") from error
    expected = (len(anomaly), len(alphas))
    if not isinstance(rewards, torch.Tensor) or tuple(rewards.shape) != expected:
        got = tuple(rewards.shape) if isinstance(rewards, torch.Tensor) else type(rewards).__name__
        raise ConfigError(f"{where}: expected a tensor of shape {expected}, got {got}")
    if rewards.is_complex() or not bool(torch.isfinite(rewards).all()):
        raise ConfigError(f"{where}: expected finite numbers")
    return rewards.to(anomaly.dtype)
