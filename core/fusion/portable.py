"""The agent for programs without this project: torch.export (``.pt2``) and ONNX (``.onnx``).

Both hold the whole way from what is known of windows to alpha: input ``features`` ``[W, D]``, what
the agent sees of each window (by default anomaly score and GAT probability) as the prediction cache
has it, scaling included; output ``alpha`` ``[W]``. What was written is asked back and compared with
the agent before the file is there.
"""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.errors import ConfigError
from core.files import atomic_path
from core.fusion.agent import FusionAgent
from core.fusion.reward import alpha_values

SUFFIXES = (".pt2", ".onnx")
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
CHECKED_WINDOWS = 257


class AlphaModule(nn.Module):
    """What the agent sees ``[W, D]`` to alpha ``[W]``, as one module of torch."""

    alphas: torch.Tensor

    def __init__(self, agent: FusionAgent) -> None:
        super().__init__()
        self.encode = agent.encoder.encode
        self.q_network = agent.q_network
        self.register_buffer("alphas", alpha_values(agent.q_network.actions))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.alphas[self.q_network(self.encode(features)).argmax(dim=-1)]


def write_portable(agent: FusionAgent, path: Path) -> None:
    """Write the agent as ``path``'s ending says, atomically.

    Raises:
        ConfigError: on another ending than :data:`SUFFIXES`, or if packages for ONNX are missing.
        StorageError: if the file cannot be written.
        RuntimeError: if the file's answers are not the agent's: a defect.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: expected an ending of {', '.join(SUFFIXES)}")
    module = AlphaModule(agent).eval()
    asked = _examples(agent)
    with torch.inference_mode():
        expected = module(asked).numpy()
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of torch's exporters on themselves.
        dynamic = ({0: torch.export.Dim("windows")},)
        if path.suffix == ".pt2":
            torch.export.save(
                torch.export.export(module, (asked,), dynamic_shapes=dynamic), temporary
            )
            answer = torch.export.load(temporary).module()(asked).detach().numpy()
        else:
            require_onnx()
            program = torch.onnx.export(
                module,
                (asked,),
                input_names=["features"],
                output_names=["alpha"],
                dynamic_shapes=dynamic,
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            program.save(temporary)
            answer = run_onnx(temporary, asked.numpy())
        # Where two alphas are worth the same to the last digit, either may win.
        if np.mean(answer == expected) < 0.99:
            raise RuntimeError(f"{path}: answers {answer[:5]}, expected {expected[:5]}")


def require_onnx() -> None:
    """Raises ConfigError where packages for ONNX are missing, with the way to get them."""
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"ONNX needs the package(s) {', '.join(missing)}; expected "
            ".venv/bin/python -m pip install -e '.[onnx]' before"
        )


def run_onnx(path: Path, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Ask an agent in ONNX; ``[W, D]`` to ``[W]``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(["alpha"], {"features": features})[0], np.float32)


def _examples(agent: FusionAgent) -> torch.Tensor:
    """Windows to ask about: scores anywhere in [0, 1], other features around their medians."""
    rng = np.random.default_rng(0)
    size = (CHECKED_WINDOWS, len(agent.encoder))
    spread = np.array(agent.encoder.spread)
    normal = np.array(agent.encoder.center) + spread * rng.standard_normal(size)
    features = np.where(spread > 0, normal, rng.random(size))
    return torch.from_numpy(features.astype(np.float32))
