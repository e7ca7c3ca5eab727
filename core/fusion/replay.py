"""Memory of what was tried, for sampled updates."""

from typing import Any, NamedTuple

import torch


class Sample(NamedTuple):
    """Drawn transitions, each known by its window and its action."""

    window: torch.Tensor
    """``[B]``"""
    action: torch.Tensor
    """``[B]``"""
    place: torch.Tensor
    """``[B]`` where in the memory they lie."""
    weights: torch.Tensor | None = None
    """``[B]`` importance of each, at most 1; None: all alike."""


class ReplayBuffer:
    """The last ``capacity`` choices, as tensors on the device; the oldest are overwritten.

    A transition of a cached recording is known from its window and its action alone (state, reward
    and next state lie in the cache), so only these two numbers are kept.
    """

    def __init__(self, capacity: int, device: torch.device | str = "cpu") -> None:
        self.window = torch.zeros(capacity, dtype=torch.int64, device=device)
        self.action = torch.zeros(capacity, dtype=torch.int64, device=device)
        self.pushed = 0
        """How many transitions were ever pushed."""

    def __len__(self) -> int:
        return min(self.pushed, self.capacity)

    @property
    def capacity(self) -> int:
        return len(self.window)

    def push(self, window: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Remember ``[B]`` windows with the ``[B]`` actions chosen in them.

        Returns:
            Where they lie now; of more than fits, only the last.
        """
        # Of more than fits only the last remain; else one place would be written twice at once.
        self.pushed += max(0, len(window) - self.capacity)
        window, action = window[-self.capacity :], action[-self.capacity :]
        place = (self.pushed + torch.arange(len(window), device=window.device)) % self.capacity
        self.window[place] = window
        self.action[place] = action
        self.pushed += len(window)
        return place

    def sample(self, size: int, generator: torch.Generator | None = None) -> Sample:
        """``[size]`` transitions, drawn with replacement."""
        place = torch.randint(len(self), (size,), generator=generator, device=self.window.device)
        return Sample(self.window[place], self.action[place], place)

    def state_dict(self) -> dict[str, Any]:
        used = len(self)
        return {
            "window": self.window[:used].clone(),
            "action": self.action[:used].clone(),
            "pushed": self.pushed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        window, action = state["window"], state["action"]
        self.window[: len(window)] = window.to(self.window)
        self.action[: len(action)] = action.to(self.action)
        self.pushed = int(state["pushed"])


class PrioritisedReplayBuffer(ReplayBuffer):
    """Draws a transition the more often the larger its last error was.

    Proportional prioritised replay (Schaul et al. 2016, https://arxiv.org/abs/1511.05952): a
    transition of error ``d`` is drawn with a probability proportional to ``(|d| + 1e-3) ** a``, new
    ones as if their error were the largest so far. As this moves what is learnt away from the mean
    reward, each error then counts ``(N * probability) ** -b``, divided by the largest such weight
    in the batch.

    Our own, as torchrl's does not run here: the compiled part of torchrl 0.14.1, which holds its
    sum tree, does not load with torch 2.13.
    """

    SMALLEST_ERROR = 1e-3
    """So that every transition is drawn now and then."""

    def __init__(self, capacity: int, exponent: float, device: torch.device | str = "cpu") -> None:
        super().__init__(capacity, device)
        self.exponent = exponent
        self.priorities = SumTree(capacity, device)
        self.largest = torch.ones((), dtype=torch.float64, device=device)

    def push(self, window: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        place = super().push(window, action)
        self.priorities.set(place, self.largest.expand(len(place)))
        return place

    def sample(
        self,
        size: int,
        generator: torch.Generator | None = None,
        importance_exponent: float = 0.0,
    ) -> Sample:
        """``[size]`` transitions, drawn with replacement, each with its importance."""
        place, priority = self.priorities.draw(size, generator)
        # Rounding must not lead to a place that nothing was pushed to.
        place = place.clamp(max=len(self) - 1)
        weights = (priority / priority.min()) ** -importance_exponent
        return Sample(self.window[place], self.action[place], place, weights.float())

    def reprioritise(self, place: torch.Tensor, errors: torch.Tensor) -> None:
        """Take note of new errors ``[B]`` of the transitions at ``[B]``."""
        priority = (errors.abs().double() + self.SMALLEST_ERROR) ** self.exponent
        self.largest = torch.maximum(self.largest, priority.max())
        self.priorities.set(place, priority)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "priorities": self.priorities.leaves[: len(self)].clone(),
            "largest": self.largest.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        priorities = state["priorities"].to(self.largest)
        self.largest = state["largest"].to(self.largest)
        self.priorities.set(torch.arange(len(priorities), device=priorities.device), priorities)


class SumTree:
    """Numbers in a tree of sums, from which places are drawn in proportion.

    Every node has 64 children, so that a hundred thousand numbers are three levels high, and a
    batch is drawn, or changed, with a handful of operations per level.
    """

    WIDTH = 64

    def __init__(self, capacity: int, device: torch.device | str = "cpu") -> None:
        self.levels: list[torch.Tensor] = []
        """The numbers ``[N / 64, 64]``, then their sums alike, up to ``[1, 64]``."""
        size = capacity
        while True:
            size = -(-size // self.WIDTH)
            self.levels.append(torch.zeros(size, self.WIDTH, dtype=torch.float64, device=device))
            if size == 1:
                break

    @property
    def leaves(self) -> torch.Tensor:
        """The numbers; those beyond the capacity are zero."""
        return self.levels[0].view(-1)

    def set(self, place: torch.Tensor, value: torch.Tensor) -> None:
        """Change the numbers at ``[B]`` to ``[B]``; of equal places, any one value counts."""
        self.leaves[place] = value.to(torch.float64)
        for lower, upper in zip(self.levels, self.levels[1:], strict=False):
            place = place // self.WIDTH
            upper.view(-1)[place] = lower[place].sum(dim=1)

    def draw(
        self, size: int, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``[size]`` places, drawn in proportion to their numbers, and these numbers."""
        root = self.levels[-1]
        rest = torch.rand(size, dtype=torch.float64, generator=generator, device=root.device)
        rest = rest * root.sum()
        node = torch.zeros(size, dtype=torch.int64, device=root.device)
        for level in reversed(self.levels):
            passed = level[node].cumsum(dim=1)
            child = (passed <= rest[:, None]).sum(dim=1).clamp(max=self.WIDTH - 1)
            # Rounding may lead past the last number above zero: then that one is taken.
            child = torch.minimum(child, (passed < passed[:, -1:]).sum(dim=1))
            before = passed.gather(1, child[:, None]).squeeze(1) - level[node, child]
            rest = (rest - before).clamp(min=0.0)
            node = node * self.WIDTH + child
        return node, self.leaves[node]
