"""The final detectors and those of each fold, in memory and on disk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.detectors.checkpoint import load_gat, load_vgae, save_arrays, save_detector
from core.detectors.gat import GAT
from core.detectors.protocol import Detector, kinds_named, restored
from core.detectors.vgae import VGAE
from core.errors import CheckpointError
from core.files import atomic_path

FINAL = -1
"""Fold number of the detectors that were trained on all training captures."""


@dataclass(frozen=True)
class Detectors:
    """A VGAE and, where there was an attack to learn from, a GAT."""

    vgae: VGAE
    gat: GAT | None
    extra: Mapping[str, Detector] = field(default_factory=dict)
    """Further detectors by name."""


@dataclass(frozen=True)
class DetectorStack:
    """The final detectors and those of each fold."""

    final: Detectors
    folds: tuple[Detectors, ...] = ()

    def of(self, fold: int) -> Detectors:
        """Detectors of a fold, or the final ones for :data:`FINAL`."""
        return self.final if fold == FINAL else self.folds[fold]

    def save(self, folder: Path, fingerprint: dict[str, object]) -> None:
        """Write all detectors and what they were made from, atomically."""
        with atomic_path(folder) as temporary:
            classifiers = []
            for name, detectors in [("final", self.final)] + [
                (f"fold_{i}", d) for i, d in enumerate(self.folds)
            ]:
                save_detector(detectors.vgae, temporary / name / "vgae.safetensors")
                if detectors.gat is not None:
                    save_detector(detectors.gat, temporary / name / "gat.safetensors")
                    classifiers.append(name)
                for kind, further in detectors.extra.items():
                    save_arrays(kind, further.state(), temporary / name / f"{kind}.safetensors")
            about = {
                "folds": len(self.folds),
                "classifiers": classifiers,
                "extra": list(self.final.extra),
                "fingerprint": fingerprint,
            }
            (temporary / "detectors.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "DetectorStack":
        """Read a saved stack.

        Raises:
            CheckpointError: if a file is missing, damaged or of another shape.
        """
        try:
            about = json.loads((folder / "detectors.json").read_text(encoding="utf-8"))
            folds, classifiers = int(about["folds"]), list(about["classifiers"])
            kinds = kinds_named(about["extra"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: no trained detectors there ({error})") from error

        def read(name: str) -> Detectors:
            return Detectors(
                load_vgae(folder / name / "vgae.safetensors"),
                load_gat(folder / name / "gat.safetensors") if name in classifiers else None,
                {kind: restored(kind, folder / name / f"{kind}.safetensors") for kind in kinds},
            )

        return cls(read("final"), tuple(read(f"fold_{i}") for i in range(folds)))
