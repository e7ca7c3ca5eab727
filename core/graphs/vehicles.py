"""Which captures are of the same vehicle, by their ids."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

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
