"""Training that was stopped goes on where it ended: courses on disk, one file each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from core.detectors.gat import GAT
from core.detectors.training import Course
from core.detectors.vgae import VGAE
from core.files import atomic_path

M = TypeVar("M", VGAE, GAT)


def kept(
    path: Path | None, model: Callable[[], M], train: Callable[[], Course[M]], device: torch.device
) -> Course[M]:
    """The course in a file, or where it is missing, or damaged, the one that is trained now.

    Args:
        path: the caller's to name after all that the course depends on; None: nothing is kept.
        model: makes an untrained model of the course's shape.

    Raises:
        StorageError: if the file cannot be written.
        JobStopped: as ``train`` does.
    """
    if path is not None and (found := _read(path, model().to(device))) is not None:
        return found
    course = train()
    if path is not None:
        tensors = {
            f"{epoch}/{name}": tensor.cpu().contiguous()
            for epoch, state in enumerate(course.states)
            for name, tensor in state.items()
        }
        about = {"epochs": str(len(course.states)), "losses": json.dumps(course.losses)}
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(tensors, about))
    return course


def _read(path: Path, model: M) -> Course[M] | None:
    device = next(model.parameters()).device
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            states = [
                {name: file.get_tensor(f"{epoch}/{name}").to(device) for name in model.state_dict()}
                for epoch in range(int(about["epochs"]))
            ]
            losses = [float(loss) for loss in json.loads(about["losses"])]
        model.load_state_dict(states[-1])
        return Course(model.eval(), states, losses)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, IndexError, RuntimeError):
        return None
