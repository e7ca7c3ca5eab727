"""The trained agent: what is saved, loaded and asked for alpha."""

import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from core.cache.fingerprint import changes
from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig, FusionConfig, FusionEvaluationConfig, override
from core.errors import CheckpointError, ConfigError, StaleCacheError
from core.files import atomic_path
from core.fusion.q_network import QNetwork
from core.fusion.reward import alpha_values
from core.fusion.state import StateEncoder

FORMAT = "canfusion-fusion-agent"
VERSION = 1
ROWS_AT_ONCE = 4096
"""States valued at once: what lies in between then stays in a core's cache."""
UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,  # NotImplementedError included
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
"""What reading a file as a torch archive raises when it is none."""


@dataclass
class FusionAgent:
    """A greedy policy: for each window the alpha of the largest value."""

    q_network: QNetwork
    agent_config: FusionAgentConfig
    evaluation_config: FusionEvaluationConfig = field(default_factory=FusionEvaluationConfig)
    metadata: dict[str, Any] = field(default_factory=dict)
    """JSON-able: data set, fingerprint of the cache, best epoch, ..."""
    encoder: StateEncoder = field(default_factory=StateEncoder)
    """What of a window the agent sees."""

    @property
    def threshold(self) -> float:
        return self.evaluation_config.threshold

    def q_values(
        self,
        anomaly: npt.ArrayLike,
        gat_prob: npt.ArrayLike,
        at: Mapping[str, float] | None = None,
    ) -> npt.NDArray[np.float32]:
        """The value of every alpha; scores ``[W]`` to ``[W, A]``.

        What else the agent sees is as in ``at`` (feature -> value), or the training's median.

        Raises:
            ConfigError: if ``at`` names a feature that the agent does not see.
        """
        return self.values(self.encoder.plane(anomaly, gat_prob, at))

    def values(self, states: torch.Tensor) -> npt.NDArray[np.float32]:
        """The value of every alpha; encoded states ``[W, D]`` to ``[W, A]``."""
        with torch.inference_mode():
            parts = [self.q_network(part) for part in states.split(ROWS_AT_ONCE)]
            return torch.cat(parts).numpy()

    def alpha(
        self,
        anomaly: npt.ArrayLike,
        gat_prob: npt.ArrayLike,
        at: Mapping[str, float] | None = None,
    ) -> npt.NDArray[np.float32]:
        """The weight of the GAT where the scores ``[W]`` are such; as :meth:`q_values`."""
        return self._best(self.q_values(anomaly, gat_prob, at))

    def alpha_of(self, cache: FusionPredictionCache) -> npt.NDArray[np.float32]:
        """The weight of the GAT in each window of a cache, ``[W]``.

        Raises:
            ConfigError: if the cache lacks what the agent sees.
        """
        return self._best(self.values(self.encoder.states(cache)))

    def _best(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return alpha_values(self.q_network.actions).numpy()[values.argmax(axis=1)]

    def check_cache(
        self, cache: FusionPredictionCache, where: str = "the prediction cache"
    ) -> None:
        """Refuse a cache of other scores than those that the agent was trained on.

        Caches without a fingerprint (scores of other detectors) only fit agents without one.

        Raises:
            StaleCacheError: naming what differs.
        """
        reasons = changes(cache.fingerprint, self.metadata.get("fingerprint") or {})
        if reasons:
            raise StaleCacheError(
                f"the agent was not made for {where}: {'; '.join(reasons[:5])}"
                + (f" and {len(reasons) - 5} more" if len(reasons) > 5 else "")
                + "; train it anew, or ask for it to be used all the same",
                reasons,
            )

    def save(self, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
        """Write weights, configuration and ``metadata`` (JSON-able), atomically.

        Raises:
            StorageError: if the file cannot be written.
        """
        self.metadata |= dict(metadata or {})
        content = {
            "format": FORMAT,
            "version": VERSION,
            "q_network": {k: v.detach().cpu() for k, v in self.q_network.state_dict().items()},
            "state_dim": self.q_network.state_dim,
            "state": self.encoder.to_dict(),
            "agent": self.agent_config.to_dict(),
            "evaluation": self.evaluation_config.to_dict(),
            # As text, so that nothing but tensors and plain values can be in the file.
            "metadata": json.dumps(self.metadata, allow_nan=False),
        }
        with atomic_path(path) as temporary:
            save_torch(content, temporary)

    @classmethod
    def load(cls, path: Path, expected: FusionAgentConfig | None = None) -> "FusionAgent":
        """Read an agent; nothing in the file is executed.

        Args:
            expected: if given, the state, number of alphas and layers that the agent must have.

        Raises:
            CheckpointError: if the file is missing, is no agent, or one of another shape.
        """
        content = load_torch(path)
        if content.get("format") != FORMAT:
            raise CheckpointError(
                f"{path} is no fusion agent: expected format {FORMAT!r}, "
                f"got {content.get('format')!r}"
            )
        if content.get("version") != VERSION:
            raise CheckpointError(
                f"{path}: expected version {VERSION} of an agent file, "
                f"got {content.get('version')!r}"
            )
        try:
            base = FusionConfig()
            agent_config = override(base.agent, content["agent"])
            evaluation_config = override(base.evaluation, content["evaluation"])
            metadata = json.loads(content["metadata"])
            # Agents of before there was a choice see the two scores.
            encoder = StateEncoder.from_dict(content.get("state", StateEncoder().to_dict()))
            if len(encoder) != content["state_dim"]:
                raise ValueError(f"{content['state_dim']} inputs, but {len(encoder)} features")
            q_network = QNetwork(
                content["state_dim"],
                agent_config.alpha_steps,
                agent_config.hidden_dims,
                dueling=agent_config.dueling,
            )
            q_network.load_state_dict(content["q_network"])
        except (
            *(KeyError, TypeError, ValueError, RuntimeError),
            *(ConfigError, CheckpointError),
        ) as error:
            raise CheckpointError(f"{path} is a damaged fusion agent: {error}") from error
        if expected is not None:
            for name in ("state", "alpha_steps", "hidden_dims", "dueling"):
                wanted, got = getattr(expected, name), getattr(agent_config, name)
                if wanted != got:
                    raise CheckpointError(
                        f"{path} is an agent of another shape: {name}: expected {wanted}, got {got}"
                    )
        return cls(q_network.eval(), agent_config, evaluation_config, metadata, encoder)


def save_torch(content: Mapping[str, Any], path: Path) -> None:
    """``torch.save`` whose failures are the operating system's.

    Raises:
        OSError: if the file cannot be written.
    """
    # A file opened here fails with OSError; one that torch opens, with RuntimeError.
    with path.open("wb") as file:
        torch.save(dict(content), file)


def load_torch(path: Path) -> dict[str, Any]:
    """A dictionary of tensors and plain values; code in the file is refused, never run.

    Raises:
        CheckpointError: if the file is missing, truncated, or holds anything else.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        # Torch does not look at the checksums of the archive that its files are.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = " ".join(str(error).split(".")[0].split()) or type(error).__name__
        raise CheckpointError(f"{path} is no readable checkpoint: {reason}") from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} is no checkpoint: expected a dictionary, got {type(content).__name__}"
        )
    return content
