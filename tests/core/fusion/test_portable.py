"""The agent for other programs answers as the agent does."""

from pathlib import Path

import numpy as np
import pytest
import torch

from core.config import FusionAgentConfig
from core.errors import ConfigError
from core.fusion import portable
from core.fusion.agent import FusionAgent
from core.fusion.q_network import QNetwork
from core.fusion.state import StateEncoder

THREE = StateEncoder(
    ("anomaly", "gat_prob", "vgae_features"), (0.0, 0.0, 12.0), (0.0, 0.0, 3.0), (0.5, 0.5, 12.0)
)


def make_agent(encoder: StateEncoder, dueling: bool) -> FusionAgent:
    cfg = FusionAgentConfig(state=encoder.names, hidden_dims=(16,), dueling=dueling)
    generator = torch.Generator().manual_seed(1)
    network = QNetwork(len(encoder), 21, (16,), generator, dueling=dueling)
    return FusionAgent(network.eval(), cfg, encoder=encoder)


@pytest.fixture(params=["two scores", "three features, dueling"])
def agent(request: pytest.FixtureRequest) -> FusionAgent:
    return make_agent(
        *((StateEncoder(), False) if request.param == "two scores" else (THREE, True))
    )


def features(agent: FusionAgent, windows: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    values = rng.random((windows, len(agent.encoder)))
    values[:, 2:] = 12 + 6 * rng.standard_normal((windows, len(agent.encoder) - 2))
    return values.astype(np.float32)


def answer(agent: FusionAgent, asked: np.ndarray) -> np.ndarray:
    values = agent.values(agent.encoder.encode(torch.from_numpy(asked)))
    return values.argmax(axis=1) / np.float32(20)


def test_torch_export_of_any_number_of_windows(agent: FusionAgent, tmp_path: Path) -> None:
    portable.write_portable(agent, tmp_path / "agent.pt2")
    module = torch.export.load(tmp_path / "agent.pt2").module()
    for windows in (1, 1000):
        asked = features(agent, windows)
        found = module(torch.from_numpy(asked)).numpy()
        np.testing.assert_allclose(found, answer(agent, asked), atol=1e-6)
    assert len(np.unique(found)) > 1


@pytest.mark.slow
def test_onnx_of_any_number_of_windows(tmp_path: Path) -> None:
    agent = make_agent(THREE, True)
    for package in portable.ONNX_PACKAGES:
        pytest.importorskip(package)
    portable.write_portable(agent, tmp_path / "agent.onnx")
    for windows in (1, 1000):
        asked = features(agent, windows)
        found = portable.run_onnx(tmp_path / "agent.onnx", asked)
        assert np.mean(np.abs(found - answer(agent, asked)) < 1e-6) >= 0.999


def test_what_onnx_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make_agent(StateEncoder(), False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="onnx, onnxscript, onnxruntime"):
        portable.write_portable(agent, tmp_path / "agent.onnx")
    with pytest.raises(ConfigError, match=r"ending of \.pt2, \.onnx"):
        portable.write_portable(agent, tmp_path / "agent.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_answers_otherwise_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make_agent(StateEncoder(), False)
    loaded = torch.export.load

    class Wrong:
        def __init__(self, path: Path) -> None:
            self.real = loaded(path).module()

        def module(self) -> object:
            return lambda asked: self.real(asked) + 0.5

    monkeypatch.setattr(torch.export, "load", Wrong)
    with pytest.raises(RuntimeError, match="expected"):
        portable.write_portable(agent, tmp_path / "agent.pt2")
    assert list(tmp_path.iterdir()) == []
