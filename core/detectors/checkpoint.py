"""Detectors on disk: weights and configuration in one safetensors file, which cannot run code."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from core.config import GATConfig, Settings, VGAEConfig, override
from core.detectors.gat import GAT
from core.detectors.vgae import VGAE
from core.errors import CheckpointError, ConfigError
from core.files import atomic_path

C = TypeVar("C", bound=Settings)
M = TypeVar("M", bound=nn.Module)


def save_detector(model: VGAE | GAT, path: Path) -> None:
    """Write a detector's weights, calibration and configuration."""
    metadata = {"kind": type(model).__name__, "config": json.dumps(model.config.to_dict())}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        # Not safetensors' own writing, which reports a full disk as an error of its own kind.
        temporary.write_bytes(save(tensors, metadata))


def load_vgae(path: Path) -> VGAE:
    """Read a VGAE, ready to score.

    Raises:
        CheckpointError: if the file is missing, damaged, of another detector or another shape.
    """
    config, tensors = _read(path, "VGAE", VGAEConfig())
    return _fill(VGAE(config), tensors, path)


def load_gat(path: Path) -> GAT:
    """Read a GAT, ready to score.

    Raises:
        CheckpointError: if the file is missing, damaged, of another detector or another shape.
    """
    config, tensors = _read(path, "GAT", GATConfig())
    return _fill(GAT(config), tensors, path)


def save_arrays(kind: str, arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    """Write what a further detector of a kind has learnt."""
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(tensors, {"kind": kind}))


def load_arrays(kind: str, path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read what :func:`save_arrays` wrote.

    Raises:
        CheckpointError: if the file is missing, damaged or of another detector.
    """
    return _tensors(path, kind, "np")[1]


def weights_hash(model: nn.Module) -> str:
    """SHA-256 over a model's parameters and buffers, in order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, kind: str, defaults: C) -> tuple[C, dict[str, torch.Tensor]]:
    metadata, tensors = _tensors(path, kind, "pt")
    try:
        return override(defaults, dict(json.loads(metadata.get("config", "{}")))), tensors
    except (ConfigError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: not a {kind} checkpoint, or damaged ({error})") from error


def _tensors(path: Path, kind: str, framework: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Description and tensors of a checkpoint."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such {kind} checkpoint")
    try:
        with safe_open(path, framework=framework) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, OSError) as error:
        raise CheckpointError(f"{path}: not a {kind} checkpoint, or damaged ({error})") from error
    if metadata.get("kind") != kind:
        raise CheckpointError(
            f"{path}: expected a {kind} checkpoint, got one of {metadata.get('kind', 'no kind')}"
        )
    return metadata, tensors


def _fill(model: M, tensors: dict[str, torch.Tensor], path: Path) -> M:
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{path}: checkpoint of another shape: {name} is {found.get(name, 'missing')}, "
                f"expected {expected.get(name, 'nothing')}"
            )
    model.load_state_dict(tensors)
    return model.eval()
