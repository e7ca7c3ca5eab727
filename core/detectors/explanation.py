r"""Why a window was flagged: which ids it was, and what about them.

Every id of a window is charged with what is unlikely about it, in nats, and each of three sources
adds to that:

- ``profile``: half the squared departure of its behaviour from its own habit on the vehicle;
  besides, for an id never seen there, and for one that is always there but now missing,
  :math:`-\log` of the probability of that (rule of succession);
- ``vgae``: the squared error with which the VGAE reconstructs the id's features and its
  transitions, as it stands in the VGAE's loss;
- ``gat``: by how much the id's features raise the GAT's log-odds of an attack above those of a
  window in which every id behaves as usual (integrated gradients,
  https://arxiv.org/abs/1703.01365).

An id's own anomaly score says, between 0 and 1, how much profile and VGAE hold against it; at 0.5
what it does is, by that, as unlikely as one in a thousand.

Some ids are always badly reconstructed. So the first two count only where they exceed what is
usual for that id by three standard deviations, over windows of the profile or, where there is
none, windows before the one in question. Labels are never looked at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.utils import scatter

from core.detectors.capture_scores import Scores, score_capture
from core.detectors.gat import GAT
from core.detectors.graph_model import CLIP
from core.detectors.prepare import PreparedCapture
from core.detectors.stack import Detectors
from core.detectors.vgae import VGAE
from core.errors import ConfigError
from core.graphs.reference import COMPARED, RELATIVE_NODE_FEATURES, Relative
from core.graphs.store import NODE_FEATURES, WINDOW_FEATURES, GraphStore, ragged_rows
from core.graphs.tensors import GraphTensors

SOURCES = ("profile", "vgae", "gat")
FEATURES = (*NODE_FEATURES, *RELATIVE_NODE_FEATURES, "transitions", "absence")
"""What an id can be charged with: the detectors' node features, then what is no node's feature."""

REASONS = {
    "novelty": ("id never seen on this vehicle", "id seldom seen on this vehicle"),
    "rate": ("sends more often than usual", "sends less often than usual"),
    "interval": ("longer time between frames than usual", "shorter time between frames than usual"),
    "burst": ("closest frames further apart than usual", "frames in closer succession than usual"),
    "regularity": ("sends less regularly than usual", "sends more regularly than usual"),
    "change": ("payload changes more than usual", "payload changes less than usual"),
    "evenness": (
        "payload changes less evenly than usual",
        "payload changes more evenly than usual",
    ),
    "zero": ("payload all zero more often than usual", "payload all zero less often than usual"),
    "value": ("higher payload values than usual", "lower payload values than usual"),
    "length": ("longer payload than usual", "shorter payload than usual"),
    "new bytes": ("payload bytes never seen before", "fewer new payload bytes than usual"),
    "neighbours": ("more different neighbours than usual", "fewer different neighbours than usual"),
    "transitions": ("unusual order of frames around it", "unusual order of frames around it"),
    "absence": ("expected, but missing", "expected, but missing"),
}
"""Reason -> in words, where the feature is above and where it is below what is usual."""

_REASON_OF = {
    "frame_share": "rate",
    "interval_log": "interval",
    "interval_variation": "regularity",
    "interval_min_log": "burst",
    "gap_variation": "regularity",
    "changed_bits": "change",
    "changed_bits_spread": "evenness",
    "all_zero": "zero",
    "byte_mean": "value",
    "length": "length",
    "novel_bytes": "new bytes",
    "seen_once": "rate",
    "first_seen": "novelty",
    "successors": "neighbours",
    "predecessors": "neighbours",
    "unseen": "novelty",
    "presence": "novelty",
    "experience": "novelty",
    "transitions": "transitions",
    "absence": "absence",
}
_SEEN_ONCE = FEATURES.index("seen_once")
_UNSEEN = FEATURES.index("unseen")
_SHARE = FEATURES.index("frame_share")
_SHARE_SHIFT = FEATURES.index("frame_share_shift")
_SHIFTS = [FEATURES.index(f"{name}_shift") for name in COMPARED]
_ABSENCE = FEATURES.index("absence")
_NODE = slice(0, FEATURES.index("transitions"))
_NOVELTY = list(REASONS).index("novelty")
_REASON = np.array([list(REASONS).index(_REASON_OF[f.removesuffix("_shift")]) for f in FEATURES])

PROFILE, VGAE_ERROR, GAT_ODDS = range(len(SOURCES))
OBSERVED = 2
"""Row of the features themselves, where evidence of profile and VGAE is at hand, and no other."""
REFERENCE_WINDOWS = 200
"""Without a profile, so many windows before the one in question say what is usual."""
FEW_WINDOWS = 20
"""With fewer windows that no detector objects to, those it objects to count too."""
DEVIATIONS = 3.0
"""Standard deviations above an id's usual evidence from which on it counts."""
BORDER = float(np.log(1000))
"""Evidence of profile and VGAE, in nats, at which an id's own anomaly score is 0.5."""
PRIOR = 3.0
"""An id is taken for an average one until it was seen in more windows than this."""
STEPS = 8
"""Points on the way from usual to observed features at which the GAT's gradient is taken."""
NAMED = 0.1
"""Share of an id's contribution from which on a reason is put in words."""
BATCH = 256
"""Windows that a detector looks at at once."""
BLOCK = 500
"""Windows explained at once: a few hundred megabytes."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Explanation:
    """What each id has to do with the verdict on its window.

    ``R`` rows, one per window and id in question: by window, then from the largest contribution
    down. All ids of a window are there, and those that are missing from it.
    """

    window: Integers
    """``[R]`` index in the capture."""
    arbitration_id: Integers
    """``[R]``; bit 31 is set on 29-bit ones."""
    rank: Integers
    """``[R]`` from 1 on in every window."""
    present: npt.NDArray[np.bool_]
    """``[R]`` False for an id that was expected in the window, but is not there."""
    contribution: Floats
    """``[R]`` share of the evidence that speaks against the id; adds up to 1 in every window."""
    anomaly_score: Floats
    """``[R]`` in [0, 1], of the id by itself, whatever the other ids of the window do."""
    evidence: Floats
    """``[R, len(SOURCES), len(FEATURES)]`` in nats."""
    higher: npt.NDArray[np.bool_]
    """``[R, len(FEATURES)]`` whether the feature is above what is usual for the id."""

    @classmethod
    def join(cls, parts: Sequence["Explanation"]) -> "Explanation":
        """Explanations of different windows, one after another."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))

    def reasons(self) -> Floats:
        """``[R, len(REASONS)]`` share of each reason in the id's evidence (0 where it has none)."""
        per_feature = self.evidence.sum(1)
        share = per_feature / np.maximum(per_feature.sum(1, keepdims=True), 1e-300)
        return share @ _one_hot()

    def words(self, most: int = 3) -> npt.NDArray[np.str_]:
        """``[R]`` the leading reasons, at most so many, joined by semicolons."""
        share, rows = self.reasons(), np.arange(len(self.window))
        direction = np.where(self.higher, 1.0, -1.0) * self.evidence.sum(1)
        above = direction @ _one_hot() >= 0
        above[:, _NOVELTY] = self.higher[:, _UNSEEN]
        # For an id never seen, nothing is usual that the rest could be compared with.
        share[self.higher[:, _UNSEEN]] = np.eye(len(REASONS))[_NOVELTY]
        order = np.argsort(-share, axis=1, kind="stable")[:, :most]
        text = np.array(list(REASONS.values()))
        joined = np.full(len(rows), "", text.dtype)
        for reason in order.T:
            named = text[reason, np.where(above[rows, reason], 0, 1)]
            named = np.where(share[rows, reason] >= NAMED, named, "")
            comma = np.where((joined != "") & (named != ""), "; ", "")
            joined = np.strings.add(np.strings.add(joined, comma), named)
        return joined

    def table(self, ids: int | None = None) -> pd.DataFrame:
        """One line per row, of the ``ids`` first of every window.

        Columns ``window, rank, arbitration_id, present, anomaly_score, contribution``, the share of
        it that comes from each of :data:`SOURCES`, and ``reasons`` in words.
        """
        total = np.maximum(self.evidence.sum((1, 2)), 1e-300)
        part = self.evidence.sum(2) / total[:, None] * self.contribution[:, None]
        columns = {
            "window": self.window,
            "rank": self.rank,
            "arbitration_id": self.arbitration_id,
            "present": self.present,
            "anomaly_score": self.anomaly_score,
            "contribution": self.contribution,
            **dict(zip(SOURCES, part.T, strict=True)),
            "reasons": self.words().astype(object),
        }
        frame = pd.DataFrame(columns)
        return frame if ids is None else frame[self.rank <= ids].reset_index(drop=True)


def explain(
    detectors: Detectors,
    capture: PreparedCapture,
    windows: npt.ArrayLike,
    device: torch.device | str = "cpu",
    scores: Scores | None = None,
) -> Explanation:
    """Which ids of the given windows departed from what is usual, and how.

    Args:
        windows: indices of windows of the capture, in any order; each is explained once.
        scores: of the capture by the same detectors, where they are at hand.

    Raises:
        ConfigError: if the capture has no such window.
    """
    chosen = np.unique(np.asarray(windows, np.int64))
    device = torch.device(device)
    if len(chosen) and not 0 <= chosen[0] <= chosen[-1] < len(capture.store):
        raise ConfigError(
            f"{capture.key}: expected windows from 0 to {len(capture.store) - 1}, "
            f"got {chosen[0]} to {chosen[-1]}"
        )
    if scores is None and not len(capture.reference):
        scores = score_capture(detectors, capture, device)
    blocks = np.split(chosen, range(BLOCK, len(chosen), BLOCK))
    return Explanation.join([_explain(detectors, capture, b, device, scores) for b in blocks])


def _explain(
    detectors: Detectors,
    capture: PreparedCapture,
    chosen: Integers,
    device: torch.device,
    scores: Scores | None,
) -> Explanation:
    """:func:`explain` of windows in ascending order, all at once."""
    reference, first, last = _reference(capture, chosen, scores)
    nodes = _read(detectors.vgae.to(device), capture, np.union1d(chosen, reference), device)
    asked = nodes.take(np.isin(nodes.window, chosen))
    habit = _Habit(nodes.take(np.isin(nodes.window, reference)), reference)
    row, size = np.searchsorted(chosen, asked.window), _frames(capture, chosen)
    mean, spread = habit.of(asked.arbitration_id, first[row], last[row])
    features, usual = asked.value[:, OBSERVED], mean[:, OBSERVED]
    evidence = np.maximum(asked.value - mean - DEVIATIONS * spread, 0.0)
    evidence[:, GAT_ODDS] = 0.0
    unseen = np.flatnonzero(features[:, _UNSEEN])
    evidence[unseen, PROFILE, _UNSEEN] = np.log(((last - first) * size)[row[unseen]] + 2.0)
    evidence[unseen, PROFILE, _SHARE_SHIFT] = _departure(features[unseen, _SHARE])
    if detectors.gat is not None:
        gat = detectors.gat.to(device)
        evidence[:, GAT_ODDS, _NODE] = _attribute(gat, capture, chosen, usual[:, _NODE], device)
    higher = features >= usual
    higher[:, _UNSEEN] = features[:, _UNSEEN] > 0
    # One frame where there are usually more is fewer frames, not more.
    higher[:, _SEEN_ONCE] = ~higher[:, _SEEN_ONCE]

    window, missing, absence = _missing(asked, habit, chosen, size, first, last)
    more = np.zeros((len(window), *evidence.shape[1:]))
    more[:, PROFILE, _ABSENCE] = absence
    return _ranked(
        window=np.concatenate([asked.window, window]),
        arbitration_id=np.concatenate([asked.arbitration_id, missing]),
        present=np.arange(len(asked.window) + len(window)) < len(asked.window),
        evidence=np.concatenate([evidence, more]),
        higher=np.concatenate([higher, np.zeros((len(window), len(FEATURES)), bool)]),
    )


@dataclass(frozen=True)
class _Nodes:
    """Ids in windows: ``N`` rows by window, within each by id."""

    window: Integers
    arbitration_id: Integers
    value: Floats
    """``[N, 3, len(FEATURES)]`` evidence of profile and VGAE, before what is usual is taken off,
    and the features themselves."""

    @classmethod
    def join(cls, parts: Sequence["_Nodes"]) -> "_Nodes":
        nothing = np.empty(0, np.int64)
        parts = [cls(nothing, nothing, np.empty((0, 3, len(FEATURES)))), *parts]
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))

    def take(self, rows: npt.NDArray[np.bool_]) -> "_Nodes":
        return _Nodes(self.window[rows], self.arbitration_id[rows], self.value[rows])


class _Habit:
    """Mean and spread of each id's evidence and features over reference windows.

    Windows are counted by their place in ``reference`` here: ``first`` and ``last`` (without it)
    say, for each of ``Q`` rows, which of them count.
    """

    def __init__(self, nodes: _Nodes, reference: Integers) -> None:
        self.ids, code = np.unique(nodes.arbitration_id, return_inverse=True)
        place = np.searchsorted(reference, nodes.window)
        self._span = len(reference) + 1
        key = code * self._span + place
        order = np.argsort(key)
        self._key, self._place = key[order], place
        self._own, self._all = _running(nodes.value[order]), _running(nodes.value)

    def of(
        self, arbitration_id: Integers, first: Integers, last: Integers
    ) -> tuple[Floats, Floats]:
        """Mean and standard deviation ``[Q, 3, len(FEATURES)]`` of an id's values.

        An id with little behind it is like the average one.
        """
        begin, end = self._rows(arbitration_id, first, last)
        low, high = np.searchsorted(self._place, first), np.searchsorted(self._place, last)
        average = (self._all[high] - self._all[low]) / _column(np.maximum(high - low, 1))
        own = self._own[end] - self._own[begin]
        moments = (own + PRIOR * average) / _column(end - begin + PRIOR)
        mean, square = moments[:, 0], moments[:, 1]
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def presence(self, arbitration_id: Integers, first: Integers, last: Integers) -> Floats:
        """Share of windows with the id ``[Q]``, by the rule of succession, since it first came.

        A vehicle that wakes up has some of its ids silent for a while, which is no habit of them.
        """
        begin, end = self._rows(arbitration_id, first, last)
        debut = np.append(self._key, 0)[begin] % self._span
        since = np.where(end > begin, last - debut, 0)
        return (end - begin + 1.0) / (since + 2.0)

    def _rows(
        self, arbitration_id: Integers, first: Integers, last: Integers
    ) -> tuple[Integers, Integers]:
        if not len(self.ids):
            return np.zeros_like(first), np.zeros_like(last)
        slot = np.minimum(np.searchsorted(self.ids, arbitration_id), len(self.ids) - 1)
        begin = np.searchsorted(self._key, slot * self._span + first)
        end = np.searchsorted(self._key, slot * self._span + last)
        return begin, np.where(self.ids[slot] == arbitration_id, end, begin)


def _reference(
    capture: PreparedCapture, chosen: Integers, scores: Scores | None
) -> tuple[Integers, Integers, Integers]:
    """Windows that say what is usual: ascending, and which of them count for each chosen one.

    Those of the profile for all; without one, the last few before the window in question that no
    detector objects to.

    Returns:
        Windows ``[M]``; first and last (without it) place among them ``[W]``.
    """
    if scores is None or len(capture.reference):
        windows = capture.reference
        return windows, np.zeros_like(chosen), np.full_like(chosen, len(windows))
    calm = np.flatnonzero((scores.anomaly_score < 0.5) & ~(scores.gat_prob > 0.5))
    windows = scores.windows[calm]
    if np.searchsorted(windows, chosen.max(initial=0)) < FEW_WINDOWS:
        windows = scores.windows
    last = np.searchsorted(windows, chosen)
    first = np.maximum(last - REFERENCE_WINDOWS, 0)
    # Which of them are asked for at all.
    opened = np.bincount(first, minlength=len(windows) + 1)
    closed = np.bincount(last, minlength=len(windows) + 1)
    used = np.cumsum(opened - closed) > 0
    place = np.concatenate([[0], np.cumsum(used)])
    return windows[used[:-1]], place[first], place[last]


def _parts(
    capture: PreparedCapture, windows: Integers
) -> Iterator[tuple[GraphStore, Relative, Integers, int]]:
    """Parts of a capture that hold any of the windows (ascending): which windows of the part they
    are, and the capture's index of the part's first."""
    first = 0
    for store, relative in capture.parts():
        inside = windows[(windows >= first) & (windows < first + len(store))] - first
        if len(inside):
            yield store, relative, inside, first
        first += len(store)
        if not len(windows) or windows[-1] < first:
            return


def _read(vgae: VGAE, capture: PreparedCapture, windows: Integers, device: torch.device) -> _Nodes:
    """Features and evidence of profile and VGAE of the nodes of the given windows, ascending."""
    found = []
    for store, relative, inside, first in _parts(capture, windows):
        graphs = GraphTensors.join([(store, relative)], device)
        rows, count = ragged_rows(store.node_ptr, inside)
        batches = torch.from_numpy(inside).to(device).split(BATCH)
        errors = torch.cat([_node_errors(vgae, graphs, index) for index in batches])
        value = np.zeros((len(rows), 3, len(FEATURES)))
        value[:, OBSERVED, _NODE] = np.concatenate([store.x[rows], relative.x[rows]], axis=1)
        value[:, PROFILE, _SHIFTS] = 0.5 * value[:, OBSERVED, _SHIFTS] ** 2
        value[:, VGAE_ERROR, :_ABSENCE] = errors.cpu().numpy()
        window = np.repeat(inside + first, count)
        found.append(_Nodes(window, np.asarray(store.node_id)[rows], value))
    return _Nodes.join(found)


@torch.inference_mode()
def _node_errors(vgae: VGAE, graphs: GraphTensors, index: Tensor) -> Tensor:
    """``[N, NODE_CHANNELS + 1]`` each node's part in the VGAE's loss: features, then transitions.

    A transition's error belongs to both ends; of all of a node's transitions the mean counts.
    """
    batch = graphs.gather(index)
    x, _, _ = vgae.standardise(batch)
    out = vgae(batch)
    node = (vgae.node_decoder(out.latent) - x).square() / x.shape[1]
    ends = batch.edge_index.flatten()
    edge = scatter(out.edge.repeat(2), ends, dim_size=len(x), reduce="mean")
    return torch.cat([node, vgae.config.edge_weight * edge.unsqueeze(1)], dim=1)


def _attribute(
    gat: GAT,
    capture: PreparedCapture,
    windows: Integers,
    usual: Floats,
    device: torch.device,
) -> Floats:
    """``[N, NODE_CHANNELS]`` what each feature of each node adds to the log-odds of an attack.

    Integrated gradients from the ``usual`` features ``[N, NODE_CHANNELS]`` of the ids, all at
    once, to those observed. A node counts as a whole: what some of its features take off is
    shared by those that add; one that lowers the odds adds nothing.
    """
    found = [np.empty((0, usual.shape[1]))]
    done = 0
    for store, relative, inside, _ in _parts(capture, windows):
        graphs = GraphTensors.join([(store, relative)], device)
        for index in torch.from_numpy(inside).to(device).split(BATCH):
            batch = graphs.gather(index)
            start = torch.from_numpy(usual[done : done + len(batch.x)]).to(batch.x)
            done += len(batch.x)
            # Inside the bounds, beyond which the model's gradient is 0.
            start, end = (
                gat.x_mean
                + ((x - gat.x_mean) / gat.x_std).clamp(-CLIP, CLIP) * (1 - 1e-5) * gat.x_std
                for x in (start, batch.x)
            )
            slope = torch.zeros_like(end)
            for step in range(STEPS):
                batch.x = torch.lerp(start, end, (step + 0.5) / STEPS).requires_grad_()
                slope += torch.autograd.grad(gat(batch).sum(), batch.x)[0] / STEPS
            found.append(((end - start) * slope).double().cpu().numpy())
    added = np.concatenate(found)
    raising = np.maximum(added, 0.0)
    whole = np.maximum(added.sum(1, keepdims=True), 0.0)
    return raising * whole / np.maximum(raising.sum(1, keepdims=True), 1e-300)


def _missing(
    nodes: _Nodes,
    habit: _Habit,
    windows: Integers,
    size: Floats,
    first: Integers,
    last: Integers,
) -> tuple[Integers, Integers, Floats]:
    """Windows ``[M]``, ids expected in their ``size [W]`` frames but missing, evidence of that.

    The evidence is that of an id missing as seldom, and of as many frames as it usually has
    failing to come (:math:`-\\log` of a Poisson probability). The same rule as for ids that are
    there: if an id is missing from a share ``q`` of all windows, the evidence of that has the mean
    ``q`` and the standard deviation ``sqrt(q (1 - q))``, times the evidence. What is left is 0 for
    an id missing from a tenth of all windows or more.
    """
    pairs = pd.MultiIndex.from_product([range(len(windows)), habit.ids])
    row = pairs.get_level_values(0).to_numpy(np.int64)
    arbitration_id = pairs.get_level_values(1).to_numpy(np.int64)
    there = pd.MultiIndex.from_arrays([nodes.window, nodes.arbitration_id])
    absent = ~pd.MultiIndex.from_arrays([windows[row], arbitration_id]).isin(there)
    row, arbitration_id = row[absent], arbitration_id[absent]
    share = 1.0 - habit.presence(arbitration_id, first[row], last[row])
    left = 1.0 - share - DEVIATIONS * np.sqrt(share * (1.0 - share))
    row, arbitration_id = row[left > 0], arbitration_id[left > 0]
    share, left = share[left > 0], left[left > 0]
    mean, _ = habit.of(arbitration_id, first[row], last[row])
    frames = mean[:, OBSERVED, _SHARE] * size[row]
    return windows[row], arbitration_id, left * (frames - np.log(share))


def _frames(capture: PreparedCapture, windows: Integers) -> Floats:
    """``[W]`` number of frames in each window."""
    store = capture.store
    ids = store.node_ptr[windows + 1] - store.node_ptr[windows]
    return ids / store.window_attr[windows, WINDOW_FEATURES.index("ids")].astype(np.float64)


def _ranked(
    *,
    window: Integers,
    arbitration_id: Integers,
    present: npt.NDArray[np.bool_],
    evidence: Floats,
    higher: npt.NDArray[np.bool_],
) -> Explanation:
    """Shares of each window's evidence, in order; all ids there alike where there is none."""
    total = evidence.sum((1, 2))
    against = evidence[:, [PROFILE, VGAE_ERROR]].sum((1, 2))
    anomaly_score = against / (against + BORDER)
    slot = np.unique(window, return_inverse=True)[1]
    whole = np.bincount(slot, total)[slot] if len(slot) else total
    alike = present / np.maximum(np.bincount(slot, present), 1)[slot] if len(slot) else total
    contribution = np.where(whole > 0, total / np.where(whole > 0, whole, 1.0), alike)
    order = np.lexsort((arbitration_id, -contribution, window))
    window = window[order]
    rank = 1 + np.arange(len(order)) - np.searchsorted(window, window)
    return Explanation(
        window=window,
        arbitration_id=arbitration_id[order],
        rank=rank,
        present=present[order],
        contribution=contribution[order],
        anomaly_score=anomaly_score[order],
        evidence=evidence[order],
        higher=higher[order],
    )


def _departure(share: Floats) -> Floats:
    """Half the square of how far a share of frames is from 0, on the scale of the features."""
    return 0.5 * np.arcsinh(share / COMPARED["frame_share"]) ** 2


def _column(count: npt.NDArray[np.number]) -> npt.NDArray[np.number]:
    """``[Q, 1, 1, 1]``"""
    return count[:, None, None, None]


def _running(value: Floats) -> Floats:
    """``[N + 1, 2, ...]`` sums of all rows before, of the values ``[N, ...]`` and their squares."""
    both = np.stack([value, value**2], axis=1)
    return np.concatenate([np.zeros((1, *both.shape[1:])), np.cumsum(both, axis=0)])


def _one_hot() -> Floats:
    """``[len(FEATURES), len(REASONS)]`` which reason a feature belongs to."""
    return np.eye(len(REASONS))[_REASON]
