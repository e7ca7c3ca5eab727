import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from core.config import WindowConfig
from core.errors import CacheError
from core.graphs.build import build_graphs
from core.graphs.reference import relate_to_past
from core.graphs.store import GraphStore, ragged_rows
from core.graphs.tensors import GraphTensors
from tests.core.graphs.captures import random_capture


@pytest.fixture
def store() -> GraphStore:
    return build_graphs(random_capture(500, 9, seed=2), WindowConfig(40, 25))


def test_saved_store_is_mapped_and_equal(store: GraphStore, tmp_path: Path) -> None:
    store.save(tmp_path / "graphs")
    loaded = GraphStore.load(tmp_path / "graphs")
    assert isinstance(loaded.x, np.memmap)
    assert loaded.attack_names == store.attack_names
    for name in json.loads((tmp_path / "graphs" / "meta.json").read_text())["shapes"]:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(store, name))


def test_saving_again_replaces_the_old_store(store: GraphStore, tmp_path: Path) -> None:
    store.save(tmp_path / "graphs")
    other = build_graphs(random_capture(200, 4, seed=5), WindowConfig(40, 40))
    other.save(tmp_path / "graphs")
    assert len(GraphStore.load(tmp_path / "graphs")) == len(other)
    assert [p.name for p in tmp_path.iterdir()] == ["graphs"]


@pytest.mark.parametrize("damage", ["truncate", "remove", "junk", "swap"])
def test_a_damaged_store_is_refused(store: GraphStore, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "graphs"
    store.save(folder)
    if damage == "truncate":
        content = (folder / "x.npy").read_bytes()
        (folder / "x.npy").write_bytes(content[: len(content) // 2])
    elif damage == "remove":
        (folder / "edge_ptr.npy").unlink()
    elif damage == "junk":
        (folder / "meta.json").write_bytes(b"\0\1")
    else:
        np.save(folder / "y.npy", np.zeros(3, np.uint8))
    with pytest.raises(CacheError, match="graph"):
        GraphStore.load(folder)


def test_ragged_rows_by_hand() -> None:
    flat, counts = ragged_rows(np.array([0, 2, 2, 5]), np.array([2, 1, 0]))
    assert flat.tolist() == [2, 3, 4, 0, 1]
    assert counts.tolist() == [3, 0, 2]


def test_gathered_batch_equals_pyg_collation(store: GraphStore) -> None:
    relative = relate_to_past(store)
    graphs = GraphTensors.join([(store, relative), (store, relative)])
    index = torch.tensor([len(store) + 3, 0, 7, 7])
    gathered = graphs.gather(index)
    singles = []
    for g in index % len(store):
        nodes = slice(int(store.node_ptr[g]), int(store.node_ptr[g + 1]))
        edges = slice(int(store.edge_ptr[g]), int(store.edge_ptr[g + 1]))
        singles.append(
            Data(
                x=torch.from_numpy(np.hstack([store.x[nodes], relative.x[nodes]])),
                edge_index=torch.from_numpy(store.edge_index[:, edges]).long(),
                edge_attr=torch.from_numpy(
                    np.hstack([store.edge_attr[edges], relative.edge_attr[edges]])
                ),
                y=torch.tensor([float(store.y[g])]),
            )
        )
    expected = Batch.from_data_list(singles)
    for name in ("x", "edge_index", "edge_attr", "batch", "ptr", "y"):
        torch.testing.assert_close(gathered[name], expected[name])
