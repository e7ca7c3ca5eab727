"""The replay memory keeps the newest transitions."""

import pytest
import torch

from core.fusion.replay import ReplayBuffer


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
    window, action = buffer.sample(200, torch.Generator().manual_seed(0))
    assert set(window.tolist()) == {7, 8, 9}
    assert torch.equal(action, window * 10)


def test_state_is_restored() -> None:
    buffer, other = ReplayBuffer(5), ReplayBuffer(5)
    push(buffer, 1, 2, 3, 4, 5, 6, 7)
    other.load_state_dict(buffer.state_dict())
    push(buffer, 8)
    push(other, 8)
    assert other.window.tolist() == buffer.window.tolist() == [6, 7, 8, 4, 5]
