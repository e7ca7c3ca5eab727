"""One gradient step, with numbers computed by hand around a network that is set by hand."""

import pytest
import torch

from core.bench.plain_dqn import loss_of, train_eagerly
from core.config import FusionAgentConfig
from core.fusion import fit
from core.fusion.cuda_graph import GraphedLearn
from core.fusion.dqn import (
    HUBER_DELTA,
    Batch,
    Learner,
    act,
    act_boltzmann,
    learn,
    next_value,
    update,
    update_target,
)
from core.fusion.q_network import Duel, QNetwork, features, flatten_parameters


def constant_network(values: list[float]) -> QNetwork:
    """A network that gives ``values`` for every state."""
    network = QNetwork(2, len(values), (3,))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.layers[-1].bias.copy_(torch.tensor(values))
    return network


def make_learner(online: list[float], target: list[float], **settings: object) -> Learner:
    q_network, target_network = constant_network(online), constant_network(target)
    weights = flatten_parameters(q_network)
    return Learner(
        q_network=q_network,
        target_network=target_network,
        weights=weights,
        target_weights=flatten_parameters(target_network),
        optimizer=torch.optim.SGD([weights], lr=0.5),
        agent_cfg=FusionAgentConfig(**{"gamma": 0.5} | settings),
    )


def two_transitions(rewards: torch.Tensor, actions: torch.Tensor | None = None) -> Batch:
    states = features(torch.tensor([[0.1, 0.9], [0.5, 0.5]]))
    return Batch(states, rewards, actions, states, torch.tensor([1.0, 0.0]))


def test_double_q_chooses_online_and_values_with_the_target() -> None:
    batch = two_transitions(torch.zeros(2, 2))
    double = next_value(make_learner([1.0, 2.0], [8.0, 4.0]), batch)
    plain = next_value(make_learner([1.0, 2.0], [8.0, 4.0], double_q=False), batch)
    assert isinstance(double, torch.Tensor)
    assert isinstance(plain, torch.Tensor)
    assert double.tolist() == [2.0, 0.0]  # 0.5 * 4, and nothing after the end
    assert plain.tolist() == [4.0, 0.0]  # 0.5 * 8


def test_without_discount_the_future_is_not_asked() -> None:
    batch = two_transitions(torch.zeros(2, 2))._replace(next_features=None, live=None)
    assert next_value(make_learner([1.0, 2.0], [8.0, 4.0], gamma=0.0), batch) == 0.0


def test_all_actions_step_by_hand() -> None:
    learner = make_learner([0.0, 0.0], [0.0, 0.0])
    loss = update(learner, two_transitions(torch.tensor([[1.0, -1.0], [1.0, 0.0]])))
    assert loss.item() == pytest.approx((0.5 + 0.5 + 0.5 + 0.0) / 4)
    # Gradient of the biases: -(1 + 1) / 4 and -(-1 + 0) / 4; half of that is taken off.
    assert learner.q_network.layers[-1].bias.tolist() == pytest.approx([0.25, -0.125])


def test_sampled_step_moves_only_the_actions_taken() -> None:
    learner = make_learner([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    batch = two_transitions(torch.tensor([1.0, -1.0]), torch.tensor([2, 0]))
    update(learner, batch)
    assert learner.q_network.layers[-1].bias.tolist() == pytest.approx([-0.25, 0.0, 0.25])


def test_large_errors_are_cut_and_gradients_clipped() -> None:
    learner = make_learner([0.0, 0.0], [0.0, 0.0], grad_clip=0.01)
    loss = update(learner, two_transitions(torch.full((2, 2), 10.0)))
    assert loss.item() == pytest.approx(2.0 * (10 - 1))  # Huber: delta * (error - delta / 2)
    gradient = learner.weights.grad
    assert gradient is not None
    assert gradient.norm().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(("tau", "expected"), [(1.0, [1.0, 2.0]), (0.25, [6.25, 3.5])])
def test_target_takes_its_share_of_the_online_weights(tau: float, expected: list[float]) -> None:
    learner = make_learner([1.0, 2.0], [8.0, 4.0], tau=tau)
    update_target(learner)
    assert learner.target_network(torch.rand(1, 2))[0].tolist() == pytest.approx(expected)
    update(learner, two_transitions(torch.ones(2, 2)))
    assert learner.target_network(torch.rand(1, 2))[0].tolist() == pytest.approx(expected)


def test_exploration_is_uniform_and_the_rest_greedy() -> None:
    network, generator = constant_network([0.0, 1.0, 0.5, 0.2]), torch.Generator().manual_seed(0)
    states = torch.rand(4000, 2)
    assert act(network, states, 0.0).unique().tolist() == [1]
    shares = torch.bincount(act(network, states, 0.4, generator)) / 4000
    assert shares.tolist() == pytest.approx([0.1, 0.7, 0.1, 0.1], abs=0.03)


def test_flat_weights_and_layers_are_the_same_memory() -> None:
    network = QNetwork(2, 3, (4, 5), torch.Generator().manual_seed(0))
    before = network(torch.full((1, 2), 0.3))
    flat = flatten_parameters(network)
    assert flat.numel() == sum(p.numel() for p in network.parameters())
    torch.testing.assert_close(network(torch.full((1, 2), 0.3)), before)
    with torch.no_grad():
        flat.zero_()
    assert network(torch.full((1, 2), 0.3)).tolist() == [[0.0, 0.0, 0.0]]


def test_features_tell_extreme_scores_apart() -> None:
    half, high, higher = features(torch.tensor([[0.5], [0.99], [0.999]]))
    assert half.tolist() == [0.0, 0.0]
    assert (higher - high)[1].item() > 10 * (higher - high)[0].item()
    assert features(torch.tensor([[0.0, 1.0]])).abs().max().item() <= 1.0 + 1e-6


def test_first_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = QNetwork(2, 3, (4,), torch.Generator().manual_seed(7)).state_dict()
    torch.manual_seed(2)
    second = QNetwork(2, 3, (4,), torch.Generator().manual_seed(7)).state_dict()
    for name, value in first.items():
        assert torch.equal(value, second[name])


def test_boltzmann_actions_follow_their_values_and_the_temperature() -> None:
    network, states = constant_network([0.0, 1.0, 0.5]), torch.rand(20_000, 2)
    for temperature in (0.5, 2.0):
        expected = torch.softmax(torch.tensor([0.0, 1.0, 0.5]) / temperature, 0)
        generator = torch.Generator().manual_seed(0)
        drawn = torch.bincount(act_boltzmann(network, states, temperature, generator)) / 20_000
        assert drawn.tolist() == pytest.approx(expected.tolist(), abs=0.015)
    cold = act_boltzmann(network, states, 1e-3, torch.Generator().manual_seed(0))
    assert cold.unique().tolist() == [1]


def test_weights_scale_each_error_and_errors_are_given_back() -> None:
    learner = make_learner([0.0, 0.0], [0.0, 0.0])
    batch = two_transitions(torch.tensor([1.0, -1.0]), torch.tensor([0, 1]))
    loss, errors = learn(learner, batch._replace(weights=torch.tensor([1.0, 0.5])))
    assert errors.tolist() == [-1.0, 1.0]
    assert loss.item() == pytest.approx((0.5 + 0.25) / 2)
    # Gradients of the biases: -1 / 2 and 0.5 / 2; half of that is taken off.
    assert learner.q_network.layers[-1].bias.tolist() == pytest.approx([0.25, -0.125])


def test_dueling_values_by_hand() -> None:
    streams = torch.tensor([[2.0, 1.0, 3.0, 5.0]])
    assert Duel()(streams).tolist() == [[0.0, 2.0, 4.0]]  # 2 + advantage - 3
    network = QNetwork(3, 21, (8,), torch.Generator().manual_seed(0), dueling=True)
    assert network(torch.rand(5, 3)).shape == (5, 21)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_recorded_step_is_the_plain_step() -> None:
    device = torch.device("cuda")
    weights = []
    for step in (learn, GraphedLearn()):
        learner = make_learner([0.3, 0.1], [0.2, 0.4])
        learner.q_network.to(device)
        learner.target_network.to(device)
        learner.weights = flatten_parameters(learner.q_network)
        learner.target_weights = flatten_parameters(learner.target_network)
        learner.optimizer = torch.optim.Adam([learner.weights], fused=True, capturable=True)
        for seed in range(5):
            rewards = torch.rand(2, 2, generator=torch.Generator().manual_seed(seed))
            batch = two_transitions(rewards)
            tensors = {n: t.to(device) for n, t in batch._asdict().items() if t is not None}
            loss, _ = step(learner, batch._replace(**tensors))
            assert torch.isfinite(loss)
        weights.append(learner.weights.detach().cpu())
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("hidden", [(16, 8), (5,)])
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("weighed", [False, True])
def test_the_gradient_by_hand_is_that_of_autograd(
    dueling: bool, hidden: tuple[int, ...], sampled: bool, weighed: bool
) -> None:
    generator = torch.Generator().manual_seed(3)
    network = QNetwork(2, 7, hidden, generator, dueling=dueling)
    states = torch.rand(40, 2, generator=generator)
    rewards = 8 * torch.rand(40, 7, generator=generator) - 4  # Some errors are beyond delta.
    actions = torch.randint(7, (40,), generator=generator)
    batch = Batch(
        features(states),
        rewards.gather(1, actions[:, None]).squeeze(1) if sampled else rewards,
        actions if sampled else None,
        weights=torch.rand((40,) if sampled else (40, 1), generator=generator) if weighed else None,
    )
    loss, errors = loss_of(network, batch)
    assert (errors.abs() > HUBER_DELTA).any()
    expected = torch.cat(
        [part.flatten() for part in torch.autograd.grad(loss, list(network.parameters()))]
    )
    weights = flatten_parameters(network)
    before = weights.detach().clone()
    learner = Learner(
        q_network=network,
        target_network=network,
        weights=weights,
        target_weights=weights,
        optimizer=torch.optim.SGD([weights], lr=1.0),
        agent_cfg=FusionAgentConfig(grad_clip=1e6),
    )
    found, off = learn(learner, batch)
    torch.testing.assert_close(found, loss.detach())
    torch.testing.assert_close(off, errors.detach())
    torch.testing.assert_close(before - weights.detach(), expected, atol=1e-5, rtol=1e-4)


def test_a_step_of_adam_is_that_of_torch() -> None:
    found, expected = (QNetwork(2, 5, (8,), torch.Generator().manual_seed(1)) for _ in range(2))
    cfg = FusionAgentConfig(batch_size=16, grad_clip=0.05)
    learner = fit.make_learner(found, cfg)
    generator = torch.Generator().manual_seed(2)
    states, rewards = torch.rand(64, 2, generator=generator), torch.rand(64, 5, generator=generator)
    drawn = torch.Generator().manual_seed(0)
    for _ in range(30):
        rows = torch.randint(64, (16,), generator=drawn)
        learn(learner, Batch(features(states)[rows], rewards[rows]))
    train_eagerly(expected, cfg, states, rewards, 30)
    for ours, theirs in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    start = QNetwork(2, 5, (8,), torch.Generator().manual_seed(1))
    assert (found.layers[0].weight - start.layers[0].weight).abs().max() > 1e-3
