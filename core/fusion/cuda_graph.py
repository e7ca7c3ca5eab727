"""Gradient steps as a recorded CUDA graph.

A step on so small a network is some thirty tiny kernels, and starting them one by one takes far
longer than running them; a recorded graph starts them all at once. Not measured: no machine with a
GPU was at hand when this was written, so it is off unless ``training.cuda_graphs`` asks for it. Its
test (marked ``cuda``) holds it against the plain step.
"""

import torch

from core.fusion.dqn import Batch, Learner, learn

WARM_UP = 3
"""Steps before recording; libraries set themselves up in the first ones."""


class GraphedLearn:
    """:func:`core.fusion.dqn.learn`, recorded at the first call and replayed from then on.

    Batches of another size (the last of a halved run, say) take the plain way.
    """

    def __init__(self) -> None:
        self.graph: torch.cuda.CUDAGraph | None = None
        self.given: Batch | None = None
        self.result: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, learner: Learner, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        if self.graph is None:
            self._record(learner, batch)
        assert self.graph is not None
        assert self.given is not None
        assert self.result is not None
        if len(batch.features) != len(self.given.features):
            return learn(learner, batch)
        for place, value in zip(self.given, batch, strict=True):
            if place is not None and value is not None:
                place.copy_(value)
        self.graph.replay()
        loss, errors = self.result
        return loss.clone(), errors.clone()

    def _record(self, learner: Learner, batch: Batch) -> None:
        copies = {n: v.clone() for n, v in batch._asdict().items() if v is not None}
        self.given = batch._replace(**copies)
        weights = learner.weights.detach().clone()
        before = {name: value.clone() for name, value in _state(learner).items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                learn(learner, self.given)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = learn(learner, self.given)
        # What the steps up to here have changed is taken back.
        with torch.no_grad():
            learner.weights.copy_(weights)
            for name, value in _state(learner).items():
                if name in before:
                    value.copy_(before[name])
                else:
                    value.zero_()


def _state(learner: Learner) -> dict[str, torch.Tensor]:
    """What the optimiser remembers; empty before its first step."""
    return learner.optimizer.state[learner.weights]
