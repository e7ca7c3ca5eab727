"""Small detectors that learn from large ones what to say of a window.

A student is a VGAE or a GAT like its teacher, with a tenth of the parameters at most. It learns on
the training windows of its teacher, half of them disturbed: a teacher says something of every
window, and what it says of unlikely ones is what a student of an anomaly detector has to learn.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss
from torch_geometric.data import Batch

from core.config import DetectorConfig, GATConfig, VGAEConfig
from core.detectors.crossfit import Lessons
from core.detectors.gat import GAT
from core.detectors.graph_model import CLIP, GraphModel
from core.detectors.stack import DetectorStack
from core.detectors.training import GATModule, VGAEModule
from core.detectors.vgae import COMPONENTS, VGAE
from core.errors import ConfigError

LARGEST_SHARE = 0.1
"""Of a teacher's parameters that its student may have."""
EPOCHS, LR = 20, 0.01
"""Of a student: a small network needs more steps, and takes larger ones."""
DISTURBED_WINDOWS = 0.5
"""Share of a batch's windows that are disturbed."""
SAID = 8.0
"""Log-odds beyond which it does not matter how sure a teacher is."""
LABEL_WEIGHT = 0.5
"""Of the labels, beside what the teacher says."""


def parameters(model: nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(parameter.numel() for parameter in model.parameters())


def student_settings(config: DetectorConfig, share: float = LARGEST_SHARE) -> DetectorConfig:
    """Settings of the widest students that have ``share`` of their teachers' parameters at most.

    Raises:
        ConfigError: if a teacher is so small that there is none.
    """

    def vgae(width: int) -> VGAEConfig:
        latent = max(1, width // 2)
        return replace(config.vgae, hidden_channels=width, latent_channels=latent)

    def gat(width: int) -> GATConfig:
        heads, layers = min(2, config.gat.heads), min(2, config.gat.layers)
        return replace(config.gat, hidden_channels=width, heads=heads, layers=layers, dropout=0.0)

    small = replace(
        config,
        extra="",
        vgae=_widest(VGAE, config.vgae, vgae, share),
        gat=_widest(GAT, config.gat, gat, share),
    )
    return replace(
        small,
        vgae=replace(small.vgae, epochs=EPOCHS, lr=LR),
        gat=replace(small.gat, epochs=EPOCHS, lr=LR),
    )


def lessons_of(teachers: DetectorStack, device: torch.device) -> Lessons:
    """What students learn by: each from the teacher that left out the same captures."""

    def lessons(
        fold: int,
    ) -> tuple[Callable[..., VGAEModule], Callable[..., GATModule]]:
        vgae, gat = teachers.of(fold).vgae.to(device), teachers.of(fold).gat
        return (
            partial(VGAEStudentModule, teacher=vgae),
            partial(GATStudentModule, teacher=gat.to(device)) if gat is not None else GATModule,
        )

    return lessons


def _widest(
    kind: Callable[[Any], nn.Module], teacher: Any, narrowed: Callable[[int], Any], share: float
) -> Any:
    """The widest of the ``narrowed`` settings that ``share`` allows."""
    # On the meta device a network has shapes and no numbers.
    with torch.device("meta"):
        allowed = share * parameters(kind(teacher))
        smallest = parameters(kind(narrowed(2)))
        width = 2
        while parameters(kind(narrowed(width))) <= allowed:
            width += 1
    if width == 2:
        raise ConfigError(
            f"no student with {share:g} of the parameters of this {kind.__name__}: expected a "
            f"teacher of at least {round(smallest / share)}, got {round(allowed / share)}"
        )
    return narrowed(width - 1)


def disturbed(batch: Batch, scale: GraphModel, generator: torch.Generator) -> tuple[Batch, Tensor]:
    """A copy of a batch in which some windows depart from what they were, more or less.

    In every disturbed window a share of nodes, of edges and of window features, drawn for the
    window, is replaced: half by those of others in the batch, half by any value within reach.

    Args:
        scale: knows mean and spread of the features.

    Returns:
        The batch, and ``[B]`` True for windows that were left as they are.
    """
    windows, device = len(batch.window_attr), batch.x.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    share = uniform(windows).square()
    calm = uniform(windows) >= DISTURBED_WINDOWS
    share[calm] = 0

    def replaced(values: Tensor, owner: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        rows = len(values)
        chosen = uniform(rows) < share[owner]
        others = values[torch.randperm(rows, generator=generator, device=device)]
        wild = mean + std * CLIP * (2 * uniform(*values.shape) - 1)
        wild = torch.where(uniform(*values.shape) < 0.25, wild, values)
        new = torch.where((uniform(rows) < 0.5)[:, None], others, wild)
        return torch.where(chosen[:, None], new, values)

    each = torch.arange(windows, device=device)
    copy = Batch(
        batch=batch.batch,
        ptr=batch.ptr,
        x=replaced(batch.x, batch.batch, scale.x_mean, scale.x_std),
        edge_index=batch.edge_index,
        edge_attr=replaced(
            batch.edge_attr, batch.batch[batch.edge_index[0]], scale.edge_mean, scale.edge_std
        ),
        window_attr=replaced(batch.window_attr, each, scale.window_mean, scale.window_std),
        y=batch.y,
    )
    return copy, calm


class VGAEStudentModule(VGAEModule):
    """Trains a VGAE to find windows as badly reconstructed as its teacher does.

    By how much more the student's errors are in general does not matter: scores are relative to
    clean windows.
    """

    def __init__(self, *args: Any, teacher: VGAE, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # In a tuple, so that Lightning neither trains nor counts it.
        self.teacher = (teacher,)
        self.offset = nn.Parameter(torch.zeros(len(COMPONENTS)))

    def loss(self, index: Tensor, generator: torch.Generator | None) -> Tensor:
        assert generator is not None
        (teacher,) = self.teacher
        batch, _ = disturbed(self.graphs.gather(index), teacher, generator)
        with torch.no_grad():
            wanted = teacher.components(batch)
        return smooth_l1_loss(self.model.components(batch) - self.offset, wanted)


class GATStudentModule(GATModule):
    """Trains a GAT to say of windows what its teacher says, and what their labels say."""

    def __init__(self, *args: Any, teacher: GAT, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.teacher = (teacher,)

    def loss(self, index: Tensor, generator: torch.Generator | None) -> Tensor:
        assert generator is not None
        (teacher,) = self.teacher
        batch, calm = disturbed(self.graphs.gather(index), teacher, generator)
        with torch.no_grad():
            wanted = teacher(batch).clamp(-SAID, SAID)
        said = self.model(batch)
        loss = smooth_l1_loss(said, wanted)
        if calm.any():
            loss = loss + LABEL_WEIGHT * self._cross_entropy(said[calm], batch.y[calm])
        return loss
