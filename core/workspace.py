"""The one folder that everything is written to, and what lies where in it."""

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from core.errors import DatasetError


@dataclass(frozen=True)
class Workspace:
    """Paths below one root folder. Nothing is created until something is written."""

    root: Path

    @classmethod
    def default(cls) -> "Workspace":
        """The folder named by ``CANFUSION_WORKSPACE``, else ``workspace/`` where we stand."""
        return cls(Path(os.environ.get("CANFUSION_WORKSPACE") or "workspace").absolute())

    @property
    def datasets(self) -> Path:
        """Data sets: ``datasets/NAME/<split>/<capture>``."""
        return self.root / "datasets"

    @property
    def outside(self) -> Path:
        """JSON file: name -> folder of each data set that lies elsewhere."""
        return self.root / "outside.json"

    @property
    def catalogue(self) -> Path:
        """What is in each capture, as small JSON files."""
        return self.root / "catalogue"

    @property
    def graphs(self) -> Path:
        """Graph stores, one folder per capture content and window settings."""
        return self.root / "graphs"

    @property
    def profiles(self) -> Path:
        """What is normal on the vehicles of data sets, ``profiles/<name>.safetensors``."""
        return self.root / "profiles"

    @property
    def runs(self) -> Path:
        """One folder per run: manifest, events, results."""
        return self.root / "runs"

    @property
    def saved_models(self) -> Path:
        """Detectors, fusion agents and policies."""
        return self.root / "saved_models"

    @property
    def logs(self) -> Path:
        """CSV and TensorBoard logs, ``logs/fusion_<dataset>/version_N``."""
        return self.root / "logs"

    def detectors(self, dataset: str, protocol: str) -> Path:
        """Folder of a data set's detectors."""
        return self.saved_models / "detectors" / f"{dataset}_{protocol}"

    def prediction_cache(self, dataset: str, protocol: str) -> Path:
        """Arrow file with both detectors' scores of every window of a data set."""
        return self.root / "cache" / "fusion" / f"{dataset}_{protocol}.arrow"

    def checkpoints(self, dataset: str) -> Path:
        """Folder of a data set's Lightning checkpoints."""
        return self.saved_models / "fusion_checkpoints" / dataset

    def agent(self, dataset: str) -> Path:
        """Weights and configuration of a data set's fusion agent."""
        return self.saved_models / f"fusion_agent_{dataset}.pth"

    def policy(self, dataset: str) -> Path:
        """Alpha on a grid over (anomaly score, GAT probability)."""
        return self.saved_models / f"fusion_policy_{dataset}.npy"


def valid_name(name: str, what: str = "data set") -> str:
    """Return ``name`` if it can be a file name everywhere and cannot leave its folder.

    Raises:
        DatasetError: if it is empty, too long, hidden, or holds a separator or an invisible
            character.
    """
    if (
        not name.strip()
        or any(c in '/\\:*?"<>|' or _is_invisible(c) for c in name)
        or len(name.encode()) > 200
        or name != name.strip()
        or name.startswith(".")
    ):
        raise DatasetError(
            f"not a {what} name: {name!r}; expected 1 to 200 bytes without a dot before or blanks "
            'around them, invisible characters, and any of / \\ : * ? " < > |'
        )
    return name


def typed_name(text: str) -> str:
    """The data set name that a person means by ``text``.

    Blanks around it do not count, and both ways to write an umlaut are one.

    Raises:
        DatasetError: as :func:`valid_name`.
    """
    return valid_name(unicodedata.normalize("NFC", text.strip()))


def _is_invisible(character: str) -> bool:
    """Controls, halves of characters, line breaks, and marks that turn the direction of text.

    The joiners stay: Persian, Indian scripts and emoji are written with them.
    """
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cs", "Zl", "Zp") or (kind == "Cf" and character not in "\u200c\u200d")
