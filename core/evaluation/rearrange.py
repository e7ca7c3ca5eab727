"""A data set's captures dealt out anew: a vehicle, or an attack, that training has never seen.

For development. What is left out is only tested on; everything else of the data set, from whatever
folder, is trained on.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from core.captures.dataset import TEST, TRAIN, Dataset
from core.errors import DatasetError
from core.graphs.vehicles import Traffic, vehicles


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
