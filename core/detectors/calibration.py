r"""From what the networks say to scores that mean the same on every vehicle.

A log reconstruction error, or the log-odds of a classifier, says little by itself: on another
vehicle both lie elsewhere. What counts is how far a window departs from clean windows of the same
vehicle, in units of how far clean windows usually do. The latter is learnt from windows of training
captures that the scoring network has not seen; so is the border, the departure at which a score
is 0.5.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import norm

from core.detectors.vgae import EXPERIENCE

Floats = npt.NDArray[np.float64]

SPREAD_FLOOR = 0.05
"""Spread of a log error, or of log-odds, below which a difference counts as noise."""
TAIL_QUANTILE = 0.99
"""Of clean windows' departures, the spread is measured here too: tails make false alarms."""
LOWEST_BORDER = float(norm.isf(1e-4))
"""Usual spreads at which the highest border lies at least, with a profile: one clean window in
10,000 departs as far if they are normally distributed. How far those of another vehicle go, few
captures do not tell."""
LENIENT_QUANTILE, STRICT_QUANTILE = 0.99, 0.999
"""Share of clean windows, not trained on, that stay below the lowest and the highest threshold."""
MARGIN = 1.15
"""Factor on the highest threshold: another vehicle, on another drive, departs somewhat more. Chosen
by the F1 on cross-fitted windows of training captures."""
HALF_WAY, MOST_OF_THE_WAY = 0.5, 0.75
"""Shares of the way from a low border to a high one, without and with a profile; chosen by the F1
of fusion on cross-fitted training windows. (With profiles, all the way: .858 on set_04 with an
attack left out, .937 on hcrl_sa; most of it: .895 and .939. Half way it would be .905 and .940, but
with 1.6 times the false alarms on hcrl_sa.)"""
LOWER_QUANTILES = (0.1, 0.25)
"""Of the windows before a window: they are clean ones even where most are under attack."""
PASSED_WINDOWS = 10
"""After so many, the windows before say half of where the center lies."""
HIGHEST_SHIFT = 3.0
"""Spreads that they can raise it by."""
FEW_WINDOWS = 20
"""A stage with fewer clean windows than this has no threshold of its own."""


def center_and_spread(values: Floats, tail: bool = False) -> tuple[Floats, Floats]:
    """Median and scaled median absolute deviation of clean windows ``[G, C]``, per column.

    Args:
        tail: the spread is that of the upper tail (:func:`tail_spread`) where that is larger.
            Traffic has beats that the middle of it knows nothing of: with a message sent once a
            second, one window in twenty departs from the others, again and again. A classifier that
            had not seen the vehicle took each of them for an attack.
    """
    center = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - center), axis=0)
    if tail:
        spread = np.maximum(spread, tail_spread(values - center))
    return center, spread + SPREAD_FLOOR


def tail_spread(departures: Floats) -> Floats:
    """``[C]`` spread of the normal distribution with the same upper tail as ``[G, C]``."""
    return np.asarray(np.quantile(departures, TAIL_QUANTILE, axis=0) / norm.ppf(TAIL_QUANTILE))


def passed_center(values: Floats, center: npt.ArrayLike, spread: npt.ArrayLike) -> Floats:
    """Center of clean windows of a capture, as far as those before each window tell; ``[G]`` or
    ``[G, C]`` like the values.

    The lower two quantiles of what came before, clean or not, are clean windows' unless three
    quarters of it were under attack; from these the median of a normal distribution follows. It
    takes the place of ``center`` as windows come in, and lies above it by :data:`HIGHEST_SHIFT`
    spreads at most: a capture that is attacked from its first window on does not pass for clean.

    Args:
        values: ``[G]`` or ``[G, C]`` of a capture's windows in a row.
        center, spread: of clean windows elsewhere; one each, or ``[C]``.
    """
    before = pd.DataFrame(values).expanding()
    # Shifted by one window: a window is never its own reference. The first has none.
    low, high = (
        before.quantile(q).shift(1).to_numpy().reshape(values.shape) for q in LOWER_QUANTILES
    )
    below, above = -norm.ppf(np.array(LOWER_QUANTILES))
    median = high + (high - low) * above / (below - above)
    shift = np.minimum(median - center, HIGHEST_SHIFT * np.asarray(spread))
    shift[0] = 0.0
    passed = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(center + shift * passed / (passed + PASSED_WINDOWS), np.float64)


def usual_spread(departures: Floats) -> Floats:
    """``[C]`` spread of ``[G, C]`` departures of clean windows, that their network has not seen,
    from the center of their own reference."""
    return np.maximum(tail_spread(departures), SPREAD_FLOOR)


def expected_spread(own: Floats, usual: Floats) -> Floats:
    """Geometric mean of a reference's own spread and the usual one.

    The own one comes from some seconds of traffic, which later traffic departs from more or less;
    the usual one knows nothing of the vehicle.
    """
    return np.sqrt(own * usual)


def deviation(components: Floats, center: Floats, spread: Floats) -> Floats:
    """``[G]`` root mean square, over the components, of how far each lies above normal.

    A window reconstructed better than usual is not anomalous: only excess counts.
    """
    excess = np.maximum((components - center) / spread, 0.0)
    return np.sqrt((excess**2).mean(axis=1))


def anomaly_score(deviations: Floats, thresholds: Floats) -> Floats:
    """Map deviations ``[G]`` to [0, 1], with 0.5 at the threshold: ``d^2 / (d^2 + t^2)``."""
    square = deviations**2
    return square / (square + thresholds**2)


def stage(experience: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``[G]`` index into :data:`EXPERIENCE` for the number of windows that each one's reference
    was learnt from."""
    return np.searchsorted(EXPERIENCE, experience, side="right") - 1


def clean_thresholds(
    deviations: Floats,
    experience: npt.NDArray[np.int64],
    attacked: Floats | None = None,
    profiled: bool = True,
) -> Floats:
    """``[len(EXPERIENCE)]`` thresholds of windows of each stage of experience.

    They lie between two quantiles of the stage's clean windows. Which share of the way up, recorded
    attacks say: as high as they allow. Without a profile they do not know (another vehicle departs
    otherwise), and thresholds lie :data:`HALF_WAY`. Never rising from one stage to the next.

    Args:
        deviations, experience: ``[G]`` of clean windows that were not trained on.
        attacked: deviations of attacked ones; none: thresholds are as high as may be.
        profiled: whether deviations are from the profile of a vehicle.
    """
    stages = stage(experience)
    parts = [deviations[stages == number] for number in range(len(EXPERIENCE))]
    bounds = [_bounds(part if len(part) >= FEW_WINDOWS else deviations) for part in parts]
    share = 1.0
    if attacked is not None and len(attacked):
        low, high = _bounds(deviations)
        label = np.repeat([False, True], [len(deviations), len(attacked)])
        _, border = _most_likely(np.concatenate([deviations, attacked]), label, high)
        share = float(np.clip((border - low) / max(high - low, 1e-9), 0.0, 1.0))
    if profiled:
        thresholds = np.array([low + share * (high - low) for low, high in bounds])
    else:
        thresholds = np.array([between(*pair, HALF_WAY) for pair in bounds])
    return np.maximum(np.maximum.accumulate(thresholds[::-1])[::-1], 1e-6)


def between(low: float, high: float, share: float) -> float:
    """A border that goes a share of the way from a low to a high one, on a logarithmic scale."""
    return float(max(low, SPREAD_FLOOR) ** (1 - share) * max(high, SPREAD_FLOOR) ** share)


def _bounds(clean: Floats) -> tuple[float, float]:
    """Lowest and highest threshold for clean windows."""
    low, high = np.quantile(clean, [LENIENT_QUANTILE, STRICT_QUANTILE])
    return float(low), float(MARGIN * high)


class Logistic(NamedTuple):
    """``probability = expit(slope * (departure - border))``."""

    slope: float
    border: float

    def probability(self, departure: Floats) -> Floats:
        """``[G]`` of departures ``[G]``."""
        return expit(self.slope * (departure - self.border))


def fit_logistic(
    departure: Floats, label: npt.NDArray[np.uint8], profiled: bool = True
) -> Logistic:
    r"""Attack probability as a function of the departure, from windows not trained on.

    Platt's scaling (1999), with one addition: a classifier is blind to some kinds of attack that it
    was not taught, and what it says of those windows is what it says of clean ones. They would
    pull the border into the clean windows. So an attacked window may also be one that looks clean:
    :math:`P(y = 1) = \beta + (1 - \beta) \sigma(a (z - t))`, and :math:`\beta` is left out of the
    result. Weak priors keep what the data do not tell within bounds (scores that separate perfectly
    have no largest likelihood).

    The border lies between the lowest and the highest threshold that :func:`clean_thresholds`
    knows: :data:`HALF_WAY` without a profile, as the anomaly score finds little there where traffic
    is mixed. With one, that score finds most of what a sure classifier misses, and the border goes
    :data:`MOST_OF_THE_WAY` to the highest of that threshold, what the data say, and
    :data:`LOWEST_BORDER`.

    Args:
        departure: ``[G]`` of clean and attacked windows.
        label: ``[G]`` 1 where attacked.
        profiled: whether departures are from the profile of a vehicle.
    """
    attacked = label > 0
    lenient, strict = _bounds(departure[~attacked])
    slope, border = _most_likely(departure, attacked, strict)
    if profiled:
        highest = max(border, strict, LOWEST_BORDER)
        return Logistic(slope, between(lenient, highest, MOST_OF_THE_WAY))
    return Logistic(slope, between(lenient, strict, HALF_WAY))


def _most_likely(
    departure: Floats, attacked: npt.NDArray[np.bool_], around: float
) -> tuple[float, float]:
    """Slope and border of the mapping of :func:`fit_logistic`; the prior of the border lies
    ``around`` a value."""

    def loss(parameters: Floats) -> float:
        log_slope, border, log_odds_blind = parameters
        blind = expit(log_odds_blind)
        seen = expit(np.exp(log_slope) * (departure - border))
        probability = np.clip(blind + (1 - blind) * seen, 1e-12, 1 - 1e-12)
        likelihood = np.log(np.where(attacked, probability, 1 - probability)).sum()
        prior = ((log_slope - np.log(2)) / 0.7) ** 2
        prior += ((border - around) / 2) ** 2 + ((log_odds_blind + 4) / 3) ** 2
        return float(0.5 * prior - likelihood)

    starts = [(0.5, around + more, blind) for more in (0.0, 2.0) for blind in (-5.0, -1.5)]
    found = min(
        (minimize(loss, start, method="Nelder-Mead") for start in starts), key=lambda f: f.fun
    )
    return float(np.exp(found.x[0])), float(found.x[1])
