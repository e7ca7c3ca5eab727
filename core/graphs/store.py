"""All windows of a capture as graphs, in a handful of flat arrays."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import CacheError
from core.files import atomic_path

NODE_FEATURES = (
    "frame_share",
    "interval_log",
    "interval_variation",
    "interval_min_log",
    "gap_variation",
    "changed_bits",
    "changed_bits_spread",
    "all_zero",
    "byte_mean",
    "length",
    "novel_bytes",
    "seen_once",
    "first_seen",
    "successors",
    "predecessors",
)
EDGE_FEATURES = ("frame_share", "delay_log")
WINDOW_FEATURES = (
    "ids",
    "id_entropy",
    "duration_log",
    "transitions",
    "transition_max",
    "byte_mean",
    "length",
    "novel_bytes",
)


@dataclass(frozen=True)
class GraphStore:
    """``G`` windows with ``N`` nodes and ``E`` edges in all, in compressed-row form.

    Nodes are the arbitration ids of a window, directed edges its consecutive frames. The nodes of
    window ``g`` are rows ``node_ptr[g]`` to ``node_ptr[g + 1]``, its edges likewise.
    """

    node_ptr: npt.NDArray[np.int64]
    """``[G + 1]``"""
    edge_ptr: npt.NDArray[np.int64]
    """``[G + 1]``"""
    x: npt.NDArray[np.float32]
    """``[N, len(NODE_FEATURES)]``"""
    node_id: npt.NDArray[np.int64]
    """``[N]`` arbitration id; bit 31 is set on 29-bit ones."""
    edge_index: npt.NDArray[np.int32]
    """``[2, E]`` source and target, counted from the first node of the window."""
    edge_attr: npt.NDArray[np.float32]
    """``[E, len(EDGE_FEATURES)]``"""
    window_attr: npt.NDArray[np.float32]
    """``[G, len(WINDOW_FEATURES)]``"""
    y: npt.NDArray[np.uint8]
    """``[G]`` 1 where any frame of the window was attacked."""
    attack: npt.NDArray[np.int16]
    """``[G]`` index into ``attack_names`` of the most frequent attack; -1 where none."""
    start_time: npt.NDArray[np.float64]
    """``[G]`` seconds"""
    end_time: npt.NDArray[np.float64]
    """``[G]`` seconds"""
    first_frame: npt.NDArray[np.int64]
    """``[G]`` index of the first frame in the capture."""
    attack_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    def save(self, folder: Path) -> None:
        """Write one ``.npy`` per array, atomically, so that :meth:`load` can map them."""
        arrays = _arrays(self)
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            for name, array in arrays.items():
                np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            meta = {
                "attack_names": self.attack_names,
                "shapes": {n: list(a.shape) for n, a in arrays.items()},
            }
            (temporary / "meta.json").write_text(json.dumps(meta), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "GraphStore":
        """Map a saved store into memory; nothing is read before it is used.

        Raises:
            CacheError: if the folder holds no store, or a damaged one.
        """
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in _array_names()
            }
            if any(list(a.shape) != meta["shapes"][n] for n, a in arrays.items()):
                raise CacheError(f"{folder}: the graph store's arrays do not fit together")
            return cls(**arrays, attack_names=tuple(meta["attack_names"]))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise CacheError(f"{folder}: not a graph store, or a damaged one ({error})") from error


def ragged_rows(
    pointer: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Flat indices of the members of ``rows`` in a compressed-row array, and how many each has.

    >>> ragged_rows(np.array([0, 2, 5]), np.array([1, 0]))
    (array([2, 3, 4, 0, 1]), array([3, 2]))
    """
    counts = pointer[rows + 1] - pointer[rows]
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    flat = np.arange(total) + np.repeat(pointer[rows] - (ends - counts), counts)
    return flat, counts


def _array_names() -> list[str]:
    return [f.name for f in dataclasses.fields(GraphStore) if f.name != "attack_names"]


def _arrays(store: GraphStore) -> dict[str, npt.NDArray[Any]]:
    return {name: getattr(store, name) for name in _array_names()}
