"""Memory of what was tried, for sampled updates."""

import torch


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

    def push(self, window: torch.Tensor, action: torch.Tensor) -> None:
        """Remember ``[B]`` windows with the ``[B]`` actions chosen in them."""
        # Of more than fits only the last remain; else one place would be written twice at once.
        self.pushed += max(0, len(window) - self.capacity)
        window, action = window[-self.capacity :], action[-self.capacity :]
        place = (self.pushed + torch.arange(len(window), device=window.device)) % self.capacity
        self.window[place] = window
        self.action[place] = action
        self.pushed += len(window)

    def sample(
        self, size: int, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``[size]`` windows and actions, drawn with replacement."""
        place = torch.randint(len(self), (size,), generator=generator, device=self.window.device)
        return self.window[place], self.action[place]

    def state_dict(self) -> dict[str, torch.Tensor | int]:
        used = len(self)
        return {
            "window": self.window[:used].clone(),
            "action": self.action[:used].clone(),
            "pushed": self.pushed,
        }

    def load_state_dict(self, state: dict[str, torch.Tensor | int]) -> None:
        window, action, pushed = state["window"], state["action"], state["pushed"]
        assert isinstance(window, torch.Tensor)
        assert isinstance(action, torch.Tensor)
        assert isinstance(pushed, int)
        self.window[: len(window)] = window.to(self.window)
        self.action[: len(action)] = action.to(self.action)
        self.pushed = pushed
