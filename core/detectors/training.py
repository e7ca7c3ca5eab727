"""Training of both detectors with Lightning."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch_geometric.data import Batch

from core.config import DetectorConfig, GATConfig, VGAEConfig
from core.detectors.gat import GAT
from core.detectors.scoring import calibrate, error_components
from core.detectors.vgae import VGAE
from core.graphs.tensors import GraphTensors
from core.progress import Reporter
from core.undisturbed import undisturbed

LARGEST_CLASS_WEIGHT = 20.0


class WindowBatches:
    """Index batches over chosen windows; with a seed, drawn and shuffled anew in every epoch.

    Where there are more windows than the limit, those in ``rare`` fill up to half of an epoch: a
    few attacked windows among many clean ones would else hardly ever be seen.
    """

    def __init__(
        self,
        index: Tensor,
        batch_size: int,
        seed: int | None = None,
        limit: int | None = None,
        rare: Tensor | None = None,
    ) -> None:
        self.rare = index[:0] if rare is None else rare
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
        rest = self.index[self._order(len(self.index))][: self.windows - self.rare_windows]
        drawn = torch.cat([rare, rest])
        return iter(drawn[self._order(len(drawn))].split(self.batch_size))

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
        loss = self.loss(index, self.val_generator)
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
        return nn.functional.binary_cross_entropy_with_logits(
            self.model(batch), batch.y, pos_weight=self.attack_weight.to(batch.y.device)
        )


class KeepBest(Callback):
    """Reports every epoch and keeps the weights of the one with the lowest held-out loss."""

    def __init__(self, step: str, epochs: int, reporter: Reporter) -> None:
        self.step, self.epochs, self.reporter = step, epochs, reporter
        self.best: float = float("inf")
        self.state: dict[str, Tensor] = {}

    def on_train_batch_start(self, *args: Any) -> None:
        self.reporter.check()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch = trainer.current_epoch
        self.reporter.metrics(self.step, {"epoch": epoch, **values})
        self.reporter.progress(
            self.step, (epoch + 1) / self.epochs, f"epoch {epoch + 1} of {self.epochs}"
        )
        if values["val_loss"] < self.best:
            self.best = values["val_loss"]
            assert isinstance(module, DetectorModule)
            self.state = copy.deepcopy(module.model.state_dict())


def hold_out(
    capture: npt.NDArray[np.int64], label: npt.NDArray[np.uint8], fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """``[G]`` True for windows held out: whole stretches of time, a share of every class.

    Neighbouring windows look alike, so single windows picked at random would not be held out at
    all. Each run of one capture with one label is cut in pieces and some of them are taken.
    """
    change = np.flatnonzero((np.diff(capture) != 0) | (np.diff(label.astype(np.int64)) != 0)) + 1
    run = np.zeros(len(label), np.int64)
    run[change] = 1
    run = np.cumsum(run)
    within = np.arange(len(label)) - np.concatenate([[0], change])[run]
    piece = np.unique(np.stack([run, within // 25]), axis=1, return_inverse=True)[1].ravel()
    rng = np.random.default_rng(seed)
    held = np.zeros(len(label), bool)
    for value in np.unique(label):
        pieces = np.unique(piece[label == value])
        if len(pieces) > 1:
            taken = min(max(1, round(fraction * len(pieces))), len(pieces) - 1)
            chosen = rng.permutation(pieces)[:taken]
            held |= np.isin(piece, chosen)
    return held


def fit_vgae(
    graphs: GraphTensors,
    train: npt.NDArray[np.int64],
    validation: npt.NDArray[np.int64],
    config: DetectorConfig,
    reporter: Reporter,
    step: str = "vgae",
) -> VGAE:
    """Train a VGAE on the clean windows ``train`` and calibrate it on all clean windows given."""
    torch.manual_seed(config.seed)
    model = VGAE(config.vgae).to(graphs.y.device)
    model.learn_scale(_gathered(graphs, train))
    batches = _batches(graphs, train, config)
    _fit(VGAEModule, model, graphs, batches, validation, config, config.vgae, reporter, step)
    clean = np.sort(np.concatenate([train, validation]))
    calibrate(model, error_components(model, graphs)[clean])
    return model


def fit_gat(
    graphs: GraphTensors,
    train: npt.NDArray[np.int64],
    validation: npt.NDArray[np.int64],
    config: DetectorConfig,
    reporter: Reporter,
    step: str = "gat",
) -> GAT:
    """Train a GAT on the labelled windows ``train``, which must hold both classes."""
    torch.manual_seed(config.seed)
    model = GAT(config.gat).to(graphs.y.device)
    model.learn_scale(_gathered(graphs, train))
    attacked = (graphs.y[torch.from_numpy(train)] > 0).cpu().numpy()
    batches = _batches(graphs, train[~attacked], config, rare=train[attacked])
    share = batches.rare_windows / batches.windows
    weight = min((1 - share) / share, LARGEST_CLASS_WEIGHT)
    module = partial(GATModule, attack_weight=weight)
    _fit(module, model, graphs, batches, validation, config, config.gat, reporter, step)
    return model


def _batches(
    graphs: GraphTensors,
    index: npt.NDArray[np.int64],
    config: DetectorConfig,
    rare: npt.NDArray[np.int64] | None = None,
) -> WindowBatches:
    device = graphs.y.device
    return WindowBatches(
        torch.from_numpy(index).to(device),
        config.batch_size,
        config.seed,
        config.windows_per_epoch,
        None if rare is None else torch.from_numpy(rare).to(device),
    )


def _fit(
    module_type: Callable[..., DetectorModule],
    model: VGAE | GAT,
    graphs: GraphTensors,
    batches: WindowBatches,
    validation: npt.NDArray[np.int64],
    config: DetectorConfig,
    settings: VGAEConfig | GATConfig,
    reporter: Reporter,
    step: str,
) -> None:
    """Train ``model`` in place; it ends with the weights of its best epoch."""
    device = graphs.y.device
    everything = torch.cat([batches.rare, batches.index])
    held = torch.from_numpy(validation).to(device) if len(validation) else everything
    steps = len(batches) * settings.epochs
    module = module_type(model, graphs, settings.lr, steps, config.seed)
    keep = KeepBest(step, settings.epochs, reporter)
    with undisturbed():
        trainer = L.Trainer(
            max_epochs=settings.epochs,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            plugins=[LightningEnvironment()],
            gradient_clip_val=5.0,
            callbacks=[keep],
        )
        trainer.fit(module, batches, WindowBatches(held, 2048))
    model.load_state_dict(keep.state)
    model.to(device).eval()


def _gathered(graphs: GraphTensors, index: npt.NDArray[np.int64]) -> Batch:
    return graphs.gather(torch.from_numpy(index).to(graphs.y.device))
