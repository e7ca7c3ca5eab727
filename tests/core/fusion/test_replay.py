"""The replay memory keeps the newest transitions."""

import pytest
import torch

from core.fusion.replay import PrioritisedReplayBuffer, ReplayBuffer, SumTree


def push(buffer: ReplayBuffer, *windows: int) -> None:
    buffer.push(torch.tensor(windows), torch.tensor(windows) * 10)


def test_the_oldest_are_overwritten() -> None:
    buffer = ReplayBuffer(5)
    push(buffer, 1, 2, 3)
    assert len(buffer) == 3
    push(buffer, 4, 5, 6, 7)
    assert len(buffer) == 5
    assert buffer.window.tolist() == [6, 7, 3, 4, 5]
    assert buffer.action.tolist() == [60, 70, 30, 40, 50]


@pytest.mark.parametrize("before", [1, 2, 4])
def test_of_more_than_fits_only_the_newest_stay(before: int) -> None:
    buffer = ReplayBuffer(4)
    push(buffer, *range(before))
    push(buffer, *range(100, 111))
    assert sorted(buffer.window.tolist()) == [107, 108, 109, 110]
    push(buffer, 200)
    assert sorted(buffer.window.tolist()) == [108, 109, 110, 200]


def test_samples_come_from_what_was_pushed_and_belong_together() -> None:
    buffer = ReplayBuffer(100)
    push(buffer, 7, 8, 9)
    window, action, place, _ = buffer.sample(200, torch.Generator().manual_seed(0))
    assert torch.equal(buffer.window[place], window)
    assert set(window.tolist()) == {7, 8, 9}
    assert torch.equal(action, window * 10)


def test_state_is_restored() -> None:
    buffer, other = ReplayBuffer(5), ReplayBuffer(5)
    push(buffer, 1, 2, 3, 4, 5, 6, 7)
    other.load_state_dict(buffer.state_dict())
    push(buffer, 8)
    push(other, 8)
    assert other.window.tolist() == buffer.window.tolist() == [6, 7, 8, 4, 5]


def prioritised(capacity: int, exponent: float = 1.0) -> PrioritisedReplayBuffer:
    return PrioritisedReplayBuffer(capacity, exponent)


def shares(drawn: torch.Tensor, size: int) -> list[float]:
    return (torch.bincount(drawn, minlength=size) / len(drawn)).tolist()


@pytest.mark.parametrize("capacity", [1, 63, 64, 65, 5000, 300_000])
def test_sums_stay_true_on_every_level(capacity: int) -> None:
    tree, generator = SumTree(capacity), torch.Generator().manual_seed(0)
    numbers = torch.zeros(capacity, dtype=torch.float64)
    for _ in range(3):
        place = torch.randint(capacity, (200,), generator=generator).unique()
        numbers[place] = torch.rand(len(place), generator=generator, dtype=torch.float64)
        tree.set(place, numbers[place])
    torch.testing.assert_close(tree.leaves[:capacity], numbers)
    for lower, upper in zip(tree.levels, tree.levels[1:], strict=False):
        sums = upper.view(-1)[: len(lower)]
        torch.testing.assert_close(sums, lower.sum(dim=1))
        assert not upper.view(-1)[len(lower) :].any()
    place, number = tree.draw(500, generator)
    torch.testing.assert_close(number, numbers[place])
    assert (number > 0).all()


def test_numbers_are_drawn_in_proportion() -> None:
    tree = SumTree(200)
    tree.set(torch.tensor([3, 100, 199]), torch.tensor([1.0, 2.0, 5.0]))
    drawn, _ = tree.draw(8000, torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == {3, 100, 199}
    assert [shares(drawn, 200)[i] for i in (3, 100, 199)] == pytest.approx(
        [1 / 8, 2 / 8, 5 / 8], abs=0.02
    )


def test_large_errors_are_replayed_more_often_and_count_less() -> None:
    buffer = prioritised(10)
    push(buffer, 5, 6)
    buffer.reprioritise(torch.tensor([0, 1]), torch.tensor([0.999, -2.999]))
    window, action, _, weights = buffer.sample(4000, torch.Generator().manual_seed(0), 1.0)
    assert weights is not None
    assert torch.equal(action, window * 10)
    assert shares(window, 7)[5:] == pytest.approx([0.25, 0.75], abs=0.03)
    # A third as likely, so three times the weight; the largest is 1.
    assert weights[window == 5].unique().tolist() == pytest.approx([1.0])
    assert weights[window == 6].unique().tolist() == pytest.approx([1 / 3], abs=1e-3)


def test_new_transitions_count_as_much_as_the_worst_so_far() -> None:
    buffer = prioritised(3)
    push(buffer, 1)
    buffer.reprioritise(torch.tensor([0]), torch.tensor([7.0]))
    push(buffer, 2)
    assert buffer.priorities.leaves[:3].tolist() == pytest.approx([7.001, 7.001, 0.0])
    push(buffer, 3, 4)
    assert buffer.window.tolist() == [4, 2, 3]


def test_a_prioritised_memory_is_restored() -> None:
    buffer, other = prioritised(5, 0.6), prioritised(5, 0.6)
    push(buffer, 1, 2, 3, 4, 5, 6, 7)
    buffer.reprioritise(torch.tensor([1, 3]), torch.tensor([0.1, 4.0]))
    other.load_state_dict(buffer.state_dict())
    for memory in (buffer, other):
        push(memory, 8)
    first, second = (m.sample(50, torch.Generator().manual_seed(1), 0.4) for m in (buffer, other))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))  # type: ignore[arg-type]
