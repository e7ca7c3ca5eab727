"""Training of both detectors with Lightning."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch_geometric.data import Batch

from core.config import DetectorConfig
from core.detectors.gat import GAT
from core.detectors.vgae import VGAE
from core.graphs.tensors import GraphTensors
from core.progress import Reporter
from core.undisturbed import undisturbed

M = TypeVar("M", VGAE, GAT)

LARGEST_CLASS_WEIGHT = 20.0
HELD_OUT_WINDOWS = 2048
"""Windows of left-out captures that an epoch is judged by, at most: more take longer, not more to
tell one epoch from another."""
SURE = 4.0
"""Log-odds beyond which a classifier cannot be more wrong. A kind of attack that it was not taught
makes it the surer the longer it learns, and would outweigh all that it learns meanwhile."""
HARD_SHARE, HARD_WEIGHT = 0.25, 3.0
"""Clean windows that the VGAE finds most anomalous, and how many times as often they are drawn."""


@dataclass
class Course(Generic[M]):
    """A model through its training: weights and held-out loss after every epoch."""

    model: M
    states: list[dict[str, Tensor]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Empty where nothing was held out."""

    def at(self, epoch: int) -> M:
        """The model as it was after an epoch, counted from 0."""
        self.model.load_state_dict(self.states[epoch])
        return self.model.eval()


def best_epoch(courses: Sequence[Course[Any]]) -> int:
    """The epoch, counted from 0, of the smallest held-out loss on average over all courses.

    The last one where nothing was held out.
    """
    losses = [course.losses for course in courses if course.losses]
    return int(np.mean(losses, axis=0).argmin()) if losses else len(courses[0].states) - 1


class WindowBatches:
    """Index batches over chosen windows; with a seed, drawn and shuffled anew in every epoch.

    Where there are more windows than the limit, those in ``rare`` fill up to half of an epoch: a
    few attacked windows among many clean ones would else hardly ever be seen. The others are drawn
    by ``weight``.
    """

    def __init__(
        self,
        index: Tensor,
        batch_size: int,
        seed: int | None = None,
        limit: int | None = None,
        rare: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> None:
        self.rare = index[:0] if rare is None else rare
        self.weight = weight
        self.index, self.batch_size = index, batch_size
        self.windows = min(len(index) + len(self.rare), limit or 2**62)
        self.rare_windows = min(
            len(self.rare), max(self.windows // 2, self.windows - len(self.index))
        )
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-self.windows // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        if self.generator is None:
            return iter(self.index[: self.windows].split(self.batch_size))
        rare = self.rare[self._order(len(self.rare))][: self.rare_windows]
        rest = self.index[self._drawn(self.windows - self.rare_windows)]
        drawn = torch.cat([rare, rest])
        return iter(drawn[self._order(len(drawn))].split(self.batch_size))

    def _drawn(self, count: int) -> Tensor:
        if self.weight is None:
            return self._order(len(self.index))[:count]
        # The largest of weighted exponential variables: a weighted draw without replacement, of any
        # number (torch.multinomial takes 2^24 categories at most).
        uniform = torch.rand(len(self.index), generator=self.generator).clamp_min(1e-38)
        key = uniform.log().to(self.weight.device) / self.weight
        return key.topk(count).indices

    def _order(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self.generator).to(self.index.device)


class DetectorModule(L.LightningModule):
    """Shared by both detectors: optimiser, schedule, and the loss on held-out windows."""

    def __init__(self, model: VGAE | GAT, graphs: GraphTensors, lr: float, steps: int, seed: int):
        super().__init__()
        self.model = model
        self.graphs = graphs
        self.lr, self.steps, self.seed = lr, steps, seed

    def loss(self, index: Tensor, generator: torch.Generator | None) -> Tensor:
        """Loss of the windows ``index``."""
        raise NotImplementedError

    def on_fit_start(self) -> None:
        self.generator = torch.Generator(device=self.device).manual_seed(self.seed)

    def training_step(self, index: Tensor, batch_idx: int) -> Tensor:
        loss = self.loss(index, self.generator)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(index))
        return loss

    def on_validation_epoch_start(self) -> None:
        # The same noise in every epoch, so that epochs can be compared.
        self.val_generator = torch.Generator(device=self.device).manual_seed(self.seed + 1)

    def validation_step(self, index: Tensor, batch_idx: int) -> None:
        loss = self.held_out_loss(index)
        self.log("val_loss", loss, on_step=False, on_epoch=True, batch_size=len(index))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.lr, total_steps=max(self.steps, 2)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def held_out_loss(self, index: Tensor) -> Tensor:
        """Loss by which epochs are compared."""
        return self.loss(index, self.val_generator)


class VGAEModule(DetectorModule):
    """Trains a VGAE on clean windows."""

    model: VGAE

    def loss(self, index: Tensor, generator: torch.Generator | None) -> Tensor:
        assert generator is not None
        return self.model.loss(self.graphs.gather(index), generator)


class GATModule(DetectorModule):
    """Trains a GAT on labelled windows; the rarer class weighs more."""

    model: GAT

    def __init__(self, *args: Any, attack_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.attack_weight = torch.tensor(attack_weight)

    def loss(self, index: Tensor, generator: torch.Generator | None) -> Tensor:
        batch = self.graphs.gather(index)
        return self._cross_entropy(self.model(batch), batch.y)

    def held_out_loss(self, index: Tensor) -> Tensor:
        batch = self.graphs.gather(index)
        return self._cross_entropy(self.model(batch).clamp(-SURE, SURE), batch.y)

    def _cross_entropy(self, log_odds: Tensor, label: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(
            log_odds, label, pos_weight=self.attack_weight.to(label.device)
        )


class KeepEpochs(Callback):
    """Reports every epoch, and keeps weights and held-out loss of each."""

    def __init__(self, course: Course[Any], step: str, epochs: int, reporter: Reporter) -> None:
        self.course, self.step, self.epochs, self.reporter = course, step, epochs, reporter

    def on_train_batch_start(self, *args: Any) -> None:
        self.reporter.check()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch = trainer.current_epoch
        self.reporter.metrics(self.step, {"epoch": epoch, **values})
        self.reporter.progress(
            self.step, (epoch + 1) / self.epochs, f"epoch {epoch + 1} of {self.epochs}"
        )
        assert isinstance(module, DetectorModule)
        self.course.states.append(copy.deepcopy(module.model.state_dict()))
        if "val_loss" in values:
            self.course.losses.append(values["val_loss"])


def fit_vgae(
    graphs: GraphTensors,
    train: npt.NDArray[np.int64],
    held_out: npt.NDArray[np.int64],
    config: DetectorConfig,
    reporter: Reporter,
    epochs: int | None = None,
    module_type: Callable[..., VGAEModule] = VGAEModule,
) -> Course[VGAE]:
    """Train a VGAE on the clean windows ``train``, judged after every epoch by ``held_out``.

    Args:
        held_out: clean windows of other captures; none: no epoch is judged.
        epochs: end after so many; by default, after all that the schedule has.
        module_type: what the loss is.
    """
    torch.manual_seed(config.seed)
    model = VGAE(config.vgae).to(graphs.y.device)
    model.learn_scale(_gathered(graphs, train))
    batches = _batches(graphs, train, config)
    module = module_type(
        model, graphs, config.vgae.lr, len(batches) * config.vgae.epochs, config.seed
    )
    course = Course(model)
    _fit(module, course, batches, held_out, epochs or config.vgae.epochs, reporter, "vgae")
    return course


def fit_gat(
    graphs: GraphTensors,
    train: npt.NDArray[np.int64],
    held_out: npt.NDArray[np.int64],
    config: DetectorConfig,
    reporter: Reporter,
    epochs: int | None = None,
    anomaly: npt.NDArray[np.float64] | None = None,
    module_type: Callable[..., GATModule] = GATModule,
) -> Course[GAT]:
    """Train a GAT on the labelled windows ``train``, which must hold both classes.

    Args:
        held_out: windows of other captures by which each epoch is judged.
        epochs: as for :func:`fit_vgae`.
        anomaly: ``[len(train)]`` how anomalous a VGAE finds the windows: clean ones that it finds
            hard are drawn more often.
        module_type: as for :func:`fit_vgae`.
    """
    torch.manual_seed(config.seed)
    model = GAT(config.gat).to(graphs.y.device)
    model.learn_scale(_gathered(graphs, train))
    attacked = (graphs.y[torch.from_numpy(train)] > 0).cpu().numpy()
    clean, weight = train[~attacked], None
    if anomaly is not None and len(clean):
        found = anomaly[~attacked]
        hard = found >= np.quantile(found, 1 - HARD_SHARE)
        weight = np.where(hard, np.float32(HARD_WEIGHT), np.float32(1.0))
    batches = _batches(graphs, clean, config, train[attacked], weight)
    share = batches.rare_windows / batches.windows
    attack_weight = min((1 - share) / share, LARGEST_CLASS_WEIGHT)
    module = module_type(
        model,
        graphs,
        config.gat.lr,
        len(batches) * config.gat.epochs,
        config.seed,
        attack_weight=attack_weight,
    )
    course = Course(model)
    _fit(module, course, batches, held_out, epochs or config.gat.epochs, reporter, "gat")
    return course


def _batches(
    graphs: GraphTensors,
    index: npt.NDArray[np.int64],
    config: DetectorConfig,
    rare: npt.NDArray[np.int64] | None = None,
    weight: npt.NDArray[np.float32] | None = None,
) -> WindowBatches:
    device = graphs.y.device
    return WindowBatches(
        torch.from_numpy(index).to(device),
        config.batch_size,
        config.seed,
        config.windows_per_epoch,
        None if rare is None else torch.from_numpy(rare).to(device),
        None if weight is None else torch.from_numpy(weight).to(device),
    )


def _fit(
    module: DetectorModule,
    course: Course[Any],
    batches: WindowBatches,
    held_out: npt.NDArray[np.int64],
    epochs: int,
    reporter: Reporter,
    step: str,
) -> None:
    """Train the course's model."""
    device = module.graphs.y.device
    # Evenly over all that is held out.
    chosen = held_out[:: max(1, -(-len(held_out) // HELD_OUT_WINDOWS))]
    judged = WindowBatches(torch.from_numpy(chosen).to(device), HELD_OUT_WINDOWS)
    with undisturbed():
        trainer = L.Trainer(
            max_epochs=epochs,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            plugins=[LightningEnvironment()],
            gradient_clip_val=5.0,
            callbacks=[KeepEpochs(course, step, epochs, reporter)],
            limit_val_batches=1.0 if len(chosen) else 0,
        )
        trainer.fit(module, batches, judged)
    course.model.to(device).eval()


def _gathered(graphs: GraphTensors, index: npt.NDArray[np.int64]) -> Batch:
    return graphs.gather(torch.from_numpy(index).to(graphs.y.device))
