"""Does traffic that a profile is to be learnt from look as if it were under attack?

Without labels, and only by what no mode of driving brings about: an id that sends far more often
than it used to, or than anything on a bus does; a flood of ids that do not come back; and, where
the vehicle is known, ids that it does not have. Payloads are not looked at: a start in which an
attack leaves ids and timing as they are is not noticed.
"""

import numpy as np
import numpy.typing as npt

from core.graphs.build import TIME_FLOOR
from core.graphs.reference import COMPARED, VehicleProfile
from core.graphs.store import NODE_FEATURES, GraphStore

ADDED_SHARE = 0.05
"""Share of a window's frames by which an id exceeds its habit from which on it is suspicious.

At most .035 in clean windows of the captures at hand, .1 to .5 in flooded and injected ones.
"""
ADDED_FRAMES = 5
"""In a short window that share would be a frame or two: so many it must be."""
ALWAYS = 0.9
"""Share of windows from which an id is always there. Others come in bursts, as they should."""
FAST_INTERVAL = 0.01
"""Seconds between frames of one id below which added frames count: an ECU that goes from one mode
to another sends more often too, but seldom as often as that."""
FLOOD_INTERVAL = 0.004
"""Seconds between frames of one id that no ECU falls below for a whole window."""
FLOOD_RATIO = 2.0
"""And its frames in the window, compared with those of the next most frequent id."""
STRAY_SHARE = 0.1
"""Share of a window's frames with stray (or foreign) ids from which on it is suspicious."""
FEW = 0.025
"""Share of the windows: ids seen in no more are stray, and so many odd windows may be chance.

An id that the vehicle begins to send at the end of the stretch is in no more windows than that.
"""
FEW_WINDOWS = 5
"""And no less than so many odd windows may be chance."""

_SHARE = NODE_FEATURES.index("frame_share")
_INTERVAL = NODE_FEATURES.index("interval_log")


def odd_windows(store: GraphStore, profile: VehicleProfile | None = None) -> npt.NDArray[np.bool_]:
    """``[G]`` windows that differ from the rest, or from the vehicle's profile, as under attack.

    Args:
        store: the stretch in question; labels are never looked at.
        profile: of the same vehicle, from other traffic.
    """
    ids, code = np.unique(store.node_id, return_inverse=True)
    window = np.repeat(np.arange(len(store)), np.diff(store.node_ptr))
    starts = store.node_ptr[:-1]
    share = store.x[:, _SHARE].astype(np.float64)
    # The rarest transition of a window occurs once.
    frames = 1 + 1 / np.minimum.reduceat(store.edge_attr[:, 0], store.edge_ptr[:-1])
    interval = 10.0 ** store.x[:, _INTERVAL].astype(np.float64)
    usual = np.array([np.quantile(i, 0.75) for i in _by_code(interval, code, len(ids))])[code]
    foreign = np.zeros(len(share), bool)
    if profile is not None:
        slot = np.minimum(np.searchsorted(profile.ids, store.node_id), len(profile.ids) - 1)
        foreign = profile.ids[slot] != store.node_id
        known = 10.0 ** profile.mean[slot, list(COMPARED).index("interval_log")]
        usual = np.where(foreign, usual, np.maximum(usual, known))
    # Of n frames, n * interval / usual would have been expected in the same time.
    # A node is an id in a window: counting nodes counts windows.
    seen = np.bincount(code, minlength=len(ids))[code]
    counts = (interval <= FAST_INTERVAL) & (seen >= ALWAYS * len(store))
    added = np.maximum.reduceat(share * (1 - interval / usual) * counts, starts)
    odd = (added >= ADDED_SHARE) & (added * frames >= ADDED_FRAMES)

    most = np.maximum.reduceat(share, starts)
    next_most = np.maximum.reduceat(np.where(share == most[window], 0.0, share), starts)
    # Without times of its own, a capture has no intervals.
    fast = (interval <= FLOOD_INTERVAL) & (interval > 2 * TIME_FLOOR)
    alone = (most >= FLOOD_RATIO * next_most) & (most * frames >= 2 * ADDED_FRAMES)
    odd |= np.logical_or.reduceat(fast & (share == most[window]), starts) & alone

    for strange in (seen <= max(1.0, FEW * len(store)), foreign):
        stray = np.add.reduceat(share * strange, starts)
        odd |= (stray >= STRAY_SHARE) & (stray * frames >= ADDED_FRAMES)
    return odd


def is_contaminated(odd: npt.NDArray[np.bool_]) -> bool:
    """Whether more windows are odd than may be chance."""
    return int(odd.sum()) > max(FEW_WINDOWS, FEW * len(odd))


def _by_code(
    value: npt.NDArray[np.float64], code: npt.NDArray[np.int64], codes: int
) -> list[npt.NDArray[np.float64]]:
    order = np.argsort(code, kind="stable")
    return np.split(value[order], np.cumsum(np.bincount(code, minlength=codes))[:-1])
