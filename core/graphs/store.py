"""All windows of a capture as graphs, in a handful of flat arrays."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

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

_AXIS = {"edge_index": 1}
"""Arrays that grow along another axis than the first."""
_TOLD = ("attack_names", "warnings")
"""Fields that are no arrays."""


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
    """``[G]`` 1 where enough frames of the window were attacked (by default, one)."""
    attacked_share: npt.NDArray[np.float32]
    """``[G]`` share of the window's frames that were attacked."""
    attack: npt.NDArray[np.int16]
    """``[G]`` index into ``attack_names`` of the most frequent attack; -1 where ``y`` is 0, or the
    attack has no name."""
    start_time: npt.NDArray[np.float64]
    """``[G]`` seconds"""
    end_time: npt.NDArray[np.float64]
    """``[G]`` seconds"""
    first_frame: npt.NDArray[np.int64]
    """``[G]`` index of the first frame in the capture."""
    attack_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What the reader said of the capture: lines skipped, times that go backwards, ..."""

    def __len__(self) -> int:
        return len(self.y)

    def save(self, folder: Path) -> None:
        """Write one ``.npy`` per array, atomically, so that :meth:`load` can map them."""
        arrays = _arrays(self)
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            for name, array in arrays.items():
                np.save(temporary / f"{name}.npy", array, allow_pickle=False)
            shapes = {name: list(array.shape) for name, array in arrays.items()}
            _write_meta(temporary, self.attack_names, self.warnings, shapes)

    @classmethod
    def join(cls, parts: Sequence["GraphStore"]) -> "GraphStore":
        """The windows of parts of one capture, one after another; one part at least."""
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=_AXIS.get(name, 0))
            for name in _array_names()
            if not name.endswith("_ptr")
        }
        for name in ("node_ptr", "edge_ptr"):
            counts = [np.diff(getattr(part, name)) for part in parts]
            arrays[name] = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        last = parts[-1]
        return cls(**arrays, attack_names=last.attack_names, warnings=last.warnings)

    def windows(self, first: int, last: int) -> "GraphStore":
        """Windows ``first`` to ``last`` (without it), as views of this store's arrays."""
        nodes = slice(int(self.node_ptr[first]), int(self.node_ptr[last]))
        edges = slice(int(self.edge_ptr[first]), int(self.edge_ptr[last]))
        return GraphStore(
            node_ptr=self.node_ptr[first : last + 1] - nodes.start,
            edge_ptr=self.edge_ptr[first : last + 1] - edges.start,
            x=self.x[nodes],
            node_id=self.node_id[nodes],
            edge_index=self.edge_index[:, edges],
            edge_attr=self.edge_attr[edges],
            window_attr=self.window_attr[first:last],
            y=self.y[first:last],
            attacked_share=self.attacked_share[first:last],
            attack=self.attack[first:last],
            start_time=self.start_time[first:last],
            end_time=self.end_time[first:last],
            first_frame=self.first_frame[first:last],
            attack_names=self.attack_names,
            warnings=self.warnings,
        )

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
            names, warnings = (tuple(meta[name]) for name in _TOLD)
            return cls(**arrays, attack_names=names, warnings=warnings)
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise CacheError(f"{folder}: not a graph store, or a damaged one ({error})") from error


class GraphStoreWriter:
    """Appends windows to a store on disk; see :func:`write_graph_store`."""

    def __init__(self, folder: Path) -> None:
        self.windows = 0
        """Windows written so far."""
        self.warnings: tuple[str, ...] = ()
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}
        self._rows: dict[str, int] = {}
        self._like: dict[str, npt.NDArray[Any]] = {}
        self._attack_names: tuple[str, ...] = ()

    def append(self, part: GraphStore) -> None:
        """Write more windows of the same capture."""
        for name, array in _arrays(part).items():
            rows = array
            if name.endswith("_ptr"):
                rows = array[1:] + (self._rows[name[:-4]] if self.windows else 0)
                rows = np.append(0, rows) if not self.windows else rows
            self._write(name, rows.T if name in _AXIS else rows)
        self._rows["node"] = self._rows["x"]
        self._rows["edge"] = self._rows["edge_attr"]
        self.windows += len(part)
        self._attack_names = part.attack_names

    def finish(self) -> None:
        """Write what is known only at the end: the length of every array."""
        shapes = {}
        for name, file in self._files.items():
            start = file.tell()
            file.seek(0)
            shapes[name] = self._header(name)
            file.seek(start)
        _write_meta(self._folder, self._attack_names, self.warnings, shapes)

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()

    def _write(self, name: str, rows: npt.NDArray[Any]) -> None:
        if name not in self._files:
            self._files[name] = (self._folder / f"{name}.npy").open("wb")
            self._rows[name] = 0
            self._like[name] = rows[:0]
            self._header(name)
        self._files[name].write(np.ascontiguousarray(rows).data)
        self._rows[name] += len(rows)

    def _header(self, name: str) -> list[int]:
        """Write the ``.npy`` header; numpy leaves room in it for the longest possible length."""
        like = self._like[name]
        shape = (self._rows[name], *like.shape[1:])
        turned = name in _AXIS
        if turned:
            shape = shape[::-1]
        np.lib.format.write_array_header_1_0(
            self._files[name],
            {
                "descr": np.lib.format.dtype_to_descr(like.dtype),
                "fortran_order": turned,
                "shape": shape,
            },
        )
        return list(shape)


@contextmanager
def write_graph_store(folder: Path) -> Iterator[GraphStoreWriter]:
    """A store that is written part by part and takes ``folder``'s place when the block succeeds.

    Raises:
        StorageError: if the operating system refuses.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        writer = GraphStoreWriter(temporary)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()


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


def _write_meta(
    folder: Path,
    attack_names: Sequence[str],
    warnings: Sequence[str],
    shapes: dict[str, list[int]],
) -> None:
    meta = {"attack_names": attack_names, "warnings": warnings, "shapes": shapes}
    (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")


def _array_names() -> list[str]:
    return [f.name for f in dataclasses.fields(GraphStore) if f.name not in _TOLD]


def _arrays(store: GraphStore) -> dict[str, npt.NDArray[Any]]:
    return {name: getattr(store, name) for name in _array_names()}
