"""The agent's file: what was saved is loaded, anything else refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from core.config import FusionAgentConfig, FusionEvaluationConfig
from core.errors import CheckpointError
from core.fusion.agent import FusionAgent
from core.fusion.q_network import QNetwork


def make_agent(steps: int = 5) -> FusionAgent:
    config = FusionAgentConfig(alpha_steps=steps, hidden_dims=(8, 4))
    network = QNetwork(2, steps, (8, 4), torch.Generator().manual_seed(0))
    return FusionAgent(network, config, FusionEvaluationConfig(threshold=0.4), {"dataset": "toy"})


def test_alpha_is_that_of_the_largest_value() -> None:
    agent = make_agent()
    scores = np.random.default_rng(0).random((2, 200))
    values = agent.q_values(*scores)
    assert values.shape == (200, 5)
    assert len(np.unique(agent.alpha(*scores))) > 1
    np.testing.assert_allclose(agent.alpha(*scores), values.argmax(axis=1) / 4)


def test_large_batches_give_what_single_windows_give(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make_agent()
    scores = np.random.default_rng(0).random((2, 50))
    whole = agent.q_values(*scores)
    monkeypatch.setattr("core.fusion.agent.ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(agent.q_values(*scores), whole, rtol=1e-5)


def test_no_windows_give_no_alphas() -> None:
    assert make_agent().alpha(np.empty(0), np.empty(0)).shape == (0,)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    agent, path = make_agent(), tmp_path / "models" / "agent.pth"
    agent.save(path, {"fingerprint": {"gat": "abc"}})
    loaded = FusionAgent.load(path, expected=agent.agent_config)
    scores = np.random.default_rng(0).random((2, 50))
    np.testing.assert_array_equal(loaded.q_values(*scores), agent.q_values(*scores))
    assert loaded.agent_config == agent.agent_config
    assert loaded.threshold == 0.4
    assert loaded.metadata == {"dataset": "toy", "fingerprint": {"gat": "abc"}}
    assert torch.load(path, weights_only=True)["agent"]["alpha_steps"] == 5


def test_an_agent_of_another_shape_is_refused(tmp_path: Path) -> None:
    make_agent(5).save(tmp_path / "agent.pth")
    expected = FusionAgentConfig(alpha_steps=21, hidden_dims=(8, 4))
    with pytest.raises(CheckpointError, match="alpha_steps: expected 21, got 5"):
        FusionAgent.load(tmp_path / "agent.pth", expected=expected)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.pth"
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        FusionAgent.load(path)
    make_agent().save(path)
    whole = path.read_bytes()
    for content in (b"", b"junk", whole[:100], whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"agent\.pth is no readable checkpoint"):
            FusionAgent.load(path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": "other"}, "no fusion agent"),
        ({"version": 99}, "version 1"),
        ({"agent": {"alpha_steps": 6}}, "damaged"),
        ({"agent": {"alpha_steps": 5, "unknown": 1}}, "damaged.*unknown"),
        ({"q_network": {}}, "damaged"),
        ({"metadata": "{"}, "damaged"),
    ],
)
def test_inconsistent_files_are_refused(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    path = tmp_path / "agent.pth"
    make_agent().save(path)
    torch.save(torch.load(path, weights_only=True) | change, path)
    with pytest.raises(CheckpointError, match=expected):
        FusionAgent.load(path)


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="expected a dictionary, got list"):
        FusionAgent.load(tmp_path / "list.pth")
