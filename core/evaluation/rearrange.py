"""A data set's captures dealt out anew: a vehicle, or an attack, that training has never seen.

For development. What is left out is only tested on; everything else of the data set, from whatever
folder, is trained on.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

from core.captures.dataset import TEST, TRAIN, Dataset
from core.errors import DatasetError
from core.graphs.store import GraphStore

REGULAR_SHARE = 0.05
"""Share of windows from which an id is the vehicle's own; random ids of an attack are in fewer."""
SAME_VEHICLE = 0.9
"""Share of the regular ids of one capture (the one with fewer) that the other one has too.

Two models of one maker share a good part of their ids: .77 between the two of hcrl_sa. A vehicle
with the ignition on accessory sends fewer ids than when it drives, but no others.
"""


@dataclass(frozen=True)
class Traffic:
    """What decides where a capture goes."""

    ids: npt.NDArray[np.int64]
    """Ids seen in at least :data:`REGULAR_SHARE` of the windows."""
    attacks: tuple[str, ...]
    """Names of the attacks in it; an attack without a name is the empty string."""

    @classmethod
    def of(cls, store: GraphStore) -> "Traffic":
        # An id is one node of a window, so that counting nodes counts windows.
        ids, windows = np.unique(store.node_id, return_counts=True)
        attacks = np.unique(store.attack[store.y == 1])
        names = ("" if code < 0 else store.attack_names[code] for code in attacks)
        return cls(ids[windows >= REGULAR_SHARE * len(store)], tuple(names))


def vehicles(traffic: Mapping[str, Traffic]) -> dict[str, int]:
    """Number, from 1, of the vehicle that each capture is of, by its regular ids."""
    ids = [set(found.ids.tolist()) for found in traffic.values()]
    same = [[len(a & b) >= SAME_VEHICLE * max(1, min(len(a), len(b))) for b in ids] for a in ids]
    _, group = connected_components(np.array(same, bool).reshape(len(ids), len(ids)))
    numbers = {code: number for number, code in enumerate(dict.fromkeys(group.tolist()), 1)}
    return {key: numbers[code] for key, code in zip(traffic, group.tolist(), strict=True)}


def leave_one_vehicle_out(dataset: Dataset, traffic: Mapping[str, Traffic]) -> dict[str, Dataset]:
    """Vehicle -> the data set with all captures of it, and no others, to be tested on.

    Captures that ``traffic`` does not know are left out.

    Raises:
        DatasetError: if all captures are of one vehicle.
    """
    number = vehicles(traffic)
    names = sorted(set(number.values()))
    if len(names) < 2:
        raise DatasetError(
            f"{dataset.name}: leaving one vehicle out needs captures of at least two; "
            f"the ids of all {len(number)} captures are those of one"
        )
    return {
        f"vehicle {name}": _without(
            dataset, f"vehicle {name}", traffic, {k for k, n in number.items() if n == name}
        )
        for name in names
    }


def leave_one_attack_out(dataset: Dataset, traffic: Mapping[str, Traffic]) -> dict[str, Dataset]:
    """Attack -> the data set with all captures that hold it, and no others, to be tested on.

    Captures that ``traffic`` does not know are left out.

    Raises:
        DatasetError: if there are not two attacks.
    """
    names = sorted({name for found in traffic.values() for name in found.attacks})
    if len(names) < 2:
        raise DatasetError(
            f"{dataset.name}: leaving one attack out needs at least two of them; "
            f"got {', '.join(names) or 'none'}"
        )
    return {
        name or "unnamed": _without(
            dataset,
            name or "unnamed",
            traffic,
            {k for k, t in traffic.items() if name in t.attacks},
        )
        for name in names
    }


ARRANGEMENTS: dict[str, Callable[[Dataset, Mapping[str, Traffic]], dict[str, Dataset]]] = {
    "given": lambda dataset, traffic: {"": dataset},
    "leave-one-vehicle-out": leave_one_vehicle_out,
    "leave-one-attack-out": leave_one_attack_out,
}
"""Name -> what is left out -> data set; ``given`` leaves it as its folders are."""


def _without(
    dataset: Dataset, what: str, known: Collection[str], tested: Collection[str]
) -> Dataset:
    """Captures move to folders of their old name with another beginning: none collides."""
    captures = tuple(
        replace(c, split=(TEST if c.key in tested else TRAIN) + c.split)
        for c in dataset.captures
        if c.key in known
    )
    what = re.sub(r"[^\w.-]+", "-", what)[:60]
    name = f"{dataset.name}-without-{what}"
    return replace(dataset, name=name, captures=captures, warnings=())
